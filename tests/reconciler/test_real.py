# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon for real: one small network on this machine's libvirt, through ansible-runner and the playbooks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dosvm_reconciler.actuator import Actuator
from dosvm_reconciler.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
NETWORK = "rc-net"
HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
DECLARED = {"dos_site": "rc", "dos_networks": {NETWORK: {"type": "isolated", "bridge": "rcbr0"}}}
PRUNED = {"dos_site": "rc", "dos_prune": True}

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.skipif(os.geteuid() != 0, reason="qemu:///system is for root here"),
    pytest.mark.skipif(not Path("/usr/sbin/libvirtd").exists(), reason="no libvirtd (tools/apt.txt names the package)"),
]


def virsh(*arguments: str) -> str:
    done = subprocess.run(["virsh", *arguments], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout


def networks() -> list[str]:
    return virsh("net-list", "--all", "--name").split()


def forget() -> None:
    """What somebody does who knows nothing of us."""
    virsh("net-destroy", NETWORK)
    virsh("net-undefine", NETWORK)


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Path]:
    subprocess.run([sys.executable, ROOT / "tools" / "libvirt_up.py"], check=True, capture_output=True, timeout=300)
    (tmp_path / "inventory" / "group_vars" / "all").mkdir(parents=True)
    hosts = {"all": {"children": {"dos_hosts": {"hosts": {"here": HERE}}}}}
    (tmp_path / "inventory" / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    forget()
    yield tmp_path / "inventory"
    forget()
    assert NETWORK not in networks()
    assert not Path("/sys/class/net/rcbr0").exists()


def declare(inventory: Path, site: dict[str, Any]) -> None:
    (inventory / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(site), encoding="utf-8")


def once(inventory: Path, *arguments: str) -> tuple[int, str]:
    """Come round once; the exit status and what was said. Nothing is left where it worked."""
    scratch = inventory.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "dosvm_reconciler", "--inventory", inventory, "--once", *arguments],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert [path for path in scratch.iterdir() if path.name.startswith("dosvm-")] == []
    return done.returncode, done.stderr


def test_drift_is_seen_healed_and_kept_within_limits(inventory: Path) -> None:
    declare(inventory, DECLARED)
    status, said = once(inventory)
    assert (status, NETWORK in networks()) == (2, False), said

    status, said = once(inventory, "--apply")
    assert (status, NETWORK in networks()) == (0, True), said

    status, said = once(inventory)
    assert status == 0, said

    declare(inventory, PRUNED)
    status, said = once(inventory, "--apply", "--max-removals", "0")
    assert (status, NETWORK in networks()) == (2, True), said
    assert "frozen: the plan removes 1 object, unattended are at most 0" in said

    declare(inventory, DECLARED)
    forget()
    status, said = once(inventory)
    assert status == 2, said


def test_a_host_that_does_not_answer_is_a_failure_beside_the_plan_of_the_others(inventory: Path) -> None:
    declare(inventory, DECLARED)
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {"all": {"children": {"dos_hosts": {"hosts": {"here": HERE, "away": away}}}}}
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    seen = Actuator(inventory).look()
    assert isinstance(seen, Plan), seen
    assert seen.failed.startswith("away: ")
    assert "+ network rc-net" in seen.text


def test_a_wrong_declaration_is_a_failure_that_says_where(inventory: Path) -> None:
    declare(inventory, {**DECLARED, "dos_networks": {NETWORK: {"type": "isolatd"}}})
    status, said = once(inventory, "--apply")
    assert status == 1, said
    assert "parked" in said
    assert "site.yml:3" in said
