# SPDX-License-Identifier: GPL-3.0-or-later
"""The site of inventories/lab, applied over real ssh to three hosts: the whole way an operator goes, and a host that dies."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from namespaces.host import Host
from namespaces.lab import TREE, Lab
from namespaces.process import PATIENCE

PLAYBOOK = TREE / ".venv" / "bin" / "ansible-playbook"
UNREACHABLE = 4  # ansible-playbook's exit status when all that went wrong is that
VOLUMES = ("local/web-1", "local/web-2", "local/web-3", "local/ledger", "common/report")
ON_EACH = {"h1": {"web-1", "ledger"}, "h2": {"web-2"}, "h3": {"web-3"}}


class Site:
    """The site on the hosts of a lab, as an operator at a terminal has it."""

    def __init__(self, lab: Lab, inventory: Path) -> None:
        self._lab, self._inventory = lab, inventory

    def play(
        self, name: str, variables: Mapping[str, Any] | None = None, *options: str
    ) -> subprocess.CompletedProcess[str]:
        extra = ["-e", json.dumps(variables)] if variables else []
        command = [str(PLAYBOOK), "-i", str(self._inventory), name, *extra, *options]
        return self._lab.ctl(*command, cwd=TREE)

    def done(self, name: str, variables: Mapping[str, Any] | None = None) -> str:
        """The output of a play that must succeed."""
        ended = self.play(name, variables)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


def recap(output: str) -> dict[str, dict[str, int]]:
    """Ansible's last lines: by host, how many tasks went how."""
    lines = re.findall(r"^(\w+)\s+: (ok=.*)$", output, re.MULTILINE)
    return {host: {word: int(count) for word, count in re.findall(r"(\w+)=(\d+)", text)} for host, text in lines}


def changed(output: str) -> int:
    return sum(counts["changed"] for counts in recap(output).values())


def domains(host: Host, *which: str) -> set[str]:
    return set(host.run("virsh", "list", "--name", *which).stdout.split())


@pytest.fixture(scope="module")
def site(lab: Lab, inventory: Path, image: Path) -> Iterator[Site]:
    """Applied once; every test finds it as declared. In the end nothing of it is left, for others use the lab as well."""
    assert image.exists()
    made = Site(lab, inventory)
    first = made.done("dos.vm.site")
    assert re.search(r"Plan: [1-9]\d* to create, 0 to change, 0 to remove", first)
    assert {host for host, counts in recap(first).items() if counts["changed"]} == {"h1", "h2", "h3"}
    yield made
    gone = {"data_loss": [f"volume {volume}-vda" for volume in VOLUMES]}
    made.done("dos.vm.destroy", {"dos_confirm": "lab", "dos_allow": [gone]})
    for host in lab.hosts():
        assert not host.run("sh", "-c", "virsh list --all --name; virsh pool-list --all --name").stdout.split()


def test_every_host_has_its_machines(site: Site, hosts: dict[str, Host]) -> None:
    held = {name: domains(host, "--all") for name, host in hosts.items()}
    assert {name: found - {"report"} for name, found in held.items()} == ON_EACH
    assert sum("report" in found for found in held.values()) == 1
    assert domains(hosts["h1"]) == {"web-1"}


def test_a_second_run_changes_nothing(site: Site) -> None:
    output = site.done("dos.vm.site")
    assert "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions\n" in output
    assert changed(output) == 0


def test_the_plan_is_empty_and_says_so_to_a_pipeline(site: Site, tmp_path: Path) -> None:
    site.done("dos.vm.plan", {"dos_plan_exit_code": True, "dos_plan_file": str(tmp_path / "plan.json")})
    told = json.loads((tmp_path / "plan.json").read_text())
    assert set(told["hosts"]) == {"h1", "h2", "h3"}
    assert told["silent"] == []


