# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.starts`: which machines start now that those they come after are ready, or not. Nothing is contacted."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.starts import released
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()


class ActionModule(ActionBase):
    """Returns who starts by `hosts`, all that were `released` so far, and by host why others are `held`."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"wave", "answers", "before"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        before = self._task.args.get("before") or {}
        wave, answers = self._task.args["wave"], self._task.args["answers"]
        found = released(wave, {host: answer for host, answer in answers.items() if not answer.get("skipped")})
        again = set(wave["starts"])  # who was held before and is asked for once more, where another host was tried
        kept = {
            host: {vm: why for vm, why in held.items() if vm not in again}
            for host, held in (before.get("held") or {}).items()
        }
        for host, held in found.held.items():
            kept[host] = {**kept.get(host, {}), **held}
            for vm, why in held.items():
                display.display(f"{vm} is not started: {why}", color="red")
        gone = {*before.get("released", ()), *(vm for names in found.hosts.values() for vm in names)}
        return {
            **result,
            "changed": False,
            "hosts": {host: list(names) for host, names in found.hosts.items()},
            "released": sorted(gone),
            "held": {host: held for host, held in kept.items() if held},
        }
