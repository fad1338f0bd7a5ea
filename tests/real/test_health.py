# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real guest tells of itself: its agent answers, or hangs, or is gone; and it panics. And who waits for an agent."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import guests
import pytest
import yaml

from dosvm.hypervisor.health import health
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.readiness import wait
from dosvm.model.decode import decode
from dosvm.model.readiness import Waiting

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
PORT = "p=/dev/$(basename $(dirname $(grep -l guest_agent /sys/class/virtio-ports/*/name)))"
# An agent in a few lines: every question has a line, and so has every answer; what is asked first is whether we are in step.
AGENT = (
    "while read -r l; do case $l in",
    """*guest-sync*) n=$(echo "$l" | sed 's/.*"id": *\\([0-9]*\\).*/\\1/'); echo "{\\"return\\": $n}";;""",
    """*guest-get-time*) echo '{"return": 1700000000000000000}';;""",
    """*) echo '{"error": {"class": "CommandNotFound", "desc": "no"}}';;""",
    "esac; done",
)


@pytest.fixture
def cloud(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> guests.Cloud:
    made = guests.Cloud(hypervisor, prefix, folder)
    machine = made.machine("guest", agent=True, panic=True, on_crash="preserve", stop_timeout=0)
    made.converge(dos_instances={f"{prefix}guest": machine, f"{prefix}plain": made.machine("plain", stop_timeout=0)})
    return made


def agent(hypervisor: LibvirtHypervisor, name: str) -> str:
    return health(hypervisor.uri, hypervisor.observe("test").values())[name]["agent"]


def unready(hypervisor: LibvirtHypervisor, name: str, **wish: object) -> list[str]:
    asked = decode(Waiting, {"checks": [{"name": name, "ready": "agent", "within": 2, **wish}]})
    return [one.reason for one in wait(asked, hypervisor).unready]


def status(folder: Path) -> str:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"dos_hosts": {"hosts": {"here": host}}}))
    done = subprocess.run(
        [PLAYBOOK, "-i", folder / "hosts.yml", "dos.vm.status", "-e", "dos_site=test"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_guest_is_seen_to_answer_to_hang_and_to_panic(
    cloud: guests.Cloud, hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path
) -> None:
    name = f"{prefix}guest"
    assert agent(hypervisor, f"{prefix}plain") == "", "it declares none"
    assert agent(hypervisor, name) == "is not connected"
    assert unready(hypervisor, name) == ["its agent does not answer"]

    with cloud.shell("guest") as shell:
        guests.wait_for("the shell", lambda: shell.says_yes("ls -d /sys/class/virtio-ports/*"))
        for line in AGENT:
            shell.run(f"printf '%s\\n' {shlex.quote(line)} >>/run/agent")
        shell.run(f"{PORT}; sh /run/agent <>$p >&0 & echo $! >/run/agent.pid")
        guests.wait_for("the agent", lambda: agent(hypervisor, name) == "answers")
        assert unready(hypervisor, name) == []
        row = next(line for line in status(tmp_path).splitlines() if line.startswith(name))
        assert row.split()[-1] == "answers", row

        shell.run(f"kill $(cat /run/agent.pid); {PORT}; sleep 1000 <>$p & sleep 1")
        guests.wait_for("the port", lambda: agent(hypervisor, name) != "is not connected")
        begun = time.monotonic()
        assert agent(hypervisor, name) == "does not answer within 1 s"
        assert time.monotonic() - begun < 4, "a hanging agent holds nobody up"

        os.write(shell._port, b"\necho c >/proc/sysrq-trigger\n")
        guests.wait_for("the panic", lambda: "crashed (panicked)" in status(tmp_path))
    assert unready(hypervisor, name) == ["it is crashed"]