def test_the_plan_shows_what_was_changed_behind_its_back(site: Site, hosts: dict[str, Host]) -> None:
    hosts["h3"].run("virsh", "undefine", "web-3")
    assert "+ domain web-3" in site.done("dos.vm.plan")
    assert "web-3" not in domains(hosts["h3"], "--all")
    site.done("dos.vm.site")
    assert "web-3" in domains(hosts["h3"], "--all")


def test_status_shows_every_machine_with_its_host(site: Site) -> None:
    rows = [line.split() for line in site.done("dos.vm.status").splitlines()]
    found = {row[0]: row[2] for row in rows if len(row) > 5 and row[1] == "shop"}
    assert {(vm, host) for vm, host in found.items() if vm != "report"} == {
        (vm, host) for host, names in ON_EACH.items() for vm in names
    }
    assert "web-1" not in site.done("dos.vm.status", {"dos_project": "another"})


def test_a_guest_boots_and_answers(site: Site, hosts: dict[str, Host]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        page = hosts["h1"].run("curl", "--silent", "--max-time", "2", "http://192.168.70.11/", check=False).stdout
        if "<h1>web-1</h1>" in page:
            return
        assert time.monotonic() < deadline, hosts["h1"].run("cat", "/var/log/libvirt/qemu/web-1-serial.log").stdout
        time.sleep(0.5)


def test_a_dead_host_stops_nobody_else_and_is_named(site: Site, hosts: dict[str, Host], lab: Lab) -> None:
    hosts["h3"].run("virsh", "undefine", "web-3")
    hosts["h2"].crash()
    ended = site.play("dos.vm.site")
    assert ended.returncode == UNREACHABLE, ended.stdout + ended.stderr
    assert "no answer from: h2\n" in ended.stdout
    assert "web-2 waits: it is on h2, and there is no answer from there\n" in ended.stdout
    assert "web-3" in domains(hosts["h3"], "--all")
    assert not {"web-2"} & (domains(hosts["h1"], "--all") | domains(hosts["h3"], "--all"))
    assert "no answer from: h2\n" in site.play("dos.vm.status").stdout

    lab.boot("h2")
    assert changed(site.done("dos.vm.site")) == 0
    assert domains(hosts["h2"], "--all") - {"report"} == {"web-2"}


def test_what_a_dead_host_may_be_running_is_started_nowhere_else(site: Site, hosts: dict[str, Host], lab: Lab) -> None:
    """Law 8: `report` is bound to no host and its disk is on shared storage, so any host could start it. None may."""
    (home,) = (name for name, host in hosts.items() if "report" in domains(host, "--all"))
    hosts[home].crash()
    ended = site.play("dos.vm.site")
    assert f"report waits: it is on {home}, and there is no answer from there\n" in ended.stdout
    assert not any("report" in domains(host, "--all") for name, host in hosts.items() if name != home)
    lab.boot(home)
    site.done("dos.vm.site")
    assert "report" in domains(hosts[home], "--all")


def test_a_machine_that_was_taken_elsewhere_is_not_defined_twice(site: Site, hosts: dict[str, Host]) -> None:
    """Law 8: it may be running where it was taken."""
    hosts["h3"].run("sh", "-c", "virsh dumpxml web-3 >/srv/shared/web-3.xml && virsh undefine web-3")
    hosts["h2"].run("virsh", "define", "/srv/shared/web-3.xml")
    moved = "web-3 stays on h2, and should be on h3: migrate it, or undefine it on h2 first\n"
    assert moved in site.done("dos.vm.site")
    assert "web-3" not in domains(hosts["h3"], "--all")
    # Its disk has stayed where it was made, and an empty one in its place is nothing that anybody asked for.
    assert "web-3-vda" not in hosts["h2"].run("virsh", "vol-list", "local").stdout
    hosts["h2"].run("virsh", "undefine", "web-3")
    site.done("dos.vm.site")
    assert "web-3" in domains(hosts["h3"], "--all")
