# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of `dos.vm.readiness`: shows who is waited for, by asking the module again until all is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.plugin_utils.patience import PatientAction


class ActionModule(PatientAction):
    """Runs the module as often as it takes, each time for those that are not ready yet."""

    def again(self, told: Mapping[str, Any]) -> dict[str, Any]:
        late = {(one["gate"], one["name"]) for one in told["pending"]}
        checks = [held for held in self._task.args["checks"] if (held.get("gate", 0), held["name"]) in late]
        return {"waited": told["waited"], "checks": checks}

    def progress(self, arguments: Mapping[str, Any], told: Mapping[str, Any]) -> str:
        waiting = told["pending"]
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        return f"{waiting[0]['name']}{more} not ready after {told['waited']:.0f} s: {waiting[0]['reason']}"

    def joined(self, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        return {**now, "unready": [*before.get("unready", ()), *now.get("unready", ())]}
