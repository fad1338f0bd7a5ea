# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.hosts`: the hosts with what they have and how busy they are; how busy they were; and forgetting that."""

from __future__ import annotations

import datetime
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.rooms import rooms
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.module_utils.store.loads import MOST, History
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store
from ansible_collections.dos.vm.plugins.plugin_utils import loads
from ansible_collections.dos.vm.plugins.plugin_utils.metering import running
from ansible_collections.dos.vm.plugins.plugin_utils.placing import unasked
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.registry import introduced, register
from ansible_collections.dos.vm.plugins.plugin_utils.report import table
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, host_states
from ansible_collections.dos.vm.plugins.plugin_utils.store import actor, moment, opened, url_of

display = Display()


class ActionModule(ActionBase):
    """Returns the `hosts`, the `history` where a time was asked for, and how many rows were `purged`."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"name", "since", "until", "purge_before"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables, wish = task_vars or {}, self._task.args
        write = not self._task.check_mode
        try:
            since, until, before = (
                loads.moment_of(f"dos_{name}", wish.get(name)) for name in ("since", "until", "purge_before")
            )
            site = SiteReader(self._templar, variables).load(check=False)
            who = actor(self._templar, variables)
            part = str(wish.get("name") or "")
            with opened(url_of(self._templar, variables, site.name, site.hosts), site.name, write=write) as store:
                at = moment(store)
                found = self._hosts(site, store, variables, at, write=write)
                past = History()
                if store is not None and (since is not None or until is not None):
                    past = store.loads.read(name=part, since=since, until=until)
                purged = 0
                if store is not None and before is not None and write:
                    purged = store.loads.purge(before, at=at, actor=who)
        except DosVmError as error:
            return {**result, **refused(error)}
        found, rows = [row for row in found if part in row["name"]], loads.history(past)
        for line in (
            table(rows, loads.HISTORY) if since is not None or until is not None else table(found, loads.COLUMNS)
        ):
            display.display(line)
        for line in loads.details(found[0]) if len(found) == 1 and since is None and until is None else ():
            display.display(line)
        if past.cut:
            first = datetime.datetime.fromtimestamp(min(one.load.at for one in past), datetime.UTC)
            display.warning(
                f"these are the newest {MOST} rows, and nothing before {first:%Y-%m-%d %H:%M:%S} is among them: set dos_until to"
                " that for the rows before, or dos_name for one host"
            )
        if before is not None:
            display.display(f"{purged} rows of history were forgotten", color="bright blue")
        return {**result, "changed": bool(purged), "hosts": found, "history": rows, "cut": past.cut, "purged": purged}

    @staticmethod
    def _hosts(
        site: Site, store: Store | None, variables: dict[str, Any], at: float, *, write: bool
    ) -> list[dict[str, Any]]:
        states = host_states(variables, site.hosts)
        now = list(loads.loads(states, variables, at=at))
        records, moments = {}, {load.host: loads.Moment(load=load) for load in now}
        if store is not None:
            if write:
                held = introduced(store, states, store.memory())
                register(store, held, looked_at=False)
                store.loads.sample(now, every=site.monitoring.history)
                store.runs.sample(running(variables, site.hosts), states, at=at)
            records = {record.name: record for record in store.hosts.all()}
            moments |= store.loads.since_last(now)
        known = frozenset(name for instance, held in site.instances.items() for name in held.machines(instance))
        offered = rooms(site, states, known, unasked(variables, site.hosts, states))
        return list(loads.rows(offered, states, records, moments, site.monitoring, at=at))
