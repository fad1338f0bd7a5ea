# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines change their hosts, and what those they go to must hold before they come.

`placement/moves.py` finds the moves that empty a host or undo that; here are those that a rule forces, those that somebody
asks for by name, and what a migration has left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from ..errors import DeclarationError
from ..model.migration import Ways
from ..model.slice import Slice
from ..model.types import Name
from ..placement.moves import Limit, Move, Portable, Relocation
from ..placement.place import choose
from ..placement.request import Decision, Request
from ..site.site import Site
from .bridge import compile_bridge
from .machine import Machine
from .placing import Situation, declared
from .site import compile_situation
from .states import HostState
from .tunnels import Ends

WAYS = Ways()


def limits(held: Situation, ways: Ways) -> dict[str, Limit]:
    """How far the site's ways of migration carry each VM that has disks of its own; one that can go anywhere is left out."""
    found: dict[str, Limit] = {}
    for machine in held.machines:
        request = held.requests[machine.name]
        why = next((text for hinders, text in OBSTACLES if hinders(machine, request, ways)), None)
        if request.data is not None and why is not None:
            found[str(machine.name)] = Limit(request.data, f"its own disks are not there, and {why}")
    return found


# What keeps the disks of a VM from being copied, as far as the declaration and the hosts' facts tell.
OBSTACLES: tuple[tuple[Callable[[Machine, Request, Ways], bool], str], ...] = (
    (lambda machine, request, ways: ways.storage == "shared", "none is copied: set storage: copied in dos_migration"),
    (
        lambda machine, request, ways: request.running and ways.way == "tunnel",
        "a tunnel carries no disks: set data: tls in dos_migration",
    ),
    (
        lambda machine, request, ways: request.running and any(disk.encryption for disk in machine.instance.disks),
        "an encrypted one is copied only while the VM is off: stop it, or use a shared pool",
    ),
)


def forced(held: Situation, ways: Ways = WAYS) -> Relocation:
    """The machines that a rule or a declared host sends away from where they are, and those that cannot go there."""
    portable = limits(held, ways)
    moves = list(_forced(held))
    stuck = {
        move.vm: {move.target: portable[move.vm].why}
        for move in moves
        if move.vm in portable and move.target not in portable[move.vm].hosts
    }
    return Relocation(moves=tuple(move for move in moves if move.vm not in stuck), stuck=stuck)


def _forced(held: Situation) -> Iterator[Move]:
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


def asked_for(held: Situation, names: Iterable[str], to: str | None, ways: Ways = WAYS) -> Relocation:
    """The moves of machines by name, to one host or to the best one that they are not on.

    Raises `DeclarationError` for a machine or a host that is not declared, and for a machine that no host has.
    """
    if to is not None and to not in held.fleet.by_host:
        raise DeclarationError.at(
            "dos_to", f"{to!r} is not a host of the site, write one of {', '.join(held.site.hosts)}"
        )
    moves: list[Move] = []
    stuck: dict[str, Mapping[str, str]] = {}
    portable = Portable(held.requests, limits(held, ways))
    for vm in names:
        request, here = declared(held, vm), held.requests[vm].current
        if here is None:
            raise DeclarationError.at("dos_vm", f"{vm} is on no host that answers")
        if here == to:
            continue
        with held.without(vm):
            free = replace(portable.request(vm), failed=request.failed | {here})
            room = choose(free, held.fleet) if to is None else held.fleet.by_host[to]
            refused = portable.refusals(free, held.fleet, None if room is None else (room,))
        if room is None or room.host in refused:
            stuck[vm] = refused
        else:
            copies = portable.is_copied(vm, room.host)
            moves.append(Move(vm=vm, source=here, target=room.host, why="somebody asked for it", copies=copies))
    return Relocation(moves=tuple(moves), stuck=stuck)


def prepared(held: Situation, moves: Iterable[Move]) -> dict[str, Slice]:
    """By host, what it must hold before the moves: all that their machines stand on, and not yet the machines.

    Nor their disks: those are there already, or are made by the migration that fills them. Every other host of a tunnel that gets
    an end, or loses one, gets the peers of both layouts: a move may fail, and until the next run none is missing.
    """
    to = {move.vm: move.target for move in moves if move.vm in held.decisions}
    moved = {
        vm: Decision(vm=vm, host=to[vm], reason=made.reason) if vm in to else made
        for vm, made in held.decisions.items()
    }
    before, after = compile_situation(held), compile_situation(replace(held, decisions=moved))
    ends = after.ends.joined(before.ends)
    changed = [name for name, hosts in before.ends.hosts.items() if hosts != after.ends.hosts[name]]
    others = {host for name in changed for host in ends.hosts[name]} & held.states.keys() - set(to.values())
    return {
        **{host: _prepared(held.site, after.slices[host], host, ends) for host in sorted(set(to.values()))},
        **{host: _peers_only(held.site, changed, host, ends) for host in sorted(others)},
    }


def _prepared(site: Site, slice_: Slice, host: str, ends: Ends) -> Slice:
    names = {network.bridge: name for name, network in site.networks.items() if network.vxlan}
    bridges = (
        compile_bridge(site, names[bridge.name], site.networks[names[bridge.name]], host, ends)
        if bridge.vxlan and bridge.name in names
        else bridge
        for bridge in slice_.bridges
    )
    return replace(slice_, bridges=tuple(bridges), domains=(), volumes=(), part=True)


def _peers_only(site: Site, names: Iterable[Name], host: str, ends: Ends) -> Slice:
    """The tunnels of some networks on one of their hosts, and nothing else."""
    held = ((name, site.networks[name]) for name in names if host in ends.hosts[name])
    bridges = (compile_bridge(site, name, network, host, ends) for name, network in held if network.vxlan)
    return Slice(site=site.name, bridges=tuple(bridges), part=True)
