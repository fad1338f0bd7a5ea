# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plays remember: machines on three real hosts of which some are dead, renamed, cloned; a store that is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab
from namespaces.process import PATIENCE

sys.path.insert(0, str(TREE / "tests" / "store"))

from mariadb import QUOTED, server

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
        self.more: dict[str, Any] = {}  # instances
        self.whole: dict[str, Any] = {}  # what the site is instead
        self.volumes: dict[str, Any] = {}

    @property
    def store(self) -> Path:
        return self.folder / ".dos-vm" / "st.sqlite"

    def play(self, name: str, status: int = 0, **variables: Any) -> str:
        """A playbook of ours, or one that begins with a slash, run to its end; its output."""
        done = self.finished(self.begin(name, **variables))
        assert done[0] == status, done[1]
        return done[1]

    @staticmethod
    def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
        output = process.communicate(timeout=PATIENCE)[0]
        assert "s3cret" not in output, "the store's password was shown"
        return process.returncode, output

    def begin(self, name: str, **variables: Any) -> subprocess.Popen[str]:
        """The same, under way."""
        site = {
            "dos_site": "st",
            "dos_projects": {"shop": {}},
            "dos_pools": {"common": {"path": "/srv/shared/st", "shared": True}},
            "dos_instances": {"st": {**MACHINE, "vms": self.vms}, **self.more},
            "dos_volumes": self.volumes,
            **self.whole,
        }
        (self.folder / "group_vars" / "all").mkdir(parents=True, exist_ok=True)
        (self.folder / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(site))
        (self.folder / "hosts.yml").write_text(self.hosts)
        book = name if name.startswith("/") else f"dos.vm.{name}"
        return subprocess.Popen(
            [str(PLAYBOOK), "-i", str(self.folder), book, "-e", json.dumps(variables)],
            cwd=TREE, preexec_fn=self._lab.enter_control, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

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


def test_the_first_run_with_volumes_of_a_shared_pool_ends_well(controller: Controller, hosts: dict[str, Host]) -> None:
    """Three hosts plan them at the same time, over a directory that their libvirt has read before."""
    for name in hosts:
        controller.volumes[f"data-{name}"] = {"pool": "common", "capacity": "1 MiB"}
        disks = [{"volume": f"data-{name}"}, {"pool": "common", "capacity": "1 MiB"}]
        controller.more[f"of-{name}"] = {
            **MACHINE,
            "disks": disks,
            "vms": {f"vm-{name}": {"power": "off", "host": name}},
        }
    told = controller.play("site")
    assert "exists already" not in told
    assert {domains(hosts)[f"vm-{name}"] for name in hosts} == set(hosts)
    assert NOTHING in controller.play("site")


def test_what_a_released_host_had_on_a_shared_pool_is_found_by_the_next(
    controller: Controller, hosts: dict[str, Host], lab: Lab
) -> None:
    """A failover ends well at the first try, and its plan creates no volume."""
    dead = str(controller.remembered()["vm-1"])
    data = lab.shared / "st" / "vm-1-vda"
    before = data.stat().st_ino
    hosts[dead].crash()
    released = controller.begin("release", dos_release=dead, dos_confirm=dead, dos_reason="its power is cut")
    assert controller.finished(released)[0] in (0, UNREACHABLE)
    told = controller.play("site", UNREACHABLE)
    alive = {name: host for name, host in hosts.items() if name != dead}
    assert "vm-1" in domains(alive)
    assert "volume common/vm-1-vda" not in told
    assert " failed=0 " in told
    assert data.stat().st_ino == before
    lab.boot(dead)
    controller.play("site", dos_prune=True)
    assert NOTHING in controller.play("site")


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
    controller: Controller, hosts: dict[str, Host], lab: Lab
) -> None:
    """The epochs come back with the marks: vm-1 was let go and placed again before."""
    home, epoch = controller.remembered()["vm-1"], controller.placements()["vm-1"].epoch
    hosts[str(home)].run("virsh", "undefine", "vm-1")
    hosts[str(home)].crash()
    controller.play("release", dos_release=home, dos_confirm=home, dos_reason="for the test")
    lab.boot(str(home))
    controller.play("site")
    before = {vm: (held.host, held.epoch) for vm, held in controller.placements().items() if held.host}
    assert before["vm-1"][1] == epoch + 2
    controller.store.unlink()
    controller.play("recover")
    after = {vm: (held.host, held.epoch) for vm, held in controller.placements().items()}
    assert {vm: host for vm, (host, _) in after.items()} == domains(hosts)
    assert after["vm-1"] == before["vm-1"]
    assert NOTHING in controller.play("plan")
    assert "0 placements are as the hosts say" in controller.play("recover")


