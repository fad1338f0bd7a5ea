# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.console`: makes the password, keeps it in a file, and shows the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.visit import commands, reached
from ansible_collections.dos.vm.plugins.module_utils.model.front import URI
from ansible_collections.dos.vm.plugins.plugin_utils.answers import HostAction
from ansible_collections.dos.vm.plugins.plugin_utils.console import free_port, new_password
from ansible_collections.dos.vm.plugins.plugin_utils.of_site import with_site
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()


class ActionModule(HostAction):
    """The password goes to the host as an argument that is never logged, and to the operator as a file."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        asked = with_site(self._task.args, variables, self._templar)
        vm, seconds = str(asked.get("vm")), int(asked.get("seconds") or 300)
        file = Path(asked.get("password_file") or f"./console-{vm}.password").expanduser()
        opening = asked.get("order", "open") == "open"
        if opening:
            asked.setdefault("password", new_password())
        result.update(self.ask("dos.vm.console", asked, variables))
        console = result.get("console")
        if result.get("failed") or console is None:
            return result
        ssh = reached({**variables, "ansible_connection": self._connection_name(variables)})
        way = {"vm": vm, "uri": str(asked.get("uri") or URI), "seconds": seconds, "local": free_port(), "ssh": ssh}
        result["commands"] = commands(console, **way)
        if not self._task.check_mode:
            _keep(file, str(asked["password"]) if opening and console["until"] else None)
        if opening and console["until"]:
            result["password_file"] = str(file)
        _show(vm, console, result)
        return result

    def _connection_name(self, variables: dict[str, Any]) -> str:
        return "local" if self._connection.transport == "local" else str(variables.get("ansible_connection", "ssh"))


def _keep(file: Path, password: str | None) -> None:
    """Write what only its owner may read, or remove what is over."""
    file.unlink(missing_ok=True)
    if password is not None:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as held:
            held.write(f"{password}\n")


def _show(vm: str, console: dict[str, Any], result: dict[str, Any]) -> None:
    told = console["note"] or console["done"]
    until = f", which ends at {console['until']} UTC and is in {result['password_file']}" if console["until"] else ""
    display.display(f"  {vm} {told}{until}")
    for what, command in sorted(
        result["commands"].items(), key=lambda pair: ("tunnel", "viewer", "serial").index(pair[0])
    ):
        display.display(f"  {what}:  {command}")
