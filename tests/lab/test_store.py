# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plays remember: machines on three real hosts of which some are dead, renamed, cloned; a store that is lost."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

from dosvm.compile.memory import Placement
from dosvm.store.store import open_store
from dosvm.store.url import beside

PLAYBOOK = TREE / ".venv" / "bin" / "ansible-playbook"
UNREACHABLE = 4
NOTHING = "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions"
MACHINE = {"project": "shop", "memory": "16 MiB", "disks": [{"pool": "common", "capacity": "1 MiB"}]}


class Controller:
    """Somebody with an inventory, and so with a store."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self.folder = lab, folder
        self.hosts = render(lab, 3)
        self.vms: dict[str, Any] = {f"vm-{number}": {"power": "off"} for number in range(4)}

    @property
    def store(self) -> Path:
        return self.folder / ".dos-vm" / "st.sqlite"

    def play(self, name: str, status: int = 0, **variables: Any) -> str:
        site = {
            "dos_site": "st",
            "dos_projects": {"shop": {}},
            "dos_pools": {"common": {"path": "/srv/shared/st", "shared": True}},
            "dos_instances": {"st": {**MACHINE, "vms": self.vms}},
        }
        (self.folder / "group_vars" / "all").mkdir(parents=True, exist_ok=True)
        (self.folder / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(site))
        (self.folder / "hosts.yml").write_text(self.hosts)
        command = [str(PLAYBOOK), "-i", str(self.folder), f"dos.vm.{name}", "-e", json.dumps(variables)]
        done: subprocess.CompletedProcess[str] = self._lab.ctl(*command, timeout=120, cwd=TREE)
        assert done.returncode == status, done.stdout + done.stderr
        assert "s3cret" not in done.stdout + done.stderr, "the store's password was shown"
        return done.stdout + done.stderr

    def placements(self, url: str = "") -> dict[str, Placement]:
        with closing(open_store(url or beside(self.folder, "st"), site="st")) as store:
            return store.placements.all()

    def remembered(self) -> dict[str, str | None]:
        return {vm: held.host for vm, held in self.placements().items()}


def domains(hosts: dict[str, Host]) -> dict[str, str]:
    """The host of every machine of ours; none is on two."""
    found: dict[str, str] = {}
    for name, host in hosts.items():
        for vm in host.run("virsh", "list", "--all", "--name").stdout.split():
            if vm.startswith("vm-"):
                assert vm not in found, f"{vm} is on {found[vm]} and {name}"
                found[vm] = name
    return found


@pytest.fixture(scope="module")
def module_hosts(lab: Lab) -> dict[str, Host]:
    return {host.name: host for host in lab.hosts()}


@pytest.fixture(scope="module")
def controller(
    lab: Lab, module_hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Controller]:
    made = Controller(lab, tmp_path_factory.mktemp("store"))
    made.play("site")
    yield made
    lab.boot(*(host.name for host in lab.hosts()))
    allow = [{"data_loss": [f"volume common/{vm}-vda" for vm in made.vms]}]
    made.play("destroy", dos_confirm="st", dos_allow=allow)
    assert domains(module_hosts) == {}
    assert set(made.remembered().values()) == {None}, "what was destroyed is remembered as if it were there"


def test_what_was_placed_is_remembered_before_and_found_after(controller: Controller, hosts: dict[str, Host]) -> None:
    assert controller.remembered() == domains(hosts)
    assert {held.epoch for held in controller.placements().values()} == {1}
    assert not any(held.seen for held in controller.placements().values())
    assert NOTHING in controller.play("site")
    assert all(held.seen for held in controller.placements().values())
    assert controller.store.stat().st_mode & 0o777 == 0o600


def test_a_plan_writes_nothing(controller: Controller) -> None:
    before = controller.store.read_bytes()
    controller.vms["vm-planned"] = {"power": "off"}
    assert "+ domain vm-planned" in controller.play("plan")
    del controller.vms["vm-planned"]
    assert controller.store.read_bytes() == before


def test_a_new_machine_need_not_wait_for_a_dead_host(controller: Controller, hosts: dict[str, Host], lab: Lab) -> None:
    """And one that is there waits for it, and is started nowhere else (law 8)."""
    dead = controller.remembered()["vm-0"]
    assert dead is not None
    hosts[dead].crash()
    controller.vms["vm-new"] = {"power": "off"}
    told = controller.play("site", UNREACHABLE)
    assert f"vm-0 waits: it is on {dead}, and there is no answer from there" in told
    alive = {name: host for name, host in hosts.items() if name != dead}
    assert domains(alive)["vm-new"] != dead
    assert "vm-0" not in domains(alive)
    lab.boot(dead)
    assert NOTHING in controller.play("site")
    assert controller.remembered() == domains(hosts)


def test_without_what_was_remembered_it_waits(controller: Controller, hosts: dict[str, Host], lab: Lab) -> None:
    hosts["h2"].crash()
    controller.vms["vm-late"] = {"power": "off"}
    told = controller.play("site", UNREACHABLE, dos_store="none")
    assert "vm-late waits: it may be on h2, and there is no answer from there" in told
    lab.boot("h2")
    del controller.vms["vm-late"]


def test_a_lost_store_is_recovered_from_the_hosts_and_the_plan_is_empty(
    controller: Controller, hosts: dict[str, Host]
) -> None:
    """The epochs come back with the marks: vm-1 was let go and placed again before."""
    home = controller.remembered()["vm-1"]
    hosts[str(home)].run("virsh", "undefine", "vm-1")
    controller.play("release", dos_release=home, dos_reason="for the test")
    controller.play("site")
    before = {vm: (held.host, held.epoch) for vm, held in controller.placements().items() if held.host}
    assert before["vm-1"][1] == 3
    controller.store.unlink()
    controller.play("recover")
    after = {vm: (held.host, held.epoch) for vm, held in controller.placements().items()}
    assert {vm: host for vm, (host, _) in after.items()} == domains(hosts)
    assert after["vm-1"] == before["vm-1"]
    assert NOTHING in controller.play("plan")
    assert "0 placements are as the hosts say" in controller.play("recover")


def test_a_machine_on_two_hosts_is_told_and_not_settled(controller: Controller, hosts: dict[str, Host]) -> None:
    home = str(controller.remembered()["vm-2"])
    other = next(name for name in hosts if name != home)
    hosts[home].run("sh", "-c", "virsh dumpxml vm-2 >/srv/shared/vm-2.xml")
    hosts[other].run("virsh", "define", "/srv/shared/vm-2.xml")
    both = " and ".join(sorted([home, other]))
    told = f"vm-2 is defined on {both}: undefine it on all but one"
    controller.store.unlink()
    assert told in controller.play("recover", 2)
    held = controller.remembered()
    assert "vm-2" not in held
    assert held["vm-0"] == domains({home: hosts[home]}).get("vm-0", held["vm-0"])
    assert told in controller.play("plan")
    hosts[other].run("virsh", "undefine", "vm-2")
    controller.play("recover")
    assert controller.remembered()["vm-2"] == home


def test_a_host_keeps_its_machines_under_a_new_name(controller: Controller, hosts: dict[str, Host]) -> None:
    """LIMIT-06, HOST-T1.2: also one that is dead when it is asked for by its new name the next time."""
    before, old = controller.remembered(), controller.hosts
    controller.hosts = re.sub(r"\bh3:", "newname:", old)
    assert "host h3 is called newname now" in controller.play("site")
    assert controller.remembered() == {vm: "newname" if host == "h3" else host for vm, host in before.items()}
    assert NOTHING in controller.play("plan")
    controller.hosts = old
    controller.play("site")
    assert controller.remembered() == before


def test_a_clone_is_told(controller: Controller, hosts: dict[str, Host]) -> None:
    mine = hosts["h2"].run("cat", "/etc/machine-id").stdout
    try:
        hosts["h2"].run("sh", "-c", f"echo {hosts['h1'].run('cat', '/etc/machine-id').stdout.strip()} >/etc/machine-id")
        told = controller.play("plan")
        assert "h1 and h2" in told
        assert "machine-id" in told
    finally:
        hosts["h2"].run("sh", "-c", f"echo {mine.strip()} >/etc/machine-id")
    assert "machine-id" not in controller.play("plan")
