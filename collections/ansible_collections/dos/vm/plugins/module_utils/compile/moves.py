# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines change their hosts, and what those they go to must hold before they come.

`placement/moves.py` finds the moves that empty a host or undo that; here are those that a rule forces, those that somebody
asks for by name, and what a migration has left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..errors import DeclarationError
from ..model.slice import Slice
from ..placement.explain import refusals
from ..placement.moves import Move, Relocation
from ..placement.place import choose
from ..placement.request import Decision
from .placing import Situation, declared
from .site import compile_situation
from .states import HostState


def forced(held: Situation) -> Iterator[Move]:
    """The machines that a rule or a declared host sends away from where they are."""
    for vm, made in sorted(held.decisions.items()):
        # The disks of one that is off are not copied; it stays, and is told of.
        stays = held.requests[vm].data is not None and not held.requests[vm].running
        if made.target is not None and made.host is not None and not stays:
            why = "; ".join(made.refusals.values()) or "a rule sends it away"
            copies = held.requests[vm].data is not None
            yield Move(vm=vm, source=made.host, target=made.target, why=f"{made.host} {why}", copies=copies)


def left_behind(states: Mapping[str, HostState]) -> Iterator[Move]:
    """Definitions of machines that run elsewhere: a migration ended between the switch-over and its cleaning up."""
    runs = {
        name: host for host in sorted(states) for name in states[host].active or () if states[host].domains.get(name)
    }
    for host, state in sorted(states.items()):
        for name, ours in state.domains.items():
            if ours and state.active is not None and name not in state.active and runs.get(name, host) != host:
                yield Move(
                    vm=name, source=host, target=runs[name], why="it was moved, and its definition is still here"
                )


def departures(moves: Iterable[Move], held: Situation) -> dict[str, str]:
    """Where the machines go that run, or are defined, at the source of their move alone; what is left behind goes nowhere."""
    asked = ((move, held.requests.get(move.vm)) for move in moves)
    return {move.vm: move.target for move, request in asked if request is not None and request.current == move.source}


def asked_for(held: Situation, names: Iterable[str], to: str | None) -> Relocation:
    """The moves of machines by name, to one host or to the best one that they are not on.

    Raises `DeclarationError` for a machine or a host that is not declared, and for a machine that no host has.
    """
    if to is not None and to not in held.fleet.by_host:
        raise DeclarationError.at(
            "dos_to", f"{to!r} is not a host of the site, write one of {', '.join(held.site.hosts)}"
        )
    moves: list[Move] = []
    stuck: dict[str, Mapping[str, str]] = {}
    for vm in names:
        request, here = declared(held, vm), held.requests[vm].current
        if here is None:
            raise DeclarationError.at("dos_vm", f"{vm} is on no host that answers")
        if here == to:
            continue
        with held.without(vm):
            free = replace(request, data=None, failed=request.failed | {here})
            room = choose(free, held.fleet) if to is None else held.fleet.by_host[to]
            refused = refusals(free, held.fleet, None if room is None else (room,))
        if room is None or room.host in refused:
            stuck[vm] = refused
        else:
            moves.append(
                Move(vm=vm, source=here, target=room.host, why="somebody asked for it", copies=request.data is not None)
            )
    return Relocation(moves=tuple(moves), stuck=stuck)


def prepared(held: Situation, moves: Iterable[Move]) -> dict[str, Slice]:
    """By host, what it must hold when its machines come: all that they stand on, and not yet the machines.

    Nor their disks: those are there already, or are made by the migration that fills them.
    """
    to = {move.vm: move.target for move in moves if move.vm in held.decisions}
    moved = {
        vm: Decision(vm=vm, host=to[vm], reason=made.reason) if vm in to else made
        for vm, made in held.decisions.items()
    }
    slices = compile_situation(replace(held, decisions=moved)).slices
    return {host: replace(slices[host], domains=(), volumes=()) for host in sorted(set(to.values()))}
