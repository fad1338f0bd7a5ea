# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.usage`: what projects use of their quotas, and how long their machines ran, as a table and as a page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.admission import observed_sizes
from ansible_collections.dos.vm.plugins.module_utils.compile.machine import machines
from ansible_collections.dos.vm.plugins.module_utils.compile.orphans import orphaned
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import intent_of
from ansible_collections.dos.vm.plugins.module_utils.compile.states import running_vms
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.plugin_utils.metering import running
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.report import table
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, host_states
from ansible_collections.dos.vm.plugins.plugin_utils.store import moment, opened, remembered, url_of
from ansible_collections.dos.vm.plugins.plugin_utils.usage import COLUMNS, page, table_rows, usage

display = Display()


class ActionModule(ActionBase):
    """Returns the `projects`, and writes the page where it is told to."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"file", "project"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec({"file": {"type": "path"}, "project": {"type": "str"}})
        write, now = not self._task.check_mode, time.time()
        try:
            site = SiteReader(self._templar, variables).load(check=False)
            url = url_of(self._templar, variables, site.name, site.hosts)
            with opened(url, site.name, write=write) as store:
                states = host_states(variables, site.hosts)
                if store is not None and write and states:
                    store.runs.sample(running(variables, site.hosts), states, at=moment(store))
                before = None if store is None else store.used.read()
                kept = remembered(store)
                seconds = {} if store is None else store.runs.vcpu_seconds()
        except DosVmError as error:
            return {**result, **refused(error)}
        vms = machines(site)
        on = intent_of(vms, states, kept.orders, now, kept.memory) | dict.fromkeys(running_vms(states), True)
        orphans = orphaned(site, states, kept.memory, (vm.name for vm in vms), prune=False)
        sizes = observed_sizes(site, vms, states)
        found = usage(site, before, seconds, on, tuple(orphan.counted() for orphan in orphans), sizes)
        if arguments["project"]:
            found = [entry for entry in found if entry["name"] == arguments["project"]]
        for line in table(table_rows(found), COLUMNS):
            display.display(line)
        changed = self._write(arguments["file"], page(site.name, found, now)) if arguments["file"] and write else False
        return {**result, "changed": changed, "projects": found}

    @staticmethod
    def _write(file: str, text: str) -> bool:
        Path(file).write_text(text, encoding="utf-8")
        display.display(f"written: {file}", color="bright blue")
        return True
