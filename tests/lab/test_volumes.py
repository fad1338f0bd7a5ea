# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks on three hosts, by playbooks: what another host or a dead one has is not made empty, and what is open is not deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from namespaces.host import Host
from namespaces.lab import Lab
from test_store import UNREACHABLE, Controller

SHARED, OWN = "/srv/shared/vo", "/var/lib/dos-vm/vo"
SITE: dict[str, Any] = {
    "dos_site": "vo",
    "dos_projects": {"shop": {}},
    "dos_pools": {"vo-common": {"path": SHARED, "shared": True}, "vo-own": {"path": OWN}},
    "dos_volumes": {"vo-data": {"pool": "vo-common", "capacity": "1 MiB"}},
}
VM: dict[str, Any] = {"project": "shop", "memory": "16 MiB", "stop_timeout": 0}
VAULT = {**VM, "disks": [{"pool": "vo-common", "capacity": "1 MiB"}, {"volume": "vo-data"}]}
WEB = {**VM, "disks": [{"pool": "vo-own", "capacity": "1 MiB"}], "vms": {"vo-web": {}}}
GONE = ("vo-common/vo-vault-vda", "vo-common/vo-data", "vo-own/vo-web-vda")


@pytest.fixture
def controller(lab: Lab, hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    made = Controller(lab, tmp_path_factory.mktemp("volumes"))
    yield made
    lab.boot(*hosts)
    made.play("destroy", dos_confirm="vo", dos_allow=[{"data_loss": [f"volume {name}" for name in GONE]}])
    for host in hosts.values():
        assert [*files(host, SHARED), *files(host, OWN)] == []
        assert "vo-" not in host.run("virsh", "list", "--all", "--name").stdout


def declare(controller: Controller, **instances: Any) -> None:
    controller.whole = {**SITE, "dos_instances": instances}


def files(host: Host, folder: str) -> list[str]:
    return host.run("sh", "-c", f"ls {folder}; true").stdout.split()


def test_a_disk_is_deleted_by_one_host_after_its_vm_is_gone_from_another(
    controller: Controller, hosts: dict[str, Host]
) -> None:
    """The disk is deleted by h1, which is the first host of the pool."""
    declare(controller, vault={**VAULT, "vms": {"vo-vault": {"host": "h2"}}})
    controller.play("site")
    declare(controller)
    hosts["h1"].run("virsh", "pool-refresh", "vo-common")
    controller.play("site", dos_prune=True, dos_allow=[{"data_loss": ["volume vo-common/vo-vault-vda"]}])
    assert files(hosts["h1"], SHARED) == ["vo-data"]
    assert "vo-vault" not in hosts["h2"].run("virsh", "list", "--all", "--name").stdout.split()


@pytest.mark.soak
def test_data_is_neither_made_empty_nor_deleted_by_another_host(
    controller: Controller, hosts: dict[str, Host], lab: Lab
) -> None:
    """Items 1, 3 and 18 of the operator's week."""
    off = {**VAULT, "vms": {"vo-vault": {"host": "h2", "power": "off"}}}
    declare(controller, vault=off, web=WEB)
    controller.play("site")
    (home,) = [name for name, host in hosts.items() if files(host, OWN)]

    hosts["h2"].run("mv", f"{SHARED}/vo-data", "/srv/shared/vo-aside")
    told = controller.play("site")
    assert "its file is missing and domain vo-vault is defined with it" in told
    assert "vo-data" not in files(hosts["h2"], SHARED)
    hosts["h2"].run("mv", "/srv/shared/vo-aside", f"{SHARED}/vo-data")

    hosts[home].crash()
    yes = {"dos_release": home, "dos_confirm": home, "dos_reason": "for the test"}
    controller.play("release", **yes)
    told = controller.play("site", UNREACHABLE)
    assert f"its file is missing and VM vo-web was on {home} when that was released" in told
    (other,) = [name for name in hosts if f"dos_allow: [data_loss: [volume vo-own/vo-web-vda on {name}]]" in told]
    assert other != home
    assert [name for name, host in hosts.items() if name != home and files(host, OWN)] == []
    lab.boot(home)

    # The VM goes from h2, and then its disk by h1, which is the first host of the pool.
    declare(controller, vault={**VAULT, "vms": {"vo-vault": {"host": "h2"}}}, web=WEB)
    controller.play("site")
    declare(controller, web=WEB)
    hosts["h1"].run("virsh", "pool-refresh", "vo-common")
    loss = {"dos_prune": True, "dos_allow": [{"data_loss": ["volume vo-common/vo-vault-vda"]}]}
    assert "not declared, and deleted after VM vo-vault on h2 is gone" in controller.play("plan", **loss)
    controller.play("site", **loss)
    assert files(hosts["h1"], SHARED) == ["vo-data"]
    assert "vo-vault" not in hosts["h2"].run("virsh", "list", "--all", "--name").stdout.split()
