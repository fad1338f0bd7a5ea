# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.assertions`: what to ask of the networks, and how the answers compare with what is asserted. Nothing is contacted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.probes import (
    Pair,
    Question,
    Verdict,
    Way,
    questions,
    verdict,
)
from ansible_collections.dos.vm.plugins.module_utils.compile.site import compile_situation
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.decode import encode
from ansible_collections.dos.vm.plugins.plugin_utils.placing import read_situation
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.report import table
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()
COLUMNS = {"text": "Assertion", "expected": "Expected", "seen": "Seen", "why": "What was seen"}
WORDS = {True: "yes", False: "no", None: "not told"}


class ActionModule(ActionBase):
    """Returns `probes` and `asked`; with `seen`, the `assertions` as they are."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"asked", "seen"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        if "seen" in self._task.args:
            return {**result, **_judged(self._task.args.get("asked") or (), self._task.args["seen"])}
        try:
            held = read_situation(self._templar, task_vars or {})
            found = questions(held.site, compile_situation(held), held.states)
        except DosVmError as error:
            return {**result, **refused(error)}
        probes = {host: [encode(probe) for probe in asked] for host, asked in found.probes.items()}
        return {**result, "changed": False, "probes": probes, "asked": [asdict(one) for one in found.asked]}


def _judged(asked: Iterable[Mapping[str, Any]], told: Mapping[str, Any]) -> dict[str, Any]:
    seen = {
        host: [(one["reached"], str(one["why"])) for one in answer["seen"]]
        for host, answer in told.items()
        if answer and "seen" in answer
    }
    found = [verdict(_question(one), seen) for one in asked]
    _show(found)
    silent = [f"{host}: {answer.get('msg')}" for host, answer in told.items() if answer and answer.get("failed")]
    wrong = [*(_sentence(one) for one in found if one.broken), *silent]
    return {
        "changed": False,
        "assertions": [
            {
                "name": one.name,
                "text": one.text,
                "expected": one.expect,
                "seen": one.seen,
                "why": one.why,
                "as_expected": one.as_expected,
                "of": one.of,
            }
            for one in found
        ],
        "failed": bool(wrong),
        **({"msg": "\n".join(wrong)} if wrong else {}),
    }


def _question(held: Mapping[str, Any]) -> Question:
    pairs = tuple(
        Pair(
            str(pair["what"]), tuple(Way(str(way["host"]), int(way["place"])) for way in pair["ways"]), str(pair["why"])
        )
        for pair in held["pairs"]
    )
    return Question(str(held["name"]), str(held["text"]), bool(held["expect"]), pairs)


def _sentence(one: Verdict) -> str:
    must, does = "" if one.expect else "not ", "" if one.seen else " not"
    return f"dos_assertions.{one.name}: {one.text} must {must}work, and does{does}: {one.why}"


def _show(found: Iterable[Verdict]) -> None:
    rows = [
        {
            "text": one.text,
            "expected": WORDS[one.expect],
            "seen": WORDS[one.seen] if one.as_expected in (0, one.of) else f"{one.as_expected} of {one.of} as expected",
            "why": one.why,
            "color": "red" if one.broken else "yellow" if one.seen is None else "green",
        }
        for one in found
    ]
    lines = table(rows, COLUMNS)
    for line, color in zip(lines, [None, *(row["color"] for row in rows)], strict=True):
        display.display(line, color=color)
