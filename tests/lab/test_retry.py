# SPDX-License-Identifier: GPL-3.0-or-later
"""A new machine that does not start where it was placed is tried on other hosts in the same run (SCHED-10, SCHED-11)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces.host import ENVIRONMENT, Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

PLAYBOOK = TREE / ".venv" / "bin" / "ansible-playbook"
PORT = 5977
CARD = {"network": "rt-net", "boot_rom": False}
SITE: dict[str, Any] = {
    "dos_site": "rt",
    "dos_projects": {"shop": {}},
    "dos_pools": {"rt-own": {"path": "/var/lib/dos-vm/rt"}, "rt-common": {"path": "/srv/shared/rt", "shared": True}},
    "dos_networks": {"rt-net": {"type": "bridge", "bridge": "br-rt", "vxlan": {"id": 177}, "stp": False}},
    "dos_instances": {
        "rt": {
            "project": "shop",
            "memory": "16 MiB",
            "stop_timeout": 0,  # nothing runs in it that would hear the question
            "graphics": [{"type": "vnc", "port": PORT}],
            "disks": [{"pool": "rt-own", "capacity": "1 MiB"}, {"pool": "rt-common", "capacity": "1 MiB"}],
            "interfaces": [CARD],
            "vms": {"rt-1": {}},
        },
        "other": {
            "project": "shop",
            "memory": "16 MiB",
            "disks": [],
            "interfaces": [CARD],
            "vms": {"rt-other": {"power": "off"}, "rt-third": {"power": "off"}, "rt-more": {"power": "off"}},
        },
    },
}
LISTEN = f"import os,socket,time; s=socket.create_server(('', {PORT})); print(os.getpid(), flush=True); time.sleep(600)"


class Site:
    """The machine that wants one port of its host, on the hosts of a lab."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self.folder = lab, folder
        self.hosts = {host.name: host for host in lab.hosts()}
        (folder / "group_vars" / "all").mkdir(parents=True)
        (folder / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(SITE))
        (folder / "hosts.yml").write_text(render(lab, 3))

    def play(self, name: str, status: int = 0, **variables: Any) -> str:
        command = [str(PLAYBOOK), "-i", str(self.folder), f"dos.vm.{name}", "-e", json.dumps(variables)]
        done = self._lab.ctl(*command, cwd=TREE)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def first_choice(self) -> str:
        """Where a plan would have the machine; deciding is the same in a run."""
        self.play("plan", dos_plan_file=str(self.folder / "plan.json"))
        plans = json.loads((self.folder / "plan.json").read_text())["hosts"]
        (found,) = (
            host for host, held in plans.items() if ("domain", "rt-1") in {(p["kind"], p["name"]) for p in held}
        )
        return str(found)

    def at(self, *which: str) -> list[str]:
        """The hosts that have it."""
        return [
            name
            for name, host in self.hosts.items()
            if "rt-1" in host.run("virsh", "list", "--name", *which).stdout.split()
        ]

    def disks(self) -> list[str]:
        """The hosts that have its own disk."""
        return [
            name
            for name, host in self.hosts.items()
            if "rt-1-vda" in host.run("virsh", "vol-list", "rt-own", check=False).stdout
        ]

    def clear(self) -> None:
        loss = [f"volume {disk}" for disk in ("rt-own/rt-1-vda", "rt-common/rt-1-vdb")]
        self.play("destroy", dos_confirm="rt", dos_allow=["restart", {"data_loss": loss}])


@contextmanager
def taken(host: Host) -> Iterator[None]:
    """Somebody else has the port."""
    with subprocess.Popen(
        host.command("python3", "-c", LISTEN), env=ENVIRONMENT, preexec_fn=host.join,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        number = process.stdout.readline().strip()  # as the host counts
        try:
            yield
        finally:
            host.run("kill", number)


@pytest.fixture
def site(lab: Lab, tmp_path: Path, hosts: dict[str, Host]) -> Iterator[Site]:
    made = Site(lab, tmp_path)
    yield made
    made.clear()


def test_another_host_starts_it_and_the_run_succeeds(site: Site) -> None:
    first = site.first_choice()
    with taken(site.hosts[first]):
        told = site.play("site")
    assert f"rt-1 could not be started on {first}, another host is tried: " in told
    (home,) = site.at()
    assert home != first
    assert site.at("--all") == site.disks() == [home], "the first host has kept something of it"
    assert "Plan: 0 to create, 0 to change, 0 to remove" in site.play("plan")


def test_a_machine_that_no_host_can_start_is_told_with_every_reason_and_the_others_go_on(site: Site) -> None:
    with ExitStack() as stack:
        for host in site.hosts.values():
            stack.enter_context(taken(host))
        told = site.play("site", 2)
    assert "rt-1 could not be started on any host that tried:" in told
    table = told[told.index("rt-1 could not be started on any host that tried:") :]
    for name in site.hosts:
        assert f"  {name}: " in table
    assert len(site.at("--all")) == 1, "where it was tried last"
    assert any("rt-other" in host.run("virsh", "list", "--all", "--name").stdout for host in site.hosts.values())
    site.play("site")
    assert len(site.at()) == 1, "the port is free again"


def test_one_attempt_is_what_a_site_may_ask_for(site: Site) -> None:
    first = site.first_choice()
    with taken(site.hosts[first]):
        told = site.play("site", 2, dos_placement={"attempts": 1})
    assert "another host is tried" not in told
    assert site.at("--all") == [first]