def test_a_store_from_an_old_backup_places_nothing_until_it_is_recovered(
    controller: Controller, hosts: dict[str, Host]
) -> None:
    """The VM that is newer than the backup is on a host that was compared with it."""
    backup = controller.store.read_bytes()
    controller.vms["vm-after"] = {"power": "off"}
    controller.play("site")
    newer = controller.remembered()
    controller.store.write_bytes(backup)
    controller.vms["vm-newest"] = {"power": "off"}
    refused = " ".join(controller.play("site", 2).split())
    assert "it was restored from a backup" in refused
    assert "run dos.vm.recover, then this again" in refused
    assert "vm-newest" not in domains(hosts)
    controller.play("recover")
    assert controller.remembered() == newer
    controller.play("site")
    assert NOTHING in controller.play("plan")
    del controller.vms["vm-after"], controller.vms["vm-newest"]
    gone = {"data_loss": ["volume common/vm-after-vda", "volume common/vm-newest-vda"]}
    controller.play("site", dos_prune=True, dos_allow=[gone])
    assert NOTHING in controller.play("plan")


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
    bound = controller.more["of-h3"]["vms"]["vm-h3"]
    try:
        controller.hosts = re.sub(r"\bh3:", "newname:", old)
        bound["host"] = "newname"
        assert "host h3 is called newname now" in controller.play("site")
        assert controller.remembered() == {vm: "newname" if host == "h3" else host for vm, host in before.items()}
        assert NOTHING in controller.play("plan")
    finally:
        controller.hosts, bound["host"] = old, "h3"
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


def fences(host: Host) -> dict[str, int]:
    held: dict[str, int] = json.loads(host.run("cat", "/var/lib/dos-vm/fences.json").stdout)
    return held


def test_a_move_is_claimed_before_and_settled_after(controller: Controller, hosts: dict[str, Host]) -> None:
    """And the host that it left makes it no more for who decided earlier."""
    before = controller.placements()["vm-3"]
    target = next(name for name in hosts if name != before.host)
    controller.play("migrate", dos_vm="vm-3", dos_to=target)
    after = controller.placements()["vm-3"]
    assert (after.host, after.epoch, after.seen) == (target, before.epoch + 1, True)
    assert domains(hosts)["vm-3"] == target
    assert fences(hosts[str(before.host)])["vm-3"] == after.epoch
    controller.play("migrate", dos_vm="vm-3", dos_to=before.host)
    assert domains(hosts)["vm-3"] == before.host
    assert controller.placements()["vm-3"].epoch == before.epoch + 2
    assert NOTHING in controller.play("plan")


def test_a_move_that_fails_leaves_the_store_as_the_hosts_are(controller: Controller, hosts: dict[str, Host]) -> None:
    home = str(controller.remembered()["vm-3"])
    target = next(name for name in hosts if name != home)
    hosts[target].run("virsh", "pool-destroy", "common")
    hosts[target].run("sh", "-c", "virsh dumpxml vm-0 >/dev/null 2>&1; virsh pool-undefine common")
    # A pool of that name that is not the site's: preparing the host is refused, and so is the machine.
    other = "<pool type='dir'><name>common</name><target><path>/var/tmp</path></target></pool>"
    hosts[target].run("sh", "-c", f'echo "{other}" >/run/pool.xml; virsh pool-define /run/pool.xml')
    try:
        controller.play("migrate", 2, dos_vm="vm-3", dos_to=target)
        held = controller.placements()["vm-3"]
        assert (held.host, held.seen) == (home, True)
        assert domains(hosts)["vm-3"] == home
    finally:
        hosts[target].run("virsh", "pool-undefine", "common")
        controller.play("site")


def test_hosts_are_listed_with_what_they_have_and_when_they_last_answered(
    controller: Controller, hosts: dict[str, Host]
) -> None:
    """HOST-03, HOST-06, HOST-07, HOST-11: a dead one is told as what it is."""
    assert re.search(r"^h1 +running +\d", controller.play("hosts"), re.MULTILINE)
    hosts["h3"].crash()
    told = controller.play("hosts", UNREACHABLE, dos_monitoring={"sample": 5, "history": 10, "missed": 1})
    assert re.search(r"^h3 +(stopped|no answer), last one 0:0\d:\d\d ago +\d", told, re.MULTILINE), told
    assert (
        "h2" not in controller.play("hosts", UNREACHABLE, dos_name="h1").split("PLAY RECAP")[0].split("TASK [Show]")[1]
    )
    past = controller.play("hosts", UNREACHABLE, dos_since="2020-01-01")
    assert re.search(r"^h3 +20\d\d-", past, re.MULTILINE), past
    assert "rows of history were forgotten" in controller.play("hosts", UNREACHABLE, dos_purge_before="2100-01-01")


