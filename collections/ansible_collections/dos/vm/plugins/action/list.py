# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.list`: what is declared of a kind, as a table. No host and no store is contacted."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.site.listing import LISTINGS, listed
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.report import table
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader

display = Display()
WORDS = {True: "yes", False: "no"}


class ActionModule(ActionBase):
    """Returns the `rows` it shows."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"kind", "name", "project", "active"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, wish = self.validate_argument_spec(
            {
                "kind": {"choices": sorted(LISTINGS), "required": True},
                "name": {"default": ""},
                "project": {"type": "str"},
                "active": {"type": "bool"},
            }
        )
        try:
            site = SiteReader(self._templar, task_vars or {}).load(check=False)
        except DosVmError as error:
            return {**result, **refused(error)}
        found = listed(site, wish["kind"], name=wish["name"], project=wish["project"], active=wish["active"])
        rows = [{column: _plain(value) for column, value in row.items()} for row in found]
        shown = [
            {column: WORDS[value] if isinstance(value, bool) else value for column, value in row.items()}
            for row in rows
        ]
        for line in table(shown, LISTINGS[wish["kind"]].columns):
            display.display(line)
        return {**result, "changed": False, "rows": rows}


def _plain(value: Any) -> Any:
    """A value as Ansible keeps it, which knows no types of ours."""
    if isinstance(value, list):
        return [str(one) for one in value]
    return value if value is None or isinstance(value, bool) else str(value)
