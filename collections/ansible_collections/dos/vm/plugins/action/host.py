# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.host`: hands the module its secrets, and shows progress while long work goes on.

The module works for a few seconds at a time and then says what it did; it is called again until nothing remains. So a run
of an hour shows a line every few seconds over any connection, and losing the connection loses nothing but time.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.allow import allowed
from ansible_collections.dos.vm.plugins.plugin_utils.payload import kept
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, refused

SECONDS = 8.0  # of work between two lines of progress
display = Display()


class ActionModule(ActionBase):
    """Runs the module as often as it takes."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result = super().run(tmp, variables)
        try:
            arguments = self._arguments(variables)
        except DosVmError as error:
            return {**result, **refused(error)}
        told = self._call(arguments, variables)
        whole = told
        while told.get("remaining") and not told.get("failed"):
            self._show(variables, told)
            told = self._call(arguments, variables)
            whole = _joined(whole, told)
        result.update(whole)
        return result

    def _arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        arguments = {"seconds": SECONDS, **self._task.args}
        arguments["allow"] = allowed(arguments.get("allow"))
        names = [str(secret["name"]) for secret in (arguments.get("slice") or {}).get("secrets", ())]
        if names and "secrets" not in arguments:
            # Values go from the inventory to the host in this one call; no other task, fact or file ever holds them.
            arguments["secrets"] = SiteReader(self._templar, variables).secret_values(names)
        return arguments

    def _call(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        with kept("host"):
            told: dict[str, Any] = self._execute_module(
                module_name="dos.vm.host", module_args=arguments, task_vars=variables
            )
        return told

    @staticmethod
    def _show(variables: dict[str, Any], told: dict[str, Any]) -> None:
        done = told["performed"]
        last = f"; last: {done[-1]}" if done else ""
        display.display(
            f"  {variables['inventory_hostname']}: {len(done)} done, {told['remaining']} to go{last}", color="dark gray"
        )


def _joined(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The plan is the first call's, the state the last one's, and what was done is all of it."""
    kept = {name: before[name] for name in ("plans", "kept", "diff") if name in before}
    done = [*before.get("performed", ()), *now.get("performed", ())]
    return {**now, **kept, "performed": done, "changed": bool(before.get("changed") or now.get("changed"))}
