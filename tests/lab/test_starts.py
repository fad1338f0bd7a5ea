# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that are started after others, on two hosts: the order is that of the real starts, and of a page that answers."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

PLAYBOOK = TREE / ".venv" / "bin" / "ansible-playbook"
PAGE = "http://192.168.76.11/"
EMPTY: dict[str, Any] = {"project": "p", "memory": "16 MiB", "stop_timeout": 0}
SITE: dict[str, Any] = {
    "dos_site": "so",
    "dos_projects": {"p": {}},
    "dos_pools": {"so-own": {"path": "/var/lib/dos-vm/so"}},
    "dos_images": {"busybox": {"file": "/srv/shared/images/busybox.qcow2", "format": "qcow2", "shared": True}},
    "dos_subnets": {
        "so": {
            "address": "192.168.76.0/24",
            "gateway": "192.168.76.1",
            "pool": [{"start": "192.168.76.100", "end": "192.168.76.199"}],
            "dhcp": {},
        }
    },
    "dos_networks": {"so": {"type": "isolated", "subnet": "so", "bridge": "virbr-so"}},
    "dos_instances": {
        "db": {
            **EMPTY,
            "memory": "96 MiB",
            "disks": [{"image": "busybox", "pool": "so-own"}],
            "interfaces": [{"network": "so", "boot_rom": False}],
            "vms": {"so-db": {"host": "h1", "ip": {"so": "192.168.76.11"}}},
        },
        "web": {**EMPTY, "after": [{"name": "so-db", "http": {"status": 200}}], "vms": {"so-web": {"host": "h2"}}},
        "front": {**EMPTY, "after": [{"name": "web"}], "vms": {"so-front": {"host": "h1"}}},
    },
}
HOME = {"so-db": "h1", "so-web": "h2", "so-front": "h1"}


class Site:
    """The site of this file on the hosts of a lab."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self.folder = lab, folder
        self.hosts = {host.name: host for host in lab.hosts()}
        (folder / "group_vars" / "all").mkdir(parents=True)
        (folder / "hosts.yml").write_text(render(lab, 3))
        self.declared = deepcopy(SITE)

    def play(self, name: str, status: int = 0, **variables: Any) -> str:
        (self.folder / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(self.declared))
        command = [str(PLAYBOOK), "-i", str(self.folder), f"dos.vm.{name}", "-e", json.dumps(variables)]
        done = self._lab.ctl(*command, cwd=TREE)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def state(self, vm: str) -> str:
        return self.hosts[HOME[vm]].run("virsh", "domstate", vm, check=False).stdout.strip()

    def moments(self, vm: str, words: str) -> list[datetime]:
        """When libvirt wrote these words of a machine, which every host does by the same clock."""
        log = self.hosts[HOME[vm]].run("cat", f"/var/log/libvirt/qemu/{vm}.log").stdout
        return [
            datetime.fromisoformat(moment).replace(tzinfo=UTC)
            for moment in re.findall(rf"^(\S+ [\d:.]+)\+0000: {words}", log, re.MULTILINE)
        ]


class Watch:
    """When the page was there first, as somebody on its host sees it who asks all the time."""

    def __init__(self, host: Host) -> None:
        self.first: datetime | None = None
        self._host, self._over = host, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.is_set() and self.first is None:
            asked = self._host.run("curl", "--silent", "--fail", "--max-time", "2", PAGE, check=False)
            if asked.returncode == 0:
                self.first = datetime.now(UTC)
            time.sleep(0.1)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def site(lab: Lab, image: Path, tmp_path: Path, hosts: dict[str, Host]) -> Iterator[Site]:
    assert image.exists()
    made = Site(lab, tmp_path)
    yield made
    made.declared = deepcopy(SITE)
    made.play("destroy", dos_confirm="so", dos_allow=["restart", {"data_loss": ["volume so-own/so-db-vda"]}])


def test_machines_start_after_those_that_they_name_and_stop_before_them(site: Site) -> None:
    assert "so-web is started after so-db, which must answer http :80/ with 200 within 300 s" in site.play("plan")
    with Watch(site.hosts["h1"]) as watch:
        told = site.play("site")
    assert [site.state(vm) for vm in HOME] == ["running"] * 3, told
    began = {vm: site.moments(vm, "starting up")[0] for vm in HOME}
    assert began["so-db"] < began["so-web"] < began["so-front"]
    assert watch.first is not None
    assert (began["so-web"] - watch.first).total_seconds() > -3, "the page was asked for by another clock tick"
    assert (began["so-web"] - began["so-db"]).total_seconds() > 1, "a guest does not boot within a second"

    again = site.play("site")
    assert "Plan: 0 to create, 0 to change, 0 to remove" in again
    assert "Wait until those that come first are ready" not in again, "who starts nothing asks nobody"

    site.play("power", dos_order="stop", dos_projects_of="p", dos_timeout=0)
    ended = {vm: site.moments(vm, "shutting down")[-1] for vm in HOME}
    assert ended["so-front"] < ended["so-web"] < ended["so-db"]

    site.play("power", dos_order="start", dos_projects_of="p")
    began = {vm: site.moments(vm, "starting up")[-1] for vm in HOME}
    assert began["so-db"] < began["so-web"] < began["so-front"]


def test_who_waits_in_vain_is_named_and_the_next_run_goes_on(site: Site) -> None:
    after = site.declared["dos_instances"]["web"]["after"]
    after[:] = [{"name": "db", "tcp": 81, "within": 4}]
    told = site.play("site", 2)
    reason = (
        "so-web is not started: it comes after all of db, which must take connections on tcp 81 within 4 s: so-db: "
    )
    assert reason in told
    assert (
        "so-front is not started: it comes after all of web, which must run within 300 s: so-web: it is shut off"
        in told
    )
    assert [site.state(vm) for vm in HOME] == ["running", "shut off", "shut off"], "defined, and not started"

    after[:] = [{"name": "db", "http": {}}]
    site.play("site")
    assert [site.state(vm) for vm in HOME] == ["running"] * 3
    assert "Plan: 0 to create, 0 to change, 0 to remove" in site.play("plan")
