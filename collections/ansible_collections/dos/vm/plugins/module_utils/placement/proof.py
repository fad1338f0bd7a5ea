# SPDX-License-Identifier: GPL-3.0-or-later
"""What the loss of a host, or of a whole rack, would mean: who finds another host, and who does not (N+1).

That nobody is homeless is proven by a place for everybody; that somebody is means that none was found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .fleet import Fleet
from .place import choose_all, hardest_first
from .request import Request
from .room import SITE, Room, Zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A host, or a group of hosts, that is lost with the `machines` that were on there.

    `homeless` have no room elsewhere. `tied` may be nowhere else: their disks, pools, networks or declared hosts are lost too.
    """

    key: str
    name: str
    machines: int
    homeless: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()


def losses(fleet: Fleet, requests: Mapping[str, Request], keys: Iterable[str] | None = None) -> list[Loss]:
    """For every host, and every group of each key, what its loss would mean. `fleet` is left as it was."""
    at: defaultdict[int, list[Request]] = defaultdict(list)
    for vm, room in fleet.at.items():
        if requests[vm].on:
            at[room.index].append(requests[vm])
    wanted = [key for key in fleet.zones if key != SITE] if keys is None else list(keys)
    return [_loss(fleet, zone, at) for key in wanted for zone in fleet.zones.get(key, {}).values()]


def _loss(fleet: Fleet, zone: Zone, at: Mapping[int, Sequence[Request]]) -> Loss:
    lost = [fleet.rooms[index] for index in zone.rooms]
    victims = [request for index in zone.rooms for request in at.get(index, ())]
    gone = frozenset(room.host for room in lost)
    tied = frozenset(request.vm for request in victims if _is_tied(request, gone, fleet))
    wanting = [request for request in victims if request.vm not in tied]
    with _lost(fleet, lost, victims):
        homeless = _homeless(sorted(wanting, key=hardest_first), fleet)
    return Loss(
        key=zone.key,
        name=zone.name,
        machines=len(victims),
        homeless=tuple(sorted(homeless)),
        tied=tuple(sorted(tied)),
    )


def _is_tied(request: Request, gone: frozenset[str], fleet: Fleet) -> bool:
    return all(room.host in gone for room in fleet.eligible(request))


@contextmanager
def _lost(fleet: Fleet, rooms: Sequence[Room], victims: Sequence[Request]) -> Iterator[None]:
    """The fleet without these rooms and their machines; whoever finds a place in the meantime leaves it at the end."""
    homes = [(request, room) for request in victims if (room := fleet.give_back(request)) is not None]
    for room in rooms:
        room.down = True
    try:
        yield
    finally:
        for request in victims:
            fleet.give_back(request)
        for room in rooms:
            room.down = False
        for request, home in homes:
            fleet.take(request, home)


def _homeless(requests: Sequence[Request], fleet: Fleet) -> list[str]:
    """Who finds no place when all look for one: first any, which is quick, and only if that fails the best for each."""
    placed: list[Request] = []
    for request in requests:
        room = fleet.first(request)
        if room is None:
            break
        fleet.take(request, room)
        placed.append(request)
    if len(placed) == len(requests):
        return []
    for request in placed:
        fleet.give_back(request)
    found = choose_all(requests, fleet)
    return [request.vm for request in requests if request.vm not in found]
