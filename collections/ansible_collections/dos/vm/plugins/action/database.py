# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.database`: makes the database of the store, its user and its tables, or brings the tables up to date (DB-01 … DB-03)."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.store.engine import Database
from ansible_collections.dos.vm.plugins.module_utils.store.make import administrator, make_database
from ansible_collections.dos.vm.plugins.module_utils.store.schema import HEAD, upgrade, version
from ansible_collections.dos.vm.plugins.module_utils.store.store import read_store
from ansible_collections.dos.vm.plugins.module_utils.store.url import parse, shown
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader
from ansible_collections.dos.vm.plugins.plugin_utils.store import url_of

display = Display()


class ActionModule(ActionBase):
    """Returns what was `performed`, in sentences. What there is already is left as it is."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"administrator", "clients", "confirm"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables, wish = task_vars or {}, self._task.args
        try:
            reader = SiteReader(self._templar, variables)
            site = reader.load(check=False)
            url = url_of(self._templar, variables, site.name, site.hosts)
            if url is None:
                return {**result, "skipped": True, "msg": "the site has no store (dos_store: none)"}
            return {**result, **self._make(url, site.name, wish)}
        except DosVmError as error:
            return {**result, **refused(error)}

    def _make(self, text: str, site: str, wish: dict[str, Any]) -> dict[str, Any]:
        url = parse(text)
        by = administrator(str(wish["administrator"])) if wish.get("administrator") else None
        clients = str(wish.get("clients") or "%")
        missing = make_database(by, url, clients=clients, dry_run=True) if by is not None else []
        if missing and wish.get("confirm") != url.database and not self._task.check_mode:
            listed = "; ".join(sentence.replace("has been", "is to be") for sentence in missing)
            return {"failed": True, "msg": f"{listed}: confirm with -e dos_confirm={url.database}"}
        performed = missing
        if by is not None and not self._task.check_mode:
            performed = make_database(by, url, clients=clients)
        performed += [] if missing and self._task.check_mode else self._tables(text, site)
        for sentence in performed:
            display.display(sentence, color="yellow")
        if not performed:
            display.display(f"the store {shown(url)} is there, with tables of version {HEAD}", color="bright blue")
        return {"changed": bool(performed), "performed": performed, "version": HEAD}

    def _tables(self, text: str, site: str) -> list[str]:
        database = Database(parse(text), write=not self._task.check_mode)
        try:
            before = version(database)
            if before == HEAD:
                store = read_store(text, site=site)  # refuses the store of another site
                if store is not None:
                    store.close()
                return []
            if not self._task.check_mode:
                upgrade(database, site)
        finally:
            database.close()
        return [
            f"its tables have been {'made' if before is None else f'brought from version {before}'} to version {HEAD}"
        ]
