# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.vm`: shows what became of the order, a line for each machine."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.plugin_utils.answers import HostAction

display = Display()


class ActionModule(HostAction):
    """Runs the module and tells."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        result.update(self.ask("dos.vm.vm", self._task.args, variables))
        for told in result.get("machines", ()):
            colour = "red" if told["refused"] else "yellow" if told["changed"] else None
            display.display(f"  {variables.get('inventory_hostname')}: {_line(told)}", color=colour)
        return result


def _line(told: dict[str, Any]) -> str:
    words = [told["name"], told["done"] or ("" if told["refused"] else f"is {told['after']}")]
    note = told["refused"] or told["note"]
    where = told["console"] if told["after"] == "running" else None
    return " ".join(filter(None, words)) + (f": {note}" if note else "") + (f" ({where})" if where else "")
