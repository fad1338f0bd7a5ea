# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.site`: reads the whole declaration and checks it, on the controller, before any host is contacted (IAC-02)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.fragments import fragments_that_override
from ansible_collections.dos.vm.plugins.module_utils.compile.images import files_to_find
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError, MissingLibraryError
from ansible_collections.dos.vm.plugins.module_utils.site.site import DEFAULT_NAME
from ansible_collections.dos.vm.plugins.module_utils.site.usage import Used, rows, summary
from ansible_collections.dos.vm.plugins.module_utils.site.validate import warnings
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader
from ansible_collections.dos.vm.plugins.plugin_utils.store import opened, url_of

display = Display()


class ActionModule(ActionBase):
    """Fails with every problem of the site at once, each with file and line."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"usage"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        reader = SiteReader(self._templar, variables)
        before, generation, more = self._remembered(variables, reader.hosts())
        try:
            site = reader.load(used=before)
        except DosVmError as error:
            return {**result, **refused(error)}
        found = reader.counts(site)
        display.display(", ".join(f"{count} {kind}" for kind, count in found.items() if count) or "nothing is declared")
        quotas = rows(site, before)
        for line in summary(quotas) if self._task.args.get("usage", True) else ():
            display.display(line)
        return {
            **result,
            "changed": False,
            "counts": found,
            "generation": generation,
            "files": [str(path) for path in files_to_find(site)],
            "images": {str(name): str(image.file) for name, image in site.images.items()},
            "quotas": [asdict(row) for row in quotas],
            "warnings": [*warnings(site), *reader.located(fragments_that_override(site)), *more],
        }

    def _remembered(self, variables: dict[str, Any], hosts: tuple[str, ...]) -> tuple[Used | None, int, list[str]]:
        """What projects used before, and how far placements have come, if the store can tell.

        Checking must be possible where it cannot be reached.
        """
        try:
            site = str(self._templar.template(variables.get("dos_site", DEFAULT_NAME)))
            with opened(url_of(self._templar, variables, site, hosts), site, write=False) as store:
                return (None, 0, []) if store is None else (store.used.read(), store.placements.generation(), [])
        except MissingLibraryError:
            return None, 0, []
        except DosVmError as error:
            return None, 0, [f"quotas are checked without what was used before: {error}"]
