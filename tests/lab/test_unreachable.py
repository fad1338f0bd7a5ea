# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts have for each other while one of them is deaf, or is emptied: no run, and no reconciler, cuts it off the tunnels."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import faults
from namespaces.host import Host
from namespaces.lab import TREE, Lab
from test_bridges import Declared, plug, reaches, unplug
from test_site import UNREACHABLE

CARD = {"network": "walk", "boot_rom": False}
FAILED = 2  # ansible-playbook's exit status
# It runs, and nothing runs in it.
SMALL = {"project": "p", "memory": "16 MiB", "stop_timeout": 0, "interfaces": [CARD]}
QUIET: dict[str, Any] = {
    "dos_site": "quiet",
    "dos_projects": {"p": {}},
    "dos_subnets": {"lan": {"address": "10.61.0.0/24", "gateway": "10.61.0.254", "automatic_gateway": {}}},
    "dos_networks": {
        "front": {"type": "bridge", "bridge": "br-front", "vxlan": {"id": 161}, "stp": False},
        "lan": {"type": "bridge", "bridge": "br-lan", "vxlan": {"id": 162}, "stp": False, "subnet": "lan"},
        "walk": {"type": "bridge", "bridge": "br-walk", "vxlan": {"id": 163}, "stp": False},
    },
    "dos_pools": {"quiet": {"path": "/var/lib/dos-vm/quiet"}},
    "dos_instances": {
        "web": {
            "project": "p",
            "memory": "64 MiB",
            "interfaces": [{"network": "front"}, {"network": "lan"}],
            "vms": {f"web-{host}": {"host": host, "power": "off"} for host in ("h1", "h2", "h3")},
        },
        "walker": {**SMALL, "vms": {"walker": {"host": "h2"}, "watcher": {"host": "h1", "power": "off"}}},
        "rooted": {**SMALL, "disks": [{"pool": "quiet", "capacity": "1 MiB"}], "vms": {"rooted": {"host": "h2"}}},
    },
}


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Declared]:
    """Applied once; its gateway is on h1."""
    made = Declared(lab, tmp_path_factory.mktemp("quiet"))
    made.declare(QUIET)
    made.done("dos.vm.site")
    yield made
    made.done("dos.vm.destroy", {"dos_confirm": "quiet", "dos_allow": [{"data_loss": ["volume quiet/rooted-vda"]}]})


@pytest.fixture
def deaf(hosts: dict[str, Host]) -> Iterator[Host]:
    """h2, which nothing reaches by ssh."""
    faults.deafen(hosts["h2"])
    yield hosts["h2"]
    faults.listen(hosts["h2"])


def peers(host: Host) -> dict[str, set[str]]:
    """By tunnel, the hosts that broadcasts go to."""
    listed = json.loads(host.run("bridge", "-json", "fdb", "show").stdout)
    found: dict[str, set[str]] = {"vx161": set(), "vx162": set(), "vx163": set()}
    for entry in listed:
        if entry["mac"] == "00:00:00:00:00:00" and entry.get("ifname") in found:
            found[entry["ifname"]].add(entry["dst"])
    return found


def test_a_host_without_sshd_stays_an_end_of_every_tunnel(
    site: Declared, hosts: dict[str, Host], deaf: Host, tmp_path: Path
) -> None:
    """Without a store as well, where the peers of the others are the only evidence."""
    before = {name: peers(hosts[name]) for name in ("h1", "h3")}
    for name, address in (("h2", "10.62.0.2"), ("h3", "10.62.0.3")):
        plug(hosts[name], "end", f"{address}/24", "ip link set enda master br-front")
    try:
        ended = site.play("dos.vm.site", {"dos_store": "none", "dos_plan_file": str(tmp_path / "plan.json")})
        assert ended.returncode == UNREACHABLE, ended.stdout + ended.stderr
        assert "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions\n" in ended.stdout
        assert {name: peers(hosts[name]) for name in before} == before
        assert reaches(hosts["h3"], "end", "10.62.0.2")
        plan = json.loads((tmp_path / "plan.json").read_text())
        assert {held["vm"] for held in plan["waiting"]} == {"rooted", "walker", "web-h2"}
        assert plan["gateways"] == [{"network": "lan", "host": "h1", "reason": "has it"}]
        assert (plan["silent"], plan["moves"], plan["findings"]) == (["h2"], [], [])
    finally:
        for name in ("h2", "h3"):
            unplug(hosts[name], "end")


