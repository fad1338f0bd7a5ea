# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts register themselves by answering: who they are, what they have, and that what they hold has been looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ansible_collections.dos.vm.plugins.module_utils.compile.memory import Memory
from ansible_collections.dos.vm.plugins.module_utils.compile.site import HostState
from ansible_collections.dos.vm.plugins.module_utils.model.decode import encode
from ansible_collections.dos.vm.plugins.module_utils.store.identity import Registration, Told, identify, surveyed
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store

# Of these a host says something else every time.
FLEETING = ("free_memory", "available_memory", "traffic", "load", "boot", "fences", "stores")


def introduced(store: Store | None, states: Mapping[str, HostState], memory: Memory) -> Registration:
    """The hosts that answered, held against those the store knows. Nothing is written.

    That they answered is told by the store's clock, as evidence is.
    """
    if store is None:
        return Registration()
    placed: defaultdict[str, set[str]] = defaultdict(set)
    for vm, held in memory.placements.items():
        placed[held.host or ""].add(vm)
    return identify(
        store.hosts.all(),
        {host: _told(state) for host, state in states.items()},
        at=store.now(),
        placed={host: frozenset(vms) for host, vms in placed.items() if host},
    )


def without_foreign(states: Mapping[str, HostState], held: Registration) -> dict[str, HostState]:
    """The hosts that answered, as those that they were before."""
    return {host: state for host, state in states.items() if host not in held.foreign}


def register(store: Store, held: Registration, *, looked_at: bool = True) -> None:
    """Write down who answered, and that all they hold is remembered: after the placements, which is what that says.

    Without `looked_at` nobody has compared what they hold with the placements.
    """
    if held.replaced:
        store.hosts.forget(held.replaced)
    store.hosts.register(surveyed(held.records, store.now()) if looked_at else held.records)


def _told(state: HostState) -> Told:
    facts = {name: value for name, value in encode(state.facts).items() if name not in FLEETING}
    ours = frozenset(vm for vm, mine in state.domains.items() if mine)
    return Told(identity=state.facts.identity, hardware=state.facts.hardware, facts=facts, vms=ours)
