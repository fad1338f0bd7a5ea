# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.rebalance`: proposes moves that even out how full the hosts are. It performs none: `dos.vm.migrate` does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.placement.rebalance import Balance, rebalance
from ansible_collections.dos.vm.plugins.plugin_utils.placing import read_situation
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()


class ActionModule(ActionBase):
    """Returns `moves`, each with its gain, and how full the hosts are `before` and `after`."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"moves", "file"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            held = read_situation(self._templar, task_vars or {})
        except DosVmError as error:
            return {**result, **refused(error)}
        how = held.site.placement.rebalance
        found = rebalance(
            held.fleet,
            held.requests,
            moves=int(self._task.args.get("moves") or how.moves),
            tolerance=how.tolerance,
            least_gain=how.least_gain,
        )
        _show(found)
        moves = [dataclasses.asdict(move) for move in found.moves]
        if self._task.args.get("file"):
            Path(self._task.args["file"]).write_text(json.dumps({"moves": moves}, indent=2) + "\n", encoding="utf-8")
        return {
            **result,
            "changed": False,
            "moves": moves,
            "before": _shares(found.before),
            "after": _shares(found.after),
        }


def _show(found: Balance) -> None:
    for move in found.moves:
        text = f"  {move.vm}: {move.source} → {move.target}  gains {move.gain:.1f} % of a host ({move.why})"
        display.display(text, color="yellow")
    number = len(found.moves)
    head = (
        "nothing is worth a move"
        if not number
        else f"{number} move{'' if number == 1 else 's'} proposed, none performed"
    )
    before, after = _words(found.before), _words(found.after)
    display.display(f"{head}; {before}" + (f", then {after}" if number else ""), color="bright blue")


def _words(shares: tuple[float, float, float]) -> str:
    return f"the fullest host {shares[0]:.0%}, the emptiest {shares[1]:.0%}"


def _shares(shares: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("fullest", "emptiest", "deviation"), shares, strict=True))
