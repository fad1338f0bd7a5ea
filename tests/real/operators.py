# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who runs our playbooks on this machine's libvirt, for the tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

HOSTS = {
    "all": {
        "children": {
            "dos_hosts": {
                "hosts": {
                    "here": {
                        "ansible_connection": "local",
                        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                    }
                }
            }
        }
    }
}


def played(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of our playbooks with the inventory of a folder."""
    return subprocess.run(
        [PLAYBOOK, "-i", folder / "hosts.yml", f"dos.vm.{name}", *arguments],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def status(folder: Path) -> str:
    """What `dos.vm.status` prints of the machines that tests declare without an inventory."""
    (folder / "hosts.yml").write_text(yaml.safe_dump(HOSTS), encoding="utf-8")
    done = played(folder, "status", "-e", "dos_site=test")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def state_of(name: str, folder: Path) -> str:
    """The line of a machine in that."""
    return next(line for line in status(folder).splitlines() if line.startswith(name))


class Operator:
    """Somebody with an inventory and a terminal."""

    def __init__(self, folder: Path, site: dict[str, Any]) -> None:
        self.folder, self.site = folder, site
        (folder / "hosts.yml").write_text(yaml.safe_dump(HOSTS), encoding="utf-8")
        (folder / "group_vars" / "all").mkdir(parents=True)

    def play(self, name: str, *arguments: str, succeeds: bool = True) -> str:
        """Run one of our playbooks; returns what it printed."""
        file = self.folder / "group_vars" / "all" / "site.yml"
        file.write_text(yaml.safe_dump(self.site, sort_keys=False), encoding="utf-8")
        done = played(self.folder, name, *arguments)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == succeeds, output
        assert "hunter22" not in output, "a secret was shown"
        return output

    def module(self, name: str, /, *, succeeds: bool = True, **options: Any) -> dict[str, Any]:
        """What one of our modules answers, as a task of the operator's own has it."""
        done = subprocess.run(
            [PLAYBOOK.with_name("ansible"), "-i", self.folder / "hosts.yml", "here", "-m", f"dos.vm.{name}", "-a", json.dumps(options)],
            cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout[done.stdout.index("=> {") + 3 :])
        return answer

    def plan(self, *arguments: str) -> str:
        """The line that sums a plan up."""
        return next(line for line in self.play("plan", *arguments).splitlines() if line.startswith("Plan:"))

    def state(self, domain: str) -> str:
        """What virsh says of a machine."""
        done = subprocess.run(["virsh", "domstate", domain], capture_output=True, text=True, check=False)
        return done.stdout.strip() or "none"
