# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.report`: what the hosts answered, as one text for people and one document for pipelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.plugin_utils.report import counts, lines, moved, summary

display = Display()


class ActionModule(ActionBase):
    """Shows the plans of all hosts; with `exit_code: true` it fails when something is to be done, for a pipeline to see."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"results", "file", "exit_code", "moves", "withheld"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        answers = {host: held for host, held in arguments["results"].items() if "plans" in held}
        hosts = {host: held["plans"] for host, held in answers.items()}
        moves, withheld = list(arguments.get("moves") or ()), list(arguments.get("withheld") or ())
        for text, colour in (*moved(moves, withheld), *lines(hosts)):
            display.display(text, color=colour)
        silent = [host for host, held in arguments["results"].items() if not held]
        if silent:
            display.display(f"no answer from: {', '.join(silent)}", color="red")
        found = counts(hosts)
        if arguments.get("file"):
            self._write(Path(arguments["file"]), hosts, found, silent)
        found["moves"] = len(moves)
        pending = bool(
            moves
            or withheld
            or found["create"]
            or found["change"]
            or found["remove"]
            or found["withheld"]
            or found["blocked"]
            or found["conflicts"]
        )
        failed = bool(arguments.get("exit_code")) and pending
        return {
            **result,
            "changed": False,
            "summary": summary(hosts),
            "counts": found,
            "silent": silent,
            "failed": failed,
            "msg": summary(hosts),
        }

    @staticmethod
    def _write(file: Path, hosts: dict[str, Any], found: dict[str, int], silent: list[str]) -> None:
        document = {"version": 1, "summary": found, "hosts": hosts, "silent": silent}
        file.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")
