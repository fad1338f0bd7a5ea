# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules for real: `ansible-playbook` on this machine's own libvirt, each kind from nothing and back to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LIBVIRTD = Path("/usr/sbin/libvirtd")

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.skipif(os.geteuid() != 0, reason="qemu:///system is for root here"),
    pytest.mark.skipif(not LIBVIRTD.exists(), reason="no libvirtd (tools/apt.txt names the package)"),
]
Result = dict[str, Any]
SECRET = "n0tshown"  # VNC takes eight characters
OTHER = "n0rthis1"


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "pool"
    folder.mkdir()
    virsh("pool-create-as", "md-held", "dir", "--target", str(folder))
    yield "md-held"
    virsh("pool-destroy", "md-held")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Whatever a failed test left goes, so that the next run begins like the first."""
    yield
    for kind, undefine in (("", "undefine"), ("net-", "net-undefine"), ("pool-", "pool-undefine")):
        listed = virsh(f"{kind}list", "--all", "--name").split()
        for name in (name for name in listed if name.startswith("md-") and name != "md-held"):
            virsh(f"{kind}destroy", name, check=False)
            virsh(undefine, name, check=False)
    virsh("nwfilter-undefine", "md-filter", check=False)


def virsh(*words: str, check: bool = True) -> str:
    done = subprocess.run(["virsh", "-q", "-c", "qemu:///system", *words], check=check, capture_output=True, text=True)
    return done.stdout


def play(folder: Path, *tasks: Mapping[str, Any]) -> list[Result]:
    """What each task returned, and under `shown` what the operator saw. A failure does not stop the next."""
    book, results = folder / "play.yml", folder / "results.json"
    names = [f"result_{index}" for index in range(len(tasks))]
    run = [
        {"ignore_errors": True, **task, "register": name, "diff": True} for name, task in zip(names, tasks, strict=True)
    ]
    keep = {"ansible.builtin.copy": {"content": f"{{{{ [{', '.join(names)}] | to_json }}}}", "dest": str(results)}}
    whole = {"hosts": "localhost", "gather_facts": False, "tasks": [*run, {**keep, "check_mode": False, "diff": False}]}
    book.write_text(json.dumps([whole]))
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", "localhost,", "-c", "local", "-vv", book],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert results.exists(), done.stdout + done.stderr
    found: list[Result] = json.loads(results.read_text())
    return [{**held, "shown": done.stdout + done.stderr} for held in found]


def kinds(folder: Path) -> dict[str, tuple[Result, Result]]:
    """For each kind what makes one, and what is different in the change."""
    dhcp = {"ranges": [{"start": "10.213.7.10", "end": "10.213.7.20"}]}
    subnet: Result = {"address": "10.213.7.1/24", "dhcp": dhcp}
    host = {"mac": "52:54:00:00:d7:01", "ip": "10.213.7.5"}
    return {
        "network": (
            {"name": "md-net", "forward": "none", "autostart": False, "subnets": [subnet]},
            {"subnets": [{**subnet, "dhcp": {**dhcp, "hosts": [host]}}]},
        ),
        "pool": ({"name": "md-pool", "path": str(folder / "made"), "autostart": False}, {"autostart": True}),
        "volume": ({"name": "md-volume", "pool": "md-held", "capacity": "1 MiB"}, {"capacity": "16 MiB"}),
        "nwfilter": (
            {"name": "md-filter", "rules": [{"action": "drop", "direction": "in", "protocol": "tcp"}]},
            {"rules": [{"action": "drop", "direction": "inout", "protocol": "tcp"}]},
        ),
        "secret": ({"name": "md-secret", "value": SECRET}, {"description": "of a test"}),
        "domain": ({"name": "md-domain", "memory": "16 MiB", "active": False}, {"vcpus": 2}),
    }


@pytest.mark.parametrize("kind", ["network", "pool", "volume", "nwfilter", "secret", "domain"])
def test_from_nothing_to_a_change_to_nothing(kind: str, tmp_path: Path, pool: str) -> None:
    first, change = kinds(tmp_path)[kind]
    name = f"dos.vm.{kind}"
    made, changed = {name: first}, {name: {**first, **change}}
    identity: Result = {key: first[key] for key in ("name", "pool") if key in first}
    adopt = {"adopt": True} if kind == "volume" else {}  # the pool of the test is not ours
    allow = {"allow": {"data_loss": [f"volume {pool}/md-volume"]}} if kind == "volume" else {}
    gone = {name: {**identity, **adopt, **allow, "state": "absent"}}
    dry = {"check_mode": True}

    told = play(
        tmp_path, {**made, **dry}, made, made, {**changed, **dry}, changed, changed, {**gone, **dry}, gone, gone
    )

    assert [held.get("msg") for held in told] == [None] * 9
    assert [held["changed"] for held in told] == [True, True, False, True, True, False, True, True, False]
    assert told[0]["plans"] == told[1]["plans"]
    assert told[3]["plans"] == told[4]["plans"]
    assert told[6]["plans"] == told[7]["plans"]
    assert [bool(held["performed"]) for held in told] == [False, True, False, False, True, False, False, True, False]
    assert told[0]["diff"][0]["before"] == ""
    assert told[0][kind] is None
    assert told[1][kind]["name"].endswith(first["name"])
    assert told[8][kind] is None
    assert SECRET not in told[0]["shown"]


def test_a_running_guest_is_interrupted_only_where_that_is_allowed(tmp_path: Path) -> None:
    tiny = {"name": "md-guest", "memory": "16 MiB", "machine": "pc", "stop_timeout": 0}
    more = {**tiny, "vcpus": 2}
    told = play(
        tmp_path,
        {"dos.vm.domain": tiny},
        {"dos.vm.domain": tiny},
        {"dos.vm.domain": more},
        {"dos.vm.domain": more},
        {"dos.vm.domain": {**more, "allow": {"restart": True}}},
        {"dos.vm.domain": more},
        {"dos.vm.domain_info": {"name": "md-gu"}},
        {"dos.vm.host_info": {}},
        {"dos.vm.domain": {"name": "md-guest", "state": "absent", "stop_timeout": 0}},
    )
    assert [held.get("msg") for held in told] == [None] * 9
    assert [held["changed"] for held in told] == [True, False, True, False, True, False, False, False, True]
    (waiting,) = told[2]["plans"]
    assert waiting["needs"] == "restart"
    assert [change["path"] for change in waiting["pending"]] == ["vcpus"]
    assert told[3]["plans"][0]["withheld"] == [
        "domain md-guest will be stopped",
        "domain md-guest will be started",
    ]
    assert "domain md-guest has been started" in told[4]["performed"]
    (found,) = told[6]["domains"]
    assert (found["name"], found["active"], found["ours"]) == ("md-guest", True, True)
    assert found["declaration"]["vcpus"] == 2
    assert "domain md-guest" in told[7]["ours"]
    assert told[8]["domain"] is None


def test_a_password_is_shown_nowhere_whatever_changes(tmp_path: Path) -> None:
    console = {"type": "vnc", "password": "md-console"}
    guest = {"name": "md-console", "memory": "16 MiB", "active": False, "graphics": [console]}
    value = {"secrets": {"md-console": SECRET}}
    told = play(
        tmp_path,
        {"dos.vm.domain": {**guest, **value}},
        {"dos.vm.domain": {**guest, **value}},
        {"dos.vm.domain": {**guest, "secrets": {"md-console": OTHER}}},
        {"dos.vm.domain": {**guest, **value}},
        {"dos.vm.domain": guest},
        {"dos.vm.domain": {**guest, "title": "another"}, "check_mode": True},
        {"dos.vm.domain": {**guest, "graphics": []}, "check_mode": True},
        {"dos.vm.domain_info": {"name": "md-console"}},
        {"dos.vm.domain": {"name": "md-console", "state": "absent"}},
    )
    assert [held.get("msg") for held in told] == [None] * 9
    assert [held["changed"] for held in told] == [True, False, True, True, False, True, True, False, True]
    # Without the value among the arguments Ansible has nothing to look for: that it is hidden is our doing.
    assert "(hidden)" in told[6]["diff"][0]["before"]
    assert SECRET not in told[0]["shown"]
    assert OTHER not in told[0]["shown"]


def test_a_pool_that_holds_volumes_is_not_removed(tmp_path: Path) -> None:
    pool = {"name": "md-pool", "path": str(tmp_path / "made"), "autostart": False}
    volume = {"name": "md-disk", "pool": "md-pool", "capacity": "1 MiB"}
    loss = {"data_loss": ["volume md-pool/md-disk"]}
    told = play(
        tmp_path,
        {"dos.vm.pool": pool},
        {"dos.vm.volume": volume},
        {"dos.vm.pool": {"name": "md-pool", "state": "absent"}},
        {"dos.vm.volume": {"name": "md-disk", "pool": "md-pool", "state": "absent"}},
        {"dos.vm.volume": {"name": "md-disk", "pool": "md-pool", "state": "absent", "allow": loss}},
        {"dos.vm.pool": {"name": "md-pool", "state": "absent"}},
    )
    assert [held.get("failed", False) for held in told] == [False, False, True, True, False, False]
    assert "md-disk" in told[2]["msg"]
    assert told[3]["msg"] == (
        'volume md-pool/md-disk would be lost with what is in it: write allow: {data_loss: ["volume md-pool/md-disk"]}'
    )
    assert (tmp_path / "made").is_dir()


def test_a_whole_host_in_one_call(tmp_path: Path) -> None:
    held = {
        "site": "md",
        "secrets": [{"name": "md-secret"}],
        "pools": [{"name": "md-pool", "path": str(tmp_path / "made"), "autostart": False}],
        "volumes": [{"pool": "md-pool", "name": "md-disk", "capacity": "1 MiB"}],
        "networks": [{"name": "md-net", "forward": "none", "autostart": False}],
    }
    arguments = {"slice": held, "secrets": {"md-secret": SECRET}}
    loss = {"data_loss": ["volume md-pool/md-disk"]}
    empty = {"slice": {"site": "md"}, "prune": True, "allow": loss}
    told = play(
        tmp_path,
        {"dos.vm.host": arguments, "check_mode": True},
        {"dos.vm.host": arguments},
        {"dos.vm.host": arguments},
        {"dos.vm.host": {**empty, "prune": False}},
        {"dos.vm.host": empty},
        {"dos.vm.host": empty},
    )
    assert [result.get("msg") for result in told] == [None] * 6
    assert [result["changed"] for result in told] == [True, True, False, False, True, False]
    assert told[2]["kept"] == 4
    left = [plan["name"] for plan in told[3]["plans"] if plan["verdict"] == "left"]
    assert sorted(left) == ["md-net", "md-pool", "md-pool/md-disk", "md-secret"]
    assert SECRET not in told[0]["shown"]


def test_bad_input_is_told_whole_and_changes_nothing(tmp_path: Path) -> None:
    told = play(
        tmp_path,
        {"dos.vm.network": {"name": "md <net>", "forwrd": "nat", "subnets": [{"address": "10.0.0.1"}]}},
        {"dos.vm.volume": {"name": "md-v", "pool": "md-none", "capacity": "1024"}},
        {"dos.vm.pool": {"name": "md-p"}},
        {"dos.vm.host": {"slice": {"domains": [{"name": "md-d", "memory": "16 MiB", "disks": [{}]}]}}},
        {"dos.vm.domain": {"name": "md-d", "memory": "16 MiB", "uri": "nonsense:///"}},
    )
    assert all(held["failed"] and not held["changed"] for held in told)
    assert set(told[0]["msg"].splitlines()) == {
        "name: 'md <net>' is not a name, write 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit",
        "forwrd: is not a known field, did you mean forward?",
        "subnets[0].address: '10.0.0.1' has no prefix, write 10.0.0.1/24",
    }
    assert told[1]["msg"] == "capacity: '1024' has no unit, write 1024 MiB, 1024 GiB or 1024 B"
    assert told[2]["msg"] == "path: is required, write the directory of the volumes"
    assert told[3]["msg"].startswith("slice.domains[0].disks[0].volume: a disk needs a volume or a file")
    assert told[4]["retryable"]
