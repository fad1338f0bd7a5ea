# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of a deed of hours: the module is called until it is done, and each call shows how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.plugin_utils.answers import HostAction
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

SECONDS = 8.0  # between two lines of progress
MOST_EQUAL = 100  # answers that are the same as the one before: an honest module does something in each call
display = Display()


class PatientAction(HostAction):
    """Calls its module, `dos.vm.NAME` of the task, as often as it takes."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        result.update(self.until_done(self._task.action, self.arguments(variables), variables))
        return result

    def arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the module is called with."""
        return {"seconds": SECONDS, **self._task.args}

    def until_done(self, module: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """What the module answered, all calls together."""
        whole = told = self.call(module, arguments, variables)
        equal = 0
        while not told.get("failed") and (told.get("remaining") or told.get("running")):
            show(variables, self.progress(arguments, told))
            before, told = told, self.call(module, {**arguments, **self.again(told)}, variables)
            equal = equal + 1 if told == before else 0
            if equal == MOST_EQUAL:
                return {**whole, "failed": True, "msg": f"the host answered the same {equal} times and does not go on"}
            whole = self.joined(whole, told)
        return whole

    def call(self, module: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """One call, a few seconds of it."""
        return self.ask(module, arguments, variables)

    def progress(self, arguments: Mapping[str, Any], told: Mapping[str, Any]) -> str:
        """What one line says of it."""
        return step(told.get("step", "work"), told.get("percent", 0))

    def again(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What the next call is given besides the arguments."""
        return {}

    def joined(self, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """The answer of the calls so far and that of the last one, as one."""
        return now


def step(name: str, percent: float) -> str:
    """How far one step is."""
    return f"{name} {percent:.1f} %"


def show(variables: Mapping[str, Any], text: str) -> None:
    """One line of progress."""
    display.display(f"  {variables['inventory_hostname']}: {text}", color="dark gray")
