# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.moves`: which machines change their hosts, and what those must hold before they come. Nothing is contacted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.memory import Memory, Placement
from ansible_collections.dos.vm.plugins.module_utils.compile.moves import departures, prepared
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Situation
from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError, StoreError
from ansible_collections.dos.vm.plugins.module_utils.model.decode import encode
from ansible_collections.dos.vm.plugins.module_utils.placement.moves import Move, Relocation
from ansible_collections.dos.vm.plugins.module_utils.plan.kinds import declared_objects
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store
from ansible_collections.dos.vm.plugins.plugin_utils.allow import allowed
from ansible_collections.dos.vm.plugins.plugin_utils.moves import in_service, plain, relocation, ways_of
from ansible_collections.dos.vm.plugins.plugin_utils.placing import situate, told
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.registry import introduced, without_foreign
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, host_states
from ansible_collections.dos.vm.plugins.plugin_utils.store import (
    actor,
    moment,
    opened,
    refuse_restored,
    remembered,
    url_of,
)

display = Display()


class ActionModule(ActionBase):
    """Returns the `moves` that are allowed, those that are not as `withheld`, and by host what is `prepared` for them.

    `stuck` are the VMs that can go nowhere, with every host's reason; `blocked` the same as a list, with their hosts.
    """

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"allow", "drain", "back", "vms", "to"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables, wish = task_vars or {}, self._task.args
        try:
            may_move = bool(allowed(wish.get("allow")).get("migrate"))
            site = SiteReader(self._templar, variables).load(check=False)
            emptied = [*(wish.get("drain") or ()), *(move["source"] for move in wish.get("back") or ())]
            states = in_service(host_states(told(variables, site.hosts), site.hosts), emptied)
            write = may_move and not self._task.check_mode
            with opened(url_of(self._templar, variables, site.name, site.hosts), site.name, write=write) as store:
                kept = remembered(store)
                states = without_foreign(states, introduced(store, states, kept.memory))
                held = situate(site, variables, held=kept, states=states)
                found = relocation(held, states, wish, ways_of(self._templar, variables))
                going = prepared(held, found.moves) if may_move else {}
                leaving = held.recall.leave(departures(found.moves, held))
                if store is not None and write:
                    refuse_restored(store, states, site.name)
                    _claim(store, kept.memory, leaving, actor(self._templar, variables))
        except DosVmError as error:
            return {**result, **refused(error)}
        moves = list(plain(found.moves, variables["hostvars"]))
        for move in moves if may_move else ():
            display.display("{domain} goes from {source} to {target}: {why}".format_map(move), color="yellow")
        for vm, reasons in found.stuck.items():
            display.display(f"{vm} cannot go:", color="red")
            for host, why in reasons.items():
                display.display(f"  {host} {why}", color="red")
        if found.stuck and moves and wish.get("drain"):
            display.display(
                f"{', '.join(wish['drain'])} will not be empty; the other VMs move all the same", color="red"
            )
        return {
            **result,
            "changed": False,
            "moves": moves if may_move else [],
            "withheld": [] if may_move else moves,
            "stuck": {
                str(vm): {str(host): why for host, why in reasons.items()} for vm, reasons in found.stuck.items()
            },
            "blocked": list(_blocked(found, held)),
            "leaving": _by_source(found.moves, leaving),
            "prepared": {str(host): encode(slice_) for host, slice_ in going.items()},
            "coming": {
                str(host): [str(address) for _, address, _ in declared_objects(slice_)]
                for host, slice_ in going.items()
            },
        }


def _blocked(found: Relocation, held: Situation) -> Iterator[dict[str, Any]]:
    for vm, reasons in found.stuck.items():
        why = "; ".join(f"{host}: {reason}" for host, reason in reasons.items())
        yield {"domain": str(vm), "source": str(held.requests[vm].current), "targets": [*map(str, reasons)], "why": why}


def _claim(store: Store, memory: Memory, leaving: Iterable[Placement], who: str) -> None:
    """Keep where machines go before they do: of two who move one, one does."""
    lost = store.placements.claim(memory.placements, leaving, at=moment(store), actor=who)
    if lost:
        where = ", ".join(f"{vm} to {at.host if at else 'nowhere'}" for vm, at in sorted(lost.items()))
        raise StoreError("move machines", f"somebody else placed {where} meanwhile: run this again", retryable=True)


def _by_source(moves: Iterable[Move], leaving: Iterable[Placement]) -> dict[str, dict[str, int]]:
    """What each host must know before machines leave it, for `dos.vm.fence`."""
    epochs = {str(placement.vm): placement.epoch for placement in leaving}
    found: dict[str, dict[str, int]] = {}
    for move in moves:
        if move.vm in epochs:
            found.setdefault(str(move.source), {})[str(move.vm)] = epochs[move.vm]
    return found
