# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that change their hosts: to empty some with the fewest moves, and to return afterwards.

A `Move` is a proposal; who performs it looks at both hosts once more. The fleet that is handed in shows the moves as done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from typing import NamedTuple

from .explain import refusals
from .fleet import Fleet
from .place import choose_all, hardest_first
from .request import Request
from .room import Room
from .search import assign

MOST_ASIDE = 2  # machines that step aside for those that have to leave
MOST_SETS = 400  # sets of machines that are asked to step aside
STEPS = 1000  # of the search for one such set


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A machine goes from one host to another. `copies`: its own disks go along. `gain` is in percent of a host, where known."""

    vm: str
    source: str
    target: str
    why: str
    copies: bool = False
    gain: float | None = None


class Limit(NamedTuple):
    """The only hosts that a VM can be migrated to, and why it cannot go to another."""

    hosts: frozenset[str]
    why: str


Limits = Mapping[str, Limit]  # by VM; one that is not in it can go anywhere
NO_LIMITS: Limits = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """Moves in an order in which each has room, and every host's reason for each machine that has nowhere to go."""

    moves: tuple[Move, ...] = ()
    stuck: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def drain(
    fleet: Fleet, requests: Mapping[str, Request], hosts: Iterable[str], limits: Limits = NO_LIMITS
) -> Relocation:
    """Empty hosts with the fewest moves: each machine that is on leaves once, and nobody else moves unless there is no room
    otherwise. Then one machine steps aside, or two; no fewer would do, as long as the site is small enough to try them all.

    Machines that are off hold nothing up and stay. `requests` are all machines by name, `fleet` has them where they are now.
    """
    emptied = frozenset(hosts)
    portable = Portable(requests, limits)
    for room in fleet.rooms:
        if room.host in emptied:
            fleet.close(room)
    leaving = sorted((portable.request(vm) for vm in _on(fleet, requests, emptied)), key=hardest_first)
    home = {request.vm: fleet.at[request.vm] for request in leaving}
    for request in leaving:
        fleet.give_back(request)
    able = [request for request in leaving if fleet.eligible(request)]
    found = choose_all(able, fleet)
    if len(found) < len(able):
        found, aside = _with_others_aside(fleet, portable, able, found, emptied)
        home.update(aside)
    why = {vm: "makes room" if room.host not in emptied else f"{room.host} is emptied" for vm, room in home.items()}
    moves = [
        Move(vm=vm, source=home[vm].host, target=room.host, why=why[vm], copies=portable.is_copied(vm, room.host))
        for vm, room in found.items()
        if room is not home[vm]
    ]
    stuck = {request.vm: portable.refusals(request, fleet) for request in leaving if request.vm not in found}
    for request in leaving:
        if request.vm not in found:
            fleet.take(request, home[request.vm])
    return Relocation(moves=tuple(_in_order(moves, portable, fleet)), stuck=stuck)


def back(
    fleet: Fleet, requests: Mapping[str, Request], moves: Iterable[Move], limits: Limits = NO_LIMITS
) -> Relocation:
    """Return the machines of a drain: those that are still where it put them, to where they came from, if that will do.

    `fleet` has the emptied hosts in service again.
    """
    found: list[Move] = []
    stuck: dict[str, Mapping[str, str]] = {}
    portable = Portable(requests, limits)
    for move in moves:
        request, home = requests.get(move.vm), fleet.by_host.get(move.source)
        at = fleet.at.get(move.vm)
        if request is None or home is None or at is None or at.host != move.target:
            continue  # it went, or was moved since: then that is where it belongs
        free = portable.request(move.vm)
        fleet.give_back(free)
        if fleet.accepts(free, home):
            fleet.take(free, home)
            why = f"returns to {home.host}"
            copies = portable.is_copied(move.vm, home.host)
            found.append(replace(move, source=move.target, target=move.source, why=why, copies=copies, gain=None))
        else:
            stuck[move.vm] = portable.refusals(free, fleet, (home,))
            fleet.take(free, at)
    return Relocation(moves=tuple(found), stuck=stuck)


