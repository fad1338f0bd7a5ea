# SPDX-License-Identifier: GPL-3.0-or-later
"""How many more machines of a sort fit, and what there is too little of for one more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .fleet import Fleet
from .request import Request
from .room import HOST, Room

MOST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many fit, how many of them on each host, and on how many hosts each filter refuses one more, as the first to do so."""

    fits: int
    hosts: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


def capacity(request: Request, fleet: Fleet, most: int = MOST) -> Capacity:
    """As many machines like this one as find room, at most so many. `fleet` is left as it was.

    The name of `request` must be nobody's. Those that must be near each other are counted where most of them fit.
    """
    found: Capacity | None = None
    for rooms in _fields(request, fleet):
        held = _fill(request, fleet, rooms, most)
        if found is None or held.fits > found.fits:
            found = held
    return found or Capacity(fits=0, limits=_limits(request, fleet))


def _fields(request: Request, fleet: Fleet) -> Iterable[list[Room]]:
    """The sets of hosts of which one is to be filled: all at once, or one group where they must be together."""
    together = [near.by for near in request.needs.near if near.tag in request.needs.tags]
    if not together:
        return [fleet.rooms]
    key = HOST if HOST in together else together[0]
    return [[fleet.rooms[index] for index in zone.rooms] for zone in fleet.zones.get(key, {}).values()]


def _fill(request: Request, fleet: Fleet, rooms: list[Room], most: int) -> Capacity:
    among = frozenset(room.host for room in rooms)
    eligible = [room for room in fleet.eligible(request) if room.host in among]
    taken: list[Request] = []
    hosts: dict[str, int] = {}
    for room in eligible:
        before = len(taken)
        while len(taken) < most:
            one = replace(request, vm=f"{request.vm} {len(taken) + 1}")
            if not fleet.fits(one, room):
                break
            fleet.take(one, room)
            taken.append(one)
        if len(taken) > before:
            hosts[room.host] = len(taken) - before
    limits = _limits(request, fleet)
    for one in taken:
        fleet.give_back(one)
    return Capacity(fits=len(taken), hosts=hosts, limits=limits)


def _limits(request: Request, fleet: Fleet) -> dict[str, int]:
    found: Counter[str] = Counter()
    for room in fleet.rooms:
        refusing = next((row.name for row in fleet.policy.filters if not row.accept(request, room)), None)
        if refusing is not None:
            found[refusing] += 1
    return dict(found.most_common())