SLOW = """
- hosts: dos_hosts
  gather_facts: false
  tasks:
    - dos.vm.site:
      run_once: true
    - dos.vm.host: {site: st}
      register: dos_run_facts
    - dos.vm.place:
      run_once: true
      register: placed
    - ansible.builtin.file: {path: "{{ flag }}.decided", state: touch, mode: "0600"}
      delegate_to: localhost
      run_once: true
    - ansible.builtin.wait_for: {path: "{{ flag }}", timeout: 120}
      delegate_to: localhost
      run_once: true
    - dos.vm.host:
        slice: "{{ placed.slices[inventory_hostname] }}"
"""


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MariaDB, by its socket: the controllers have a network of their own."""
    folder = tmp_path_factory.mktemp("mariadb")
    with server(folder) as held:
        held.database("st")
        yield f"mysql+pymysql://dos:{QUOTED}@localhost/st?unix_socket={folder / 'socket'}"


@pytest.fixture
def race(request: pytest.FixtureRequest) -> list[str]:
    """Names of VMs that no earlier test had: a host knows the volumes that it has lost, and makes none of them anew."""
    number = request.session.items.index(request.node)
    return [f"vm-race-{number}-{each}" for each in range(3)]


@pytest.fixture
def two(
    lab: Lab, controller: Controller, race: list[str], tmp_path: Path, hosts: dict[str, Host]
) -> Iterator[tuple[Controller, Controller]]:
    """Two people with two checkouts that contradict each other: the machines are bound to h1, and to h2."""
    made = []
    for host in ("h1", "h2"):
        one = Controller(lab, tmp_path / host)
        one.vms = {**controller.vms, **{vm: {"power": "off", "host": host} for vm in race}}
        made.append(one)
    yield made[0], made[1]
    for name, host in domains(hosts).items():
        if name in race:
            hosts[host].run("virsh", "undefine", name)
    for host in hosts.values():
        host.run("sh", "-c", "rm -f /srv/shared/st/vm-race*; virsh pool-refresh common")
    controller.play("site")


def test_who_decided_earlier_and_comes_later_is_refused(
    two: tuple[Controller, Controller], race: list[str], shared_store: str, hosts: dict[str, Host], tmp_path: Path
) -> None:
    """The claim decides, and not who is faster at the hosts (law 8)."""
    slow, quick = two
    flag = tmp_path / "go"
    (tmp_path / "slow.yml").write_text(SLOW)
    waiting = slow.begin(str(tmp_path / "slow.yml"), dos_store=shared_store, flag=str(flag))
    deadline = time.monotonic() + PATIENCE
    while not Path(f"{flag}.decided").exists():
        assert waiting.poll() is None, slow.finished(waiting)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert quick.placements(shared_store)[race[0]].host == "h1"
    quick.play("site", dos_store=shared_store)
    assert domains(hosts)[race[0]] == "h2"
    flag.touch()
    status, told = slow.finished(waiting)
    assert status == 2, told
    assert f"domain {race[0]} was given to another host while this run decided (epoch 2): run it again" in told
    assert domains(hosts)[race[0]] == "h2"
    held = quick.placements(shared_store)[race[0]]
    assert (held.host, held.epoch) == ("h2", 2)


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_two_that_run_at_the_same_time_make_each_machine_once(
    two: tuple[Controller, Controller], race: list[str], shared_store: str, hosts: dict[str, Host], offset: float
) -> None:
    first = two[0].begin("site", dos_store=shared_store)
    time.sleep(offset)
    second = two[1].begin("site", dos_store=shared_store)
    told = [two[0].finished(first), two[1].finished(second)]
    found = domains(hosts)  # asserts that none is on two
    assert {name for name in found if name in race} == set(race), "\n".join(output for _, output in told)
    assert {status for status, _ in told} <= {0, 2}, told
    # Who lost says so; whoever runs it again finds what there is.
    two[0].play("site", dos_store=shared_store)
    held = two[0].placements(shared_store)
    found = domains(hosts)
    assert {vm: held[vm].host for vm in race} == {vm: found[vm] for vm in race}
