# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of a deed of hours: the module is called until it is done, and each call shows how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

SECONDS = 8.0  # between two lines of progress
display = Display()


class PatientAction(ActionBase):
    """Calls its module, `dos.vm.NAME` of the task, as often as it takes."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        result.update(self.until_done(self._task.action, self.arguments(variables), variables))
        return result

    def arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the module is called with."""
        return {"seconds": SECONDS, **self._task.args}

    def until_done(self, module: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The module's last answer."""
        while True:
            told: dict[str, Any] = self._execute_module(module_name=module, module_args=arguments, task_vars=variables)
            if told.get("failed") or not (told.get("remaining") or told.get("running")):
                return told
            show(variables, told.get("step", "work"), told.get("percent", 0))


def show(variables: Mapping[str, Any], step: str, percent: float) -> None:
    """One line of progress."""
    display.display(f"  {variables['inventory_hostname']}: {step} {percent:.1f} %", color="dark gray")
