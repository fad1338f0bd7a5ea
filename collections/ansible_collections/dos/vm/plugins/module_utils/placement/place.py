# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host each machine runs on, and for every host refused, why (SCHED-01 … SCHED-11).

A machine stays where it is unless a rule forbids it. The others are placed one after the other, largest first, each choice
consuming its host before the next one is made (SCHED-08). Filters say yes or why not; weighers say how much; both are named
functions in a table, so that one more is one more row.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..model.types import ByteSize

RESERVE = ByteSize("512 MiB")  # of a host's memory, for the host itself (HOST-09)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A machine that wants a host. `hosts` are those it may run on, `None` for any; `current` is where it is defined now."""

    vm: str
    vcpus: int
    memory: int
    arch: str = "x86_64"
    on: bool = True
    hosts: frozenset[str] | None = None
    current: str | None = None


@dataclass(slots=True, kw_only=True)
class Room:
    """What a host has, and what machines placed so far take of it. Bytes and virtual CPUs."""

    host: str
    memory: int
    cpus: int
    archs: frozenset[str] = frozenset({"x86_64"})
    max_vcpus: int | None = None
    used_memory: int = 0
    used_vcpus: int = 0

    @property
    def free_memory(self) -> int:
        return self.memory - RESERVE - self.used_memory

    def take(self, request: Request) -> None:
        """Consume what a running machine needs; one that is off takes nothing (AMB-06)."""
        if request.on:
            self.used_memory += request.memory
            self.used_vcpus += request.vcpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where a machine runs, or why nowhere: `refusals` has a reason for every host that was refused."""

    vm: str
    host: str | None
    reason: str = ""
    refusals: Mapping[str, str] = field(default_factory=dict)


Filter = Callable[[Request, Room], str | None]
Weigher = Callable[[Request, Room], float]


def permitted(request: Request, room: Room) -> str | None:
    """The machine's own binding, and that of its storage and networks (SCHED-01)."""
    return None if request.hosts is None or room.host in request.hosts else "is not among the hosts it is bound to"


def architecture(request: Request, room: Room) -> str | None:
    """The host has an emulator for the machine's architecture (INST-13)."""
    return None if request.arch in room.archs else f"has no emulator for {request.arch}"


def memory(request: Request, room: Room) -> str | None:
    """The machine fits beside the others and the reserve (VM-18, DEP-11)."""
    if not request.on or request.memory <= room.free_memory:
        return None
    return f"has {ByteSize(max(0, room.free_memory))} of memory left, {ByteSize(request.memory)} needed"


def vcpus(request: Request, room: Room) -> str | None:
    """The host's limit of virtual CPUs, where it has one (HOST-T1.7)."""
    if not request.on or room.max_vcpus is None or room.used_vcpus + request.vcpus <= room.max_vcpus:
        return None
    return f"has {room.max_vcpus - room.used_vcpus} vCPUs left, {request.vcpus} needed"


def free_memory(request: Request, room: Room) -> float:
    """More free memory weighs more (SCHED-06), in GiB."""
    return room.free_memory / 2**30


FILTERS: Mapping[str, Filter] = {
    "permitted": permitted,
    "architecture": architecture,
    "memory": memory,
    "vcpus": vcpus,
}
WEIGHERS: Mapping[str, Weigher] = {"free_memory": free_memory}


def place(requests: Iterable[Request], rooms: Iterable[Room]) -> dict[str, Decision]:
    """A decision for every request. `rooms` are consumed; pass new ones for each run.

    The same requests and rooms give the same decisions, whatever order they come in, and running it on its own result moves
    nothing (law 6).
    """
    by_host = {room.host: room for room in sorted(rooms, key=lambda room: room.host)}
    decisions: dict[str, Decision] = {}
    waiting: list[Request] = []
    for request in sorted(requests, key=lambda request: (-request.memory, request.vm)):
        room = by_host.get(request.current or "")
        if room is not None and permitted(request, room) is None:
            room.take(request)
            decisions[request.vm] = Decision(vm=request.vm, host=room.host, reason="stays where it is")
        else:
            waiting.append(request)
    ranking = _Ranking(by_host.values())
    for request in waiting:
        decisions[request.vm] = _choose(request, by_host, ranking)
    return decisions


def _choose(request: Request, rooms: Mapping[str, Room], ranking: _Ranking) -> Decision:
    if request.hosts is not None:
        candidates: Iterable[Room] = ranking.among(rooms[host] for host in sorted(request.hosts) if host in rooms)
    else:
        candidates = ranking.best_first()
    room = next((room for room in candidates if refusal(request, room) is None), None)
    if room is None:
        reason = f"no host can take {request.vm}"
        return Decision(vm=request.vm, host=None, reason=reason, refusals=explain(request, rooms.values()))
    room.take(request)
    return Decision(
        vm=request.vm, host=room.host, reason=f"has the most room: {ByteSize(max(0, room.free_memory))} left"
    )


def refusal(request: Request, room: Room) -> str | None:
    """The first filter's reason against a host, or nothing."""
    for accept in FILTERS.values():
        reason = accept(request, room)
        if reason is not None:
            return reason
    return None


def explain(request: Request, rooms: Iterable[Room]) -> dict[str, str]:
    """For each host every reason against it; a host that would do is not in it."""
    found = {room.host: [reason for accept in FILTERS.values() if (reason := accept(request, room))] for room in rooms}
    return {host: "; ".join(reasons) for host, reasons in found.items() if reasons}


class _Ranking:
    """Hosts by weight, the best first, kept in a heap: placing many machines on many hosts looks at few of them."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        self._heap = [(self._weight(room), room.host, room) for room in rooms]
        heapq.heapify(self._heap)

    @staticmethod
    def _weight(room: Room) -> float:
        return -sum(weigh(_NOBODY, room) for weigh in WEIGHERS.values())

    def best_first(self) -> Iterator[Room]:
        """Entries whose weight is out of date are brought up to date as they surface; the rest stay untouched."""
        taken: list[tuple[float, str, Room]] = []
        try:
            while self._heap:
                weight, host, room = heapq.heappop(self._heap)
                now = self._weight(room)
                if now > weight:
                    heapq.heappush(self._heap, (now, host, room))
                    continue
                taken.append((now, host, room))
                yield room
        finally:
            for entry in taken:
                heapq.heappush(self._heap, (self._weight(entry[2]), entry[1], entry[2]))

    def among(self, rooms: Iterable[Room]) -> list[Room]:
        return sorted(rooms, key=lambda room: (self._weight(room), room.host))


_NOBODY = Request(vm="", vcpus=0, memory=0)
