# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.host`: hands the module its secrets, and shows progress while long work goes on.

The module works for a few seconds at a time and then says what it did; it is called again until nothing remains. So a run
of an hour shows a line every few seconds over any connection, and losing the connection loses nothing but time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.allow import allowed
from ansible_collections.dos.vm.plugins.plugin_utils.patience import PatientAction
from ansible_collections.dos.vm.plugins.plugin_utils.payload import kept
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused


class ActionModule(PatientAction):
    """Runs the module as often as it takes."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        before = self._task.args.pop("before", None) or {}
        try:
            told = super().run(tmp, task_vars)
            return _after(before, told) if before.get("plans") is not None else told
        except DosVmError as error:
            return refused(error)

    def arguments(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        arguments = super().arguments(variables)
        arguments["allow"] = allowed(arguments.get("allow"))
        names = [str(secret["name"]) for secret in (arguments.get("slice") or {}).get("secrets", ())]
        if names and "secrets" not in arguments:
            # Imported where it is needed: it costs a task that needs none a quarter of its time.
            from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader

            # Values go from the inventory to the host in this one call; no other task, fact or file ever holds them.
            arguments["secrets"] = SiteReader(self._templar, variables).secret_values(names)
        return arguments

    def call(self, module: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        with kept("host"):
            return super().call(module, arguments, variables)

    def progress(self, arguments: Mapping[str, Any], told: Mapping[str, Any]) -> str:
        done = told["performed"]
        last = f"; last: {done[-1]}" if done else ""
        upcoming = f"; now: {told['upcoming']}" if told.get("upcoming") else ""
        return f"{len(done)} done, {told['remaining']} to go{last}{upcoming}"

    def joined(self, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """The plan is the first call's, the state the last one's, and what was done is all of it."""
        kept = {name: before[name] for name in ("plans", "kept", "diff") if name in before}
        done = [*before.get("performed", ()), *now.get("performed", ())]
        return {**now, **kept, "performed": done, "changed": bool(before.get("changed") or now.get("changed"))}


def _after(before: Mapping[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A later call of the same run with the one before it: what that one planned, and what is planned since."""
    planned = {(plan["kind"], plan["name"]): plan for plan in before["plans"]}
    since = {(plan["kind"], plan["name"]): plan for plan in now.get("plans", ())}
    new = [plan for key, plan in since.items() if key not in planned]
    decided = {key: plan for key, plan in since.items() if plan["actions"] and not planned.get(key, {}).get("actions")}
    return {
        **now,
        "plans": [*(decided.get(key, plan) for key, plan in planned.items()), *new],
        "kept": before["kept"] - len(new),
        "diff": [*before.get("diff", ()), *now.get("diff", ())],
        "performed": [*before.get("performed", ()), *now.get("performed", ())],
        "changed": bool(before.get("changed") or now.get("changed")),
    }
