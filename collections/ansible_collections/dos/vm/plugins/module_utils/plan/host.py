# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a whole host: every declared object after those it stands on, and what became of those nobody declares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from ..errors import DeclarationError, Problem
from ..model.address import Address
from ..model.nwfilter import PREDEFINED
from ..model.slice import Declared, Slice
from .kinds import KINDS, Kind, declared_objects
from .layers import layers
from .loss import here
from .missing import known, waiting
from .outdated import is_outdated
from .outside import copy_notes
from .plan import Context, Plan
from .use import arranged
from .volume import opened

Needs = Mapping[Address, tuple[Address, ...]]


def plan_host(held: Slice, context: Context) -> list[Plan]:
    """Pure: one plan per object, in the order in which they can be performed: removals first where nobody stands in the way.

    Raises `DeclarationError` when the slice itself cannot be meant: an object twice, or two that stand on each other.
    """
    declared = _by_address(held)
    context = replace(
        context,
        pool_paths={pool.name: pool.target for pool in held.pools},
        pool_types={pool.name: pool.type for pool in held.pools},
        layers=layers(context.observed),
        elsewhere=frozenset(held.elsewhere),
        waits=frozenset(held.waits),
        known=known(held, context),
        permission=here(context.permission, held.host or ""),
        inventory_host=held.host or "",
        shared_pools=frozenset(held.shared),
        awaited=dict(held.awaited or {}),
        deleted_after=held.deleted_after or {},
    )
    needs = _needs(declared)
    gone = [] if held.part else list(_undeclared(declared, context))
    planned = _planned(declared, needs, context)
    handed = _handovers(planned, needs, context)
    partners = {taker: found for taker in handed if (found := _partners(taker, handed))}
    behind = _behind(needs, handed, partners)
    plans = [
        replace(planned[address], behind=behind[address], partners=partners.get(address, ()))
        for address in _ordered(declared, behind)
    ]
    return arranged(gone, plans, {address: held for address, (_, held) in declared.items()}, context)


def _planned(declared: Mapping[Address, tuple[Kind, Declared]], needs: Needs, context: Context) -> dict[Address, Plan]:
    """The plan of every object. Domains come last, and go by what becomes of their volumes."""
    rows = [(address, kind, object_) for address, (kind, object_) in declared.items()]
    found = {at: _plan(kind, object_, at, context) for at, kind, object_ in rows if kind.name != "domain"}
    context = replace(context, outdated=frozenset(at for at, plan in found.items() if is_outdated(plan)))
    found |= {at: _plan(kind, object_, at, context) for at, kind, object_ in rows if kind.name == "domain"}
    return dict(waiting({at: found[at] for at in _ordered(dict(declared), needs)}, needs, context))


def _plan(kind: Kind, declared: Declared, address: Address, context: Context) -> Plan:
    plan = kind.plan(declared, context.observed.get(address), context)
    mark = getattr(declared, "mark", None)
    return replace(plan, origin=mark.origin) if mark is not None and mark.origin else plan


def _by_address(held: Slice) -> dict[Address, tuple[Kind, Declared]]:
    found: dict[Address, tuple[Kind, Declared]] = {}
    problems = []
    for kind, address, declared in declared_objects(held):
        if address in found:
            problems.append(Problem(kind.held, f"{address} is declared twice"))
        found[address] = (kind, declared)
    if problems:
        raise DeclarationError(problems)
    return found


def _ordered(declared: dict[Address, tuple[Kind, Declared]], needs: Needs) -> Iterable[Address]:
    """Every object after those it stands on; among equals, kind by kind and in the order declared."""
    position = {address: index for index, address in enumerate(declared)}
    if all(position[need] < position[address] for address, needed in needs.items() for need in needed):
        return declared  # the usual case: the kinds' own order is enough
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as cycle:
        circle = " → ".join(str(address) for address in cycle.args[1])
        raise DeclarationError.at("", f"these stand on each other: {circle}") from None


def _handovers(planned: Mapping[Address, Plan], needs: Needs, context: Context) -> Needs:
    """VOL-09: whom a machine comes after, since they have open what it is to have, and are to let go of it."""
    changing = [address for address, plan in planned.items() if address.kind == "domain" and plan.actions]
    if len(changing) < 2:
        return {}
    users: defaultdict[str, list[Address]] = defaultdict(list)
    for address in changing:
        for path in dict(opened(context.observed[address], context)) if address in context.observed else ():
            users[path].append(address)
    found: defaultdict[Address, tuple[Address, ...]] = defaultdict(tuple)
    for taker in changing:
        for volume in needs[taker]:
            held = context.observed.get(volume) if volume.kind == "volume" else None
            givers = users.get(held.info.get("path", ""), ()) if held is not None else ()
            found[taker] += tuple(giver for giver in givers if giver != taker and volume not in needs[giver])
    return {taker: givers for taker, givers in found.items() if givers}


def _partners(machine: Address, handed: Needs) -> tuple[Address, ...]:
    """The others of a circle in which volumes go from one machine to the next: among these there is no order."""
    return tuple(giver for giver in _givers(machine, handed) if giver != machine and machine in _givers(giver, handed))


def _givers(machine: Address, handed: Needs) -> dict[Address, None]:
    """Everybody whom a machine waits for, and whom these wait for; itself, too, where it gives to one of them."""
    found: dict[Address, None] = {}
    waiting = [*handed.get(machine, ())]
    while waiting:
        if (giver := waiting.pop()) not in found:
            found[giver] = None
            waiting += handed.get(giver, ())
    return found


def _behind(needs: Needs, handed: Needs, partners: Needs) -> Needs:
    """What each comes after; machines that exchange volumes come together, after all that any of them needs."""
    both = {address: (*needed, *handed.get(address, ())) for address, needed in needs.items()}
    for machine, others in partners.items():
        circle = (machine, *others)
        all_ = dict.fromkeys(need for each in circle for need in (*needs[each], *handed.get(each, ())))
        both[machine] = tuple(need for need in all_ if need not in circle)
    return both


def _undeclared(declared: Iterable[Address], context: Context) -> Iterator[Plan]:
    names = set(declared)
    for kind in reversed(tuple(KINDS.values())):
        for address, observed in context.observed.items():
            if address.kind != kind.name or address in names or _is_elsewhere(address, context):
                continue
            if observed.ours:
                yield kind.leave(observed, context)
            elif not libvirts_own(address):
                told = tuple(copy_notes(observed, context))
                yield Plan(address=address, verdict="unmanaged", reason="not ours, and never touched", notes=told)


def _is_elsewhere(address: Address, context: Context) -> bool:
    whole = f"{address.name.partition('/')[0]}/*"
    return address.kind == "volume" and not context.elsewhere.isdisjoint((address.name, whole))


def libvirts_own(address: Address) -> bool:
    """Whether every host has it from libvirt itself, so that no one need be told of it."""
    return address.kind == "nwfilter" and address.name in PREDEFINED


def _needs(declared: dict[Address, tuple[Kind, Declared]]) -> Needs:
    return {
        address: tuple(need for need in kind.needs(object_) if need in declared)
        for address, (kind, object_) in declared.items()
    }
