# SPDX-License-Identifier: GPL-3.0-or-later
"""A host loses power and boots again: `on_boot` says which of its VMs libvirt starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from namespaces.host import Host
from namespaces.lab import Lab
from namespaces.process import PATIENCE
from test_store import Controller

INSTANCE: dict[str, Any] = {"project": "shop", "memory": "16 MiB", "stop_timeout": 0, "host": "h1"}
SITE: dict[str, Any] = {
    "dos_site": "ob",
    "dos_projects": {"shop": {}},
    "dos_pools": {"ob-own": {"path": "/srv/private/ob"}, "ob-common": {"path": "/srv/shared/ob", "shared": True}},
    "dos_instances": {
        "own": {
            **INSTANCE,
            "disks": [{"pool": "ob-own", "capacity": "1 MiB"}],
            "vms": {
                "ob-last": {},
                "ob-start": {"on_boot": "start"},
                "ob-stay": {"on_boot": "stay_off"},
                "ob-stopped": {},
                "ob-wanted": {"power": "off"},
                "ob-down": {"power": "off"},
            },
        },
        "common": {
            **INSTANCE,
            "disks": [{"pool": "ob-common", "capacity": "1 MiB"}],
            "vms": {"ob-shared": {}},
        },
    },
}
VOLUMES = [
    *(f"volume ob-own/{vm}-vda" for vm in SITE["dos_instances"]["own"]["vms"]),
    "volume ob-common/ob-shared-vda",
]


@pytest.fixture
def controller(lab: Lab, hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    made = Controller(lab, tmp_path_factory.mktemp("on_boot"))
    made.whole = SITE
    yield made
    lab.boot(*hosts)
    made.play("destroy", dos_confirm="ob", dos_allow=[{"data_loss": VOLUMES}])


def listed(host: Host, *options: str) -> set[str]:
    """The VMs of this test that virsh lists."""
    names = host.run("virsh", "list", "--name", *options).stdout.split()
    return {name for name in names if name.startswith("ob-")}


def test_a_host_that_lost_power_starts_the_vms_that_are_to_start(
    controller: Controller, hosts: dict[str, Host], lab: Lab
) -> None:
    host = hosts["h1"]
    controller.play("site")
    assert listed(host) == {"ob-last", "ob-start", "ob-stay", "ob-stopped", "ob-shared"}
    controller.play("power", dos_order="stop", dos_vms="ob-stopped")
    controller.play("power", dos_order="start", dos_vms="ob-wanted")
    before = listed(host)

    host.crash()
    lab.boot("h1")
    expected = {"ob-last", "ob-start", "ob-wanted"}
    end = time.monotonic() + PATIENCE
    while not listed(host) >= expected and time.monotonic() < end:
        time.sleep(0.5)
    assert listed(host) == listed(host, "--all", "--autostart") == expected

    # What stayed off for the host's sake comes back with the next run, which reads every host first.
    controller.play("site")
    assert listed(host) == before == {*expected, "ob-stay", "ob-shared"}
