# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.explain`: why a machine is on its host: every host, every filter's answer with its numbers, every weight."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.placing import explain_vm
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.explain import lines, plain
from ansible_collections.dos.vm.plugins.plugin_utils.placing import read_situation
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()


class ActionModule(ActionBase):
    """Returns the decision and the `hosts`, the best first; nothing is contacted and nothing changes."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"vm", "all"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        vm, everything = str(self._task.args.get("vm") or ""), bool(self._task.args.get("all"))
        try:
            found = explain_vm(read_situation(self._templar, task_vars or {}), vm)
        except DosVmError as error:
            return {**result, **refused(error)}
        for text, colour in lines(found, everything=everything or display.verbosity > 0):
            display.display(text, color=colour)
        return {**result, "changed": False, **plain(found)}
