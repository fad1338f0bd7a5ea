# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.migrate`: shows how far a migration is, by asking the module again until it has ended."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.module_utils.model.types import ByteSize

SECONDS = 8.0  # between two lines of progress
display = Display()


class ActionModule(ActionBase):
    """Runs the module as often as it takes. The migration itself goes on whether anybody asks or not."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        own = {name: value for name, value in self._task.args.items() if name != "ways"}
        arguments = {"seconds": SECONDS, **(self._task.args.get("ways") or {}), **own}
        told = self._call(arguments, variables)
        notes = list(told.get("notes", ()))
        while told.get("remaining") and not told.get("failed") and not self._task.check_mode:
            self._show(arguments, told)
            told = self._call({**arguments, "watch": True, "awake": told["awake"]}, variables)
            notes += [note for note in told.get("notes", ()) if note not in notes]
        result.update(told)
        return {**result, "notes": notes} if "notes" in told else result

    def _call(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = self._execute_module(
            module_name="dos.vm.migrate", module_args=arguments, task_vars=variables
        )
        return told

    @staticmethod
    def _show(arguments: dict[str, Any], told: dict[str, Any]) -> None:
        seen = told["progress"]
        sent, left = (ByteSize(seen[name] // 2**20 * 2**20) for name in ("sent", "left"))
        where = f"{arguments['domain']} from {arguments['source']} to {arguments['target']}"
        text = f"  {where}: {seen['percent']} %, {sent} sent, {left} to go, after {seen['seconds']:.0f} s"
        display.display(text, color="dark gray")