class Portable:
    """The machines as those that may go anywhere their rules allow, their disks with them, as far as `limits` let them."""

    def __init__(self, requests: Mapping[str, Request], limits: Limits) -> None:
        self.requests, self._limits = requests, limits

    def request(self, vm: str) -> Request:
        limit = self._limits.get(vm)
        return replace(self.requests[vm], data=limit.hosts if limit else None)

    def is_copied(self, vm: str, target: str) -> bool:
        """Whether disks of its own are copied to get it there."""
        having = self.requests[vm].data
        return having is not None and target not in having

    def refusals(self, request: Request, fleet: Fleet, rooms: Iterable[Room] | None = None) -> dict[str, str]:
        """Why each host refuses it; what its disks or devices need is said in the words of the limit."""
        found, limit = refusals(request, fleet, rooms), self._limits.get(request.vm)
        if limit is None:
            return found
        outside = {host for host in found if host not in limit.hosts and fleet.by_host[host].answers}
        return {host: limit.why if host in outside else why for host, why in found.items()}


def _on(fleet: Fleet, requests: Mapping[str, Request], hosts: frozenset[str]) -> Iterator[str]:
    return (vm for vm, room in sorted(fleet.at.items()) if room.host in hosts and requests[vm].on)


def _with_others_aside(
    fleet: Fleet,
    portable: Portable,
    leaving: Sequence[Request],
    greedy: dict[str, Room],
    emptied: frozenset[str],
) -> tuple[dict[str, Room], dict[str, Room]]:
    """Rooms for all that leave when as few others as possible step aside, with the homes of those; else what greed found."""
    for request in leaving:
        if request.vm in greedy:
            fleet.give_back(request)
    requests = portable.requests
    others = [requests[vm] for vm in _on(fleet, requests, frozenset(fleet.by_host) - emptied)]
    # Small ones find another place most easily. Whose disks would have to be copied is the last to be asked.
    others.sort(key=lambda request: (request.data is not None, request.needs.memory, request.vm))
    sets = (held for number in range(1, MOST_ASIDE + 1) for held in combinations(others, number))
    for aside in islice(sets, MOST_SETS):
        home = {request.vm: fleet.at[request.vm] for request in aside}
        free = sorted((*leaving, *(portable.request(request.vm) for request in aside)), key=hardest_first)
        for request in aside:
            fleet.give_back(request)
        found = assign(free, fleet, STEPS)
        for request in free if found is not None else aside:
            fleet.take(request, (home if found is None else found)[request.vm])
        if found is not None:
            return found, home
    for request in leaving:
        if request.vm in greedy:
            fleet.take(request, greedy[request.vm])
    return greedy, {}


def _in_order(moves: Sequence[Move], portable: Portable, fleet: Fleet) -> list[Move]:
    """The moves in an order in which each machine finds room when its turn comes; those of a circle keep theirs.

    `fleet` has them done, and has them done again afterwards.
    """
    for move in moves:
        fleet.give_back(portable.request(move.vm))
    for move in moves:
        fleet.take(portable.request(move.vm), fleet.by_host[move.source])
    ordered: list[Move] = []
    left = list(moves)
    while left:
        move = next((move for move in left if _has_room(move, portable, fleet)), left[0])
        request = portable.request(move.vm)
        fleet.give_back(request)
        fleet.take(request, fleet.by_host[move.target])
        left.remove(move)
        ordered.append(move)
    return ordered


def _has_room(move: Move, portable: Portable, fleet: Fleet) -> bool:
    request = portable.request(move.vm)
    fleet.give_back(request)
    does = fleet.accepts(request, fleet.by_host[move.target])
    fleet.take(request, fleet.by_host[move.source])
    return does
