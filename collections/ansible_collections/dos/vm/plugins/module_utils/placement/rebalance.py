# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves that even out how full hosts are, the best first, no more than are asked for, and none when none is worth it (LIMIT-25).

A host is as full as what it has least of: memory, or virtual CPUs. Two hosts are compared only when they differ by more than
the tolerance, and a move counts when the fuller of the two is emptier afterwards and the other does not become as full. So the
fullness of hosts, sorted, only ever goes down; a site that was just balanced has no such move left, and asking again proposes
nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from .fleet import Fleet
from .moves import Move
from .request import Request
from .room import Room

MOST_TARGETS = 64  # the emptiest hosts that will do are looked at, for each machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What is proposed. Shares are 0 to 1: the fullest and the emptiest host, and the standard deviation, before and after."""

    moves: tuple[Move, ...]
    before: tuple[float, float, float]
    after: tuple[float, float, float]


def fullness(room: Room) -> float:
    """The share that is taken of what there is least left of."""
    memory = room.used_memory / room.memory if room.memory > 0 else float(room.used_memory > 0)
    vcpus = room.used_vcpus / room.nominal_vcpus if room.nominal_vcpus > 0 else float(room.used_vcpus > 0)
    return max(memory, vcpus)


def rebalance(
    fleet: Fleet,
    requests: Mapping[str, Request],
    *,
    moves: int = 10,
    tolerance: float = 10.0,
    least_gain: float = 0.5,
) -> Balance:
    """At most so many moves; `tolerance` and `least_gain` are percent of a host. `fleet` shows them done.

    Machines that are off, or whose own disks would have to be copied, are not proposed.
    """
    return _Balancing(fleet, requests, tolerance / 100, least_gain / 100).run(moves)


class _Balancing:
    def __init__(self, fleet: Fleet, requests: Mapping[str, Request], tolerance: float, least: float) -> None:
        self._fleet, self._requests, self._tolerance, self._least = fleet, requests, tolerance, least
        self._here: defaultdict[int, list[str]] = defaultdict(list)
        for vm, room in sorted(fleet.at.items()):
            if requests[vm].on and requests[vm].data is None and vm not in fleet.leaving:
                self._here[room.index].append(vm)
        # Who must be near to a tag, by the tag and by what near means: from these nobody is taken away.
        self._near: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for vm in sorted(fleet.at):
            for near in requests[vm].needs.near:
                self._near[near.tag][near.by].append(vm)
        self._rooms = [room for room in fleet.rooms if room.answers and not room.maintenance]
        self._full = {room.index: fullness(room) for room in self._rooms}
        self._sorted = sorted((full, index) for index, full in self._full.items())

    def run(self, most: int) -> Balance:
        before = self._spread()
        found: list[Move] = []
        while len(found) < most and (move := self._best()) is not None:
            found.append(move)
        return Balance(moves=tuple(found), before=before, after=self._spread())

    def _spread(self) -> tuple[float, float, float]:
        shares = list(self._full.values()) or [0.0]
        mean = sum(shares) / len(shares)
        return max(shares), min(shares), (sum((share - mean) ** 2 for share in shares) / len(shares)) ** 0.5

    def _best(self) -> Move | None:
        """The best move away from the fullest host that has one, done."""
        for full, index in reversed(self._sorted):
            if full - self._sorted[0][0] <= self._tolerance:
                return None
            choices = [choice for vm in self._here[index] if (choice := self._choice(vm, full)) is not None]
            if choices:
                gain, _, vm, target = min(choices, key=lambda choice: (-choice[0], choice[1], choice[2]))
                return self._do(vm, self._fleet.rooms[index], target, gain)
        return None

    def _choice(self, vm: str, full: float) -> tuple[float, int, str, Room] | None:
        """What a machine gains by going to the emptiest host that will do: the fuller of the two is so much emptier then."""
        request = self._requests[vm]
        room = self._fleet.give_back(request)
        if room is None:
            return None
        left = fullness(room)
        found: tuple[float, int, str, Room] | None = None
        if full - left >= self._least:  # else the machine is too small to matter
            eligible = self._fleet.eligible_indexes(request)
            looked = 0
            for share, index in self._sorted:
                if full - share <= self._tolerance or looked >= MOST_TARGETS:
                    break
                if index == room.index or index not in eligible:
                    continue
                looked += 1
                target = self._fleet.rooms[index]
                gain = full - max(left, _with(request, target))
                if gain < self._least or (found is not None and gain <= found[0]):
                    continue
                if self._fleet.fits(request, target) and not self._is_missed(request, room, target):
                    found = (gain, request.needs.memory, vm, target)
        self._fleet.take(request, room)
        return found

    def _is_missed(self, request: Request, source: Room, target: Room) -> bool:
        """Whether somebody who must be near to the machine would stay behind alone, and be sent after it by the rule (SCHED-09).

        The machine has just been taken out of `source`.
        """
        for tag in request.needs.tags:
            for by, seekers in self._near.get(tag, {}).items():
                zone = source.zones.get(by)
                if zone is None or zone is target.zones.get(by) or zone.tags[tag] > 0:
                    continue
                places = (self._fleet.at[vm] for vm in seekers if vm in self._fleet.at)
                if any(place.zones.get(by) is zone for place in places):
                    return True
        return False

    def _do(self, vm: str, source: Room, target: Room, gain: float) -> Move:
        before = fullness(source), fullness(target)
        request = self._requests[vm]
        self._fleet.give_back(request)
        self._fleet.take(request, target)
        self._here[source.index].remove(vm)
        self._here[target.index].append(vm)
        for room in (source, target):
            del self._sorted[bisect_left(self._sorted, (self._full[room.index], room.index))]
            self._full[room.index] = fullness(room)
            insort(self._sorted, (self._full[room.index], room.index))
        why = (
            f"{source.host} {before[0]:.0%} → {self._full[source.index]:.0%} full, "
            f"{target.host} {before[1]:.0%} → {self._full[target.index]:.0%}"
        )
        return Move(vm=vm, source=source.host, target=target.host, why=why, gain=round(100 * gain, 2))


def _with(request: Request, room: Room) -> float:
    """How full a host would be with a machine."""
    room.consume(request)
    share = fullness(room)
    room.consume(request, -1)
    return share
