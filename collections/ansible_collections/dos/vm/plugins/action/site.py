# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.site`: reads the whole declaration and checks it, on the controller, before any host is contacted (IAC-02)."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.site.validate import warnings
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, refused

display = Display()


class ActionModule(ActionBase):
    """Fails with every problem of the site at once, each with file and line."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        reader = SiteReader(self._templar, task_vars or {})
        try:
            site = reader.load()
        except DosVmError as error:
            return {**result, **refused(error)}
        found = reader.counts(site)
        display.display(", ".join(f"{count} {kind}" for kind, count in found.items() if count) or "nothing is declared")
        return {**result, "changed": False, "counts": found, "warnings": warnings(site)}
