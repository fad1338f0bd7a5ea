# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that is backed up moves, and its chain of incremental backups goes on where it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from movers import BIN, PLAIN, told
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

POOLS = {"b-own": "bm-local", "b-seen": "bm-common"}
BACKUPS = "/srv/shared/bm-backups"


class Site:
    """Two VMs with a disk each, of their host's own and of all hosts'; nothing runs in them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.hosts = {host.name: host for host in lab.hosts()}
        site = {
            "dos_site": "bm",
            "dos_projects": {"bm": {}},
            "dos_pools": {
                "bm-local": {"path": "/var/lib/dos-vm/bm"},
                "bm-common": {"path": "/srv/shared/bm", "shared": True},
            },
            "dos_instances": {
                vm: {
                    "project": "bm",
                    "memory": "32 MiB",
                    "stop_timeout": 0,
                    "disks": [{"pool": pool, "capacity": "8 MiB"}],
                    "vms": {vm: {}},
                }
                for vm, pool in POOLS.items()
            },
            "dos_migration": {"storage": "copied", "data": "plain"},
        }
        (folder / "group_vars" / "all").mkdir(parents=True)
        (folder / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(site))
        (folder / "hosts.yml").write_text(render(lab, 3))

    def play(self, name: str, **variables: Any) -> None:
        command = [str(BIN / "ansible-playbook"), "-i", str(self.folder), f"dos.vm.{name}", "-e", json.dumps(variables)]
        done = self.lab.ctl(*command, cwd=TREE)
        assert done.returncode == 0, done.stdout + done.stderr

    def home(self, vm: str) -> Host:
        (found,) = (host for host in self.hosts.values() if vm in host.run("virsh", "list", "--name").stdout.split())
        return found

    def backup(self, vm: str, **options: Any) -> dict[str, Any]:
        # Pulled: what stands in for a cluster file system keeps a lock of a file that QEMU has closed.
        words = {"vm": vm, "directory": f"{BACKUPS}/{vm}", "mode": "pull", **options}
        command = [*PLAIN, str(BIN / "ansible"), "-i", str(self.folder), self.home(vm).name]
        done: subprocess.CompletedProcess[str] = self.lab.ctl(
            *command, "-m", "dos.vm.backup", "-a", json.dumps(words), cwd=TREE
        )
        answer = told(done.stdout)
        assert not answer["failed"], answer
        return answer

    def write(self, vm: str, pattern: int) -> None:
        """As its guest would."""
        device = "/machine/peripheral/virtio-disk0/virtio-backend"
        command = f'qemu-io -d {device} "write -P {pattern} {pattern * 64}k 64k"'
        said = self.home(vm).run("virsh", "qemu-monitor-command", "--hmp", vm, command).stdout
        assert not said.strip(), said


@pytest.fixture
def site(lab: Lab, hosts: dict[str, Host], tmp_path: Path) -> Iterator[Site]:
    made = Site(lab, tmp_path)
    made.play("site")
    yield made
    allow = [{"data_loss": [f"volume {pool}/{vm}-vda" for vm, pool in POOLS.items()]}]
    made.play("destroy", dos_confirm="bm", dos_allow=allow)
    hosts["h1"].run("rm", "-rf", BACKUPS)


@pytest.mark.parametrize("vms", [("b-seen",), pytest.param(tuple(POOLS), marks=pytest.mark.soak)], ids=["seen", "both"])
def test_a_chain_goes_on_after_a_move(site: Site, vms: tuple[str, ...]) -> None:
    """On storage that both hosts see, and with a disk that is copied; and what is restored is all that was written."""
    for vm in vms:
        site.write(vm, 1)
        assert "in full as 0001" in site.backup(vm)["performed"][0]
        site.write(vm, 2)
        assert "since 0001 as 0002" in site.backup(vm)["performed"][0]
        site.write(vm, 3)
    before = {vm: site.home(vm).name for vm in vms}
    for host in set(before.values()):
        site.play("drain", dos_host=host, dos_reason="test")
        site.play("undrain", dos_host=host, dos_return=False)
    for vm in vms:
        here = site.home(vm)
        site.write(vm, 4)
        answer = site.backup(vm)
        assert (answer["notes"], answer["performed"]) == ([], [f"domain {vm} has been backed up since 0002 as 0003"])
        (file,) = site.backup(vm, order="restore", to=f"/srv/private/bm/{vm}")["files"].values()
        reads = [word for pattern in (1, 2, 3, 4) for word in ("-c", f"read -P {pattern} {pattern * 64}k 64k")]
        assert "verification failed" not in here.run("qemu-io", "-f", "qcow2", "-r", *reads, file).stdout
        assert not here.run("sh", "-c", "ls /var/lib/dos-vm/moves || true").stdout


def test_a_record_that_a_power_cut_has_lost_begins_a_new_chain(site: Site) -> None:
    site.write("b-own", 1)
    site.backup("b-own")
    home = site.home("b-own")
    home.crash()
    site.lab.boot(home.name)
    site.play("site")
    site.write("b-own", 2)
    answer = site.backup("b-own")
    assert "in full as 0002" in answer["performed"][0]
    assert answer["notes"] == ["the record of what changed since 0001 is not there; this backup is in full"]
    site.write("b-own", 3)
    assert "since 0002 as 0003" in site.backup("b-own")["performed"][0]