def test_the_reconciler_applies_nothing_because_a_host_lost_its_ssh(
    site: Declared, hosts: dict[str, Host], deaf: Host, lab: Lab
) -> None:
    before = {name: peers(hosts[name]) for name in ("h1", "h3")}
    command = [sys.executable, "-m", "dosvm_reconciler", "--inventory", str(site.folder), "--once", "--apply"]
    ended = lab.ctl(*command, cwd=TREE)
    assert "h2" in ended.stderr
    assert "apply:" not in ended.stderr
    assert {name: peers(hosts[name]) for name in before} == before


def test_a_limited_run_leaves_the_others_alone(site: Declared, hosts: dict[str, Host]) -> None:
    before, stored = {name: peers(host) for name, host in hosts.items()}, _stored(site)
    ended = site.play("dos.vm.site", {}, "--limit", "h1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "not asked: h2, h3; 4 VMs that were placed there stay as they are\n" in ended.stdout
    assert "no answer from" not in ended.stdout
    assert "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions\n" in ended.stdout
    assert {name: peers(host) for name, host in hosts.items()} == before
    assert _stored(site) == stored


def _stored(site: Declared) -> dict[str, list[Any]]:
    """What the store says of VMs that are not on h1."""
    (file,) = site.folder.glob("**/quiet.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as store:
        return {
            "placements": store.execute("select * from placements where host <> 'h1' order by vm").fetchall(),
            "pending": store.execute("select * from pending").fetchall(),
            "hosts": store.execute("select * from hosts where name <> 'h1' order by name").fetchall(),
        }


def test_a_vm_that_runs_twice_fails_the_plan_and_is_in_its_document(
    site: Declared, hosts: dict[str, Host], tmp_path: Path
) -> None:
    """What somebody started by hand on a second host."""
    hosts["h2"].run("sh", "-c", "virsh dumpxml walker >/srv/shared/walker.xml")
    hosts["h3"].run(
        "sh", "-c", "sed '/<interface/,/<.interface>/d' /srv/shared/walker.xml >/run/w.xml; virsh create /run/w.xml"
    )
    try:
        ended = site.play("dos.vm.plan", {"dos_plan_file": str(tmp_path / "plan.json")})
    finally:
        hosts["h3"].run("virsh", "destroy", "walker")
    told = "walker RUNS ON h2 AND h3: stop it on all but one now (law 8)"
    assert ended.returncode == FAILED, ended.stdout + ended.stderr
    assert told in ended.stdout
    assert json.loads((tmp_path / "plan.json").read_text())["findings"] == [{"message": told, "error": True}]


def test_a_limit_that_names_no_host_of_the_site_is_an_error(site: Declared) -> None:
    ended = site.play("dos.vm.site", {"dos_limit": "h9"})
    assert ended.returncode != 0
    assert "dos_limit h9: no host of the site is left: use the name of one, h1, h2, h3" in ended.stdout + ended.stderr


def test_an_emptied_host_is_reached_by_all_while_something_is_left_there(
    site: Declared, hosts: dict[str, Host]
) -> None:
    """`rooted` cannot leave, since nothing copies its disk; `--check` says so, and `walker` goes all the same and returns."""
    free = {
        name: {**instance, "vms": {vm: {} if vm == name else held for vm, held in instance["vms"].items()}}
        for name, instance in QUIET["dos_instances"].items()
    }
    site.declare({**QUIET, "dos_instances": {**free, "walker": {**free["walker"], "hosts": ["h1", "h2", "h3"]}}})
    address = {name: host.address for name, host in hosts.items()}
    ended = site.play("dos.vm.drain", {"dos_host": "h2"}, "--check")
    assert ended.returncode != 0
    assert "set storage: copied in dos_migration" in ended.stdout
    assert "h2 will not be empty; the other VMs move all the same" in ended.stdout
    try:
        assert site.play("dos.vm.drain", {"dos_host": "h2"}).returncode != 0
        (home,) = (
            name for name, host in hosts.items() if "walker" in host.run("virsh", "list", "--name").stdout.split()
        )
        assert home != "h2"
        for name in {"h1", home}:
            assert {address["h2"], address[home]} - {address[name]} <= peers(hosts[name])["vx163"]
        assert {address["h1"], address[home]} <= peers(hosts["h2"])["vx163"]
    finally:
        site.done("dos.vm.undrain", {"dos_host": "h2"})
    assert "walker" in hosts["h2"].run("virsh", "list", "--name").stdout.split()
    assert address["h2"] in peers(hosts["h1"])["vx163"]
    assert address["h1"] in peers(hosts["h2"])["vx163"]
