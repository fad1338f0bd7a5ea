# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules about the VMs of a site know whose they are: the site of the inventory, where the task names none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.allow import allowed
from ansible_collections.dos.vm.plugins.plugin_utils.answers import HostAction
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused


def with_site(arguments: Mapping[str, Any], variables: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """The arguments of a task, with the site of the inventory where they name none."""
    found = dict(arguments)
    if "dos_site" in variables:
        found.setdefault("site", templar.template(variables["dos_site"]))
    return found


class SiteAction(HostAction):
    """Calls its module, `dos.vm.NAME` of the task, with `dos_site`, and with `allow` in either form."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        try:
            arguments = self.arguments(variables)
        except DosVmError as error:
            return refused(error)
        return {**result, **self.ask(self._task.action, arguments, variables)}

    def arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        """What the module is called with."""
        found = with_site(self._task.args, variables, self._templar)
        if "allow" in found:
            found["allow"] = allowed(found["allow"])
        return found
