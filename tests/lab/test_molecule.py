# SPDX-License-Identifier: GPL-3.0-or-later
"""The Molecule scenarios of the roles, on two hosts. Each first must not hold: a check that bare machines pass is none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

COLLECTION = TREE / "collections" / "ansible_collections" / "dos" / "vm"
BIN = TREE / ".venv" / "bin"
PATIENCE = 600.0  # seconds, on a machine that does other things as well


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(f"w{os.getpid()}")
    try:
        made.up(2)
        for host in made.hosts():  # strangers: to introduce them is the role's work
            host.run("rm", "/root/.ssh/id_ed25519", "/root/.ssh/known_hosts")
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("molecule")
    (folder / "hosts.yml").write_text(render(lab, 2))
    return folder / "hosts.yml"


def molecule(lab: Lab, inventory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    told = {"DOS_LAB_INVENTORY": inventory, "PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": 1}
    settings = [f"{name}={value}" for name, value in told.items()]
    return lab.ctl("env", *settings, str(BIN / "molecule"), *words, timeout=PATIENCE, cwd=COLLECTION)


@pytest.mark.parametrize("role", ["hypervisor", "tls"])
def test_a_role_does_what_its_scenario_says_and_nothing_the_second_time(lab: Lab, inventory: Path, role: str) -> None:
    before = molecule(lab, inventory, "verify", "--scenario-name", role)
    assert "failed=1" in before.stdout + before.stderr  # a task, on each host
    ended = molecule(lab, inventory, "test", "--scenario-name", role)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("PLAY RECAP") == 3  # converge, idempotence, verify


def test_a_host_that_was_installed_anew_is_known_by_its_new_key_and_foreign_lines_stay(
    lab: Lab, inventory: Path
) -> None:
    """The scenario of hypervisor has been run: h1 knows h2. The operator has verified the new key, as for any new host."""
    one, two = lab.hosts()
    foreign = "elsewhere.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJGS"
    one.run("sh", "-ec", f"echo '{foreign}' >> /etc/ssh/ssh_known_hosts")
    old = two.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    two.run("sh", "-ec", "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key")
    new = two.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    call = ("virsh", "-c", f"qemu+ssh://root@{two.address}/system?no_tty=1", "hostname")
    assert one.run(*call, check=False).returncode
    lab.known_hosts.write_text(lab.known_hosts.read_text().replace(old, new))
    two.run("systemctl", "restart", "ssh")
    ended = molecule(lab, inventory, "converge", "--scenario-name", "hypervisor")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert one.run(*call).stdout.strip() == "h2"
    held = one.run("cat", "/etc/ssh/ssh_known_hosts").stdout
    assert old not in held
    assert foreign in held
