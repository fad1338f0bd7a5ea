# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.recover`: makes the store say what the hosts say, from their marks. A store that was lost comes back that way."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.placing import carried_orders
from ansible_collections.dos.vm.plugins.module_utils.compile.recall import Recall
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.types import Name
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store
from ansible_collections.dos.vm.plugins.plugin_utils.placing import unasked
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.registry import introduced, register, without_foreign
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, host_states
from ansible_collections.dos.vm.plugins.plugin_utils.store import actor, moment, notes_of, opened, remembered, url_of

display = Display()


class ActionModule(ActionBase):
    """Returns how many placements it `changed`, and fails with what contradicts what: nobody but a person can settle that."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"site", "vms"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            {"site": {"default": "dos"}, "vms": {"type": "list", "elements": "str"}}
        )
        hosts = list(SiteReader(self._templar, variables).hosts())
        write = not self._task.check_mode
        try:
            site = Name(arguments["site"])
            url = url_of(self._templar, variables, site, hosts)
            if url is None:
                return {**result, "skipped": True, "msg": "the site has no store (dos_store: none)"}
            who = actor(self._templar, variables)
            with opened(url, site, write=write) as store:
                return {
                    **result,
                    **self._recover(store, variables, hosts, site, who, vms=arguments["vms"], write=write),
                }
        except (DosVmError, ValueError) as error:
            return {
                **result,
                **(refused(error) if isinstance(error, DosVmError) else {"failed": True, "msg": str(error)}),
            }

    @staticmethod
    def _recover(
        store: Store | None,
        variables: dict[str, Any],
        hosts: list[str],
        site: str,
        who: str,
        *,
        vms: list[str] | None,
        write: bool,
    ) -> dict[str, Any]:
        now = moment(store)
        states = host_states(variables, hosts)
        left_out = unasked(variables, hosts, states)
        silent = [host for host in hosts if host not in states and host not in left_out]
        kept = remembered(store).memory
        known = introduced(store, states, kept)
        states = without_foreign(states, known)
        recall = Recall(kept.renamed(known.renamed), states, hosts, left_out)
        changes = [change for change in recall.changes({}, {}) if vms is None or change.vm in vms]
        lost = (
            store.placements.claim(kept.placements, changes, at=now, actor=who) if store is not None and write else {}
        )
        if store is not None and write and not lost and vms is None:
            if store.lineage.raise_above(notes_of(states, site)):
                display.display("the store was older than what hosts have seen of it", color="yellow")
            register(store, known)
            store.orders.learn(carried_orders(states, remembered(store).memory))
        found = [*recall.errors(), *recall.findings(), *known.findings, *known.foreign.values()]
        findings = found if vms is None else []
        for text in [*findings, *(f"no answer from {host}: what is there is not known" for host in silent)]:
            display.display(text, color="red")
        message = (
            f"{len(changes)} placements {'are' if write else 'would be'} as the hosts say; {len(states)} hosts answered"
        )
        if lost:
            message = f"somebody else changed {', '.join(sorted(lost))} meanwhile: nothing was changed, run this again"
        elif findings:
            message += f"; {len(findings)} contradictions: " + "; ".join(findings)
        elif vms is None:
            display.display(message, color="bright blue")
        return {
            "changed": bool(changes) and not lost,
            "placements": {change.vm: {"host": change.host, "epoch": change.epoch} for change in changes},
            "findings": findings,
            "silent": silent,
            "failed": bool(findings or lost),
            "msg": message,
        }
