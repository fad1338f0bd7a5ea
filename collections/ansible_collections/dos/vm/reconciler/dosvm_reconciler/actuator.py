# SPDX-License-Identifier: GPL-3.0-or-later
"""Running our playbooks through ansible-runner: the only room that knows Ansible is there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ansible_runner

from .plan import Failure, Seen, read

# The task that checks the declaration. When it fails nothing but another declaration helps.
CHECK = "dos.vm.site"
NO_HOST = "no host was asked: the inventory cannot be read, or its group dos_hosts is empty"
LAST_LINES = 20
UNREACHABLE = 4  # the exit status of a play in which hosts did not answer and nothing else was wrong


@dataclass(slots=True)
class Run:
    """One play: its exit status, and what its tasks said when they failed."""

    status: int = 0
    invalid: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    output: str = ""

    def heard(self, event: Mapping[str, Any]) -> bool:
        """Take note of a runner event. False: the event need not be kept."""
        if event["event"] in ("runner_on_failed", "runner_on_unreachable"):
            said = event["event_data"]
            kept = self.invalid if said.get("task_action") == CHECK else self.failed
            kept.append(f"{said.get('host')}: {said.get('res', {}).get('msg', 'failed')}")
        return False

    @property
    def failure(self) -> Failure | None:
        """Why it failed, if it did."""
        if self.invalid:
            return Failure(text="\n".join(self.invalid), terminal=True)
        if self.status:
            return Failure(text="\n".join(dict.fromkeys(self.failed)) or self.output)
        return None


class Actuator:
    """The playbooks `dos.vm.plan`, `dos.vm.site` and `dos.vm.hosts` on one inventory, in the folder the daemon was started in."""

    def __init__(self, inventory: Path) -> None:
        self._inventory = inventory.absolute()

    def look(self) -> Seen:
        """What would be done. Changes nothing."""
        with TemporaryDirectory(prefix="dosvm-") as folder:
            file = Path(folder, "plan.json")
            run = self._play("dos.vm.plan", folder, {"dos_plan_file": str(file)})
            failure = run.failure
            if file.exists() and not (failure and failure.terminal):
                return read(json.loads(file.read_text("utf-8")), failed=failure.text if failure else "")
            # Ansible only warns about an inventory it cannot read, and succeeds with no host at all. Not terminal: the
            # inventory may be a program, and its source away for a while.
            return failure or Failure(text=NO_HOST)

    def apply(self) -> Failure | None:
        """Make the hosts as declared."""
        with TemporaryDirectory(prefix="dosvm-") as folder:
            return self._play("dos.vm.site", folder, {}).failure

    def observe(self) -> Failure | None:
        """Write into the store which hosts answer and how busy they are (HOST-10). A host that does not is no failure."""
        with TemporaryDirectory(prefix="dosvm-") as folder:
            run = self._play("dos.vm.hosts", folder, {})
            return None if run.status == UNREACHABLE else run.failure

    def _play(self, playbook: str, folder: str, variables: Mapping[str, str]) -> Run:
        run = Run()
        done = ansible_runner.run(
            private_data_dir=folder,
            project_dir=os.getcwd(),  # where ansible.cfg is looked for
            inventory=str(self._inventory),
            playbook=playbook,
            extravars=dict(variables),
            envvars=_environment(),
            event_handler=run.heard,
            # Without one, runner takes SIGTERM for itself and kills the play; ours lets it end.
            cancel_callback=lambda: False,
            quiet=True,
        )
        run.status = done.rc
        with done.stdout as said:
            run.output = "".join(said.readlines()[-LAST_LINES:]).strip()
        return run


def _environment() -> dict[str, str]:
    # The daemon is often started as .venv/bin/python, and then nobody has put ansible-playbook beside it on the PATH.
    beside = str(Path(sys.executable).parent)
    return {"PATH": f"{beside}:{os.environ.get('PATH', os.defpath)}", "ANSIBLE_NOCOLOR": "1"}
