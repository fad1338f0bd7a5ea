# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.report`: what the hosts answered, as one text for people and one document for pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.plugin_utils.report import counts, lines, moved, summary
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()


VERSION = 2
PLACED = ("findings", "errors", "waiting", "unmoved", "gateways", "not_asked")  # what `dos.vm.place` returned


class ActionModule(ActionBase):
    """Shows the plans of all hosts; with `exit_code: true` it fails when something is to be done, for a pipeline to see."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"results", "file", "exit_code", "moves", "withheld", "stuck", *PLACED})

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
        document = _document(arguments, hosts, silent)
        if arguments.get("file"):
            text = json.dumps(document, indent=2, default=str) + "\n"
            Path(arguments["file"]).write_text(text, encoding="utf-8")
        return {
            **result,
            "changed": False,
            "summary": summary(hosts),
            "counts": document["summary"],
            "silent": silent,
            "failed": bool(arguments.get("exit_code")) and _differs(document),
            "msg": summary(hosts),
        }


def _document(arguments: Mapping[str, Any], hosts: dict[str, Any], silent: list[str]) -> dict[str, Any]:
    """The plan as data. All of version 1 is in it."""
    placed = {name: list(arguments.get(name) or ()) for name in PLACED}
    moves = list(_moves(arguments, placed["unmoved"]))
    errors = frozenset(placed["errors"])
    findings = [{"message": text, "error": text in errors} for text in placed["findings"]]
    waiting, gateways = placed["waiting"], placed["gateways"]
    return {
        "version": VERSION,
        "summary": {
            **counts(hosts),
            "moves": sum(move["blocked_by"] is None for move in moves),
            "blocked_moves": sum(move["blocked_by"] is not None for move in moves),
            "waiting": len(waiting) + sum(gateway["host"] is None for gateway in gateways),
            "findings": len(findings),
        },
        "hosts": hosts,
        "silent": silent,
        "not_asked": placed["not_asked"],
        "moves": moves,
        "waiting": waiting,
        "gateways": gateways,
        "findings": findings,
    }


def _moves(arguments: Mapping[str, Any], unmoved: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every VM that changes its host, or should: `blocked_by` is the permission or the setting that is missing, if one is."""
    for name, blocked_by in (("moves", None), ("withheld", "migrate"), ("stuck", "dos_migration")):
        for move in arguments.get(name) or ():
            target = move.get("target") or ", ".join(move.get("targets", ()))
            yield _move(move["domain"], move["source"], target, move["why"], blocked_by)
    for held in unmoved:
        yield _move(held["vm"], held["host"], None, held["reason"], "unschedulable")


def _move(vm: str, source: str, target: str | None, reason: str, blocked_by: str | None) -> dict[str, Any]:
    return {"vm": vm, "source": source, "target": target, "reason": reason, "blocked_by": blocked_by}


def _differs(document: Mapping[str, Any]) -> bool:
    """Whether the site is not as declared, so that a pipeline fails."""
    listed = (
        "create",
        "change",
        "remove",
        "withheld",
        "blocked",
        "conflicts",
        "moves",
        "blocked_moves",
        "waiting",
        "findings",
    )
    return any(document["summary"].get(name) for name in listed)
