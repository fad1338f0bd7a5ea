# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host each machine is on, and for every host refused, why (SCHED-01 … SCHED-11).

A machine that runs stays where it is unless a rule sends it away. The others are placed one after the other, those with the
least choice and the largest first, each consuming its host before the next is placed (SCHED-08). The same requests and rooms
give the same decisions, whatever order they come in, and running it on its own result moves nothing (law 6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .explain import refusals
from .fleet import Fleet
from .request import Decision, Request
from .room import Room
from .search import assign
from .weighers import lot

MOST_TRIED = 60  # machines for which another way is looked for when the first leaves some without a host
STAYS = "stays where it is"


def place(requests: Iterable[Request], fleet: Fleet) -> dict[str, Decision]:
    """A decision for every request. `fleet` is consumed, and shows afterwards what is where."""
    decisions: dict[str, Decision] = {}
    leaving: list[Request] = []
    waiting: list[Request] = []
    for request in _settled_first(requests, fleet):
        room = fleet.by_host.get(request.current or "")
        if room is None:
            waiting.append(request)
        elif must_leave(request, room, fleet):
            fleet.hold(request, room)
            # Whoever has to leave takes its disks along.
            leaving.append(replace(request, data=None))
        elif request.running or not request.on or fleet.accepts(request, room):
            fleet.take(request, room)
            decisions[request.vm] = Decision(vm=request.vm, host=room.host, reason=STAYS)
        else:
            waiting.append(request)
    ordered = [*sorted(leaving, key=hardest_first), *sorted(waiting, key=hardest_first)]
    chosen = choose_all(ordered, fleet)
    for request in ordered:
        decisions[request.vm] = _decision(request, chosen.get(request.vm), fleet)
    return decisions


def must_leave(request: Request, room: Room, fleet: Fleet) -> bool:
    """Whether a rule forbids a machine the host where it is defined."""
    return any(not accept(request, room) for accept in fleet.movers)


def _settled_first(requests: Iterable[Request], fleet: Fleet) -> list[Request]:
    """By name; of those that must be near each other the larger party first, so that the smaller one goes to it."""
    ordered = sorted(requests, key=lambda request: request.vm)
    if not any(request.needs.near for request in ordered):
        return ordered
    parties: Counter[tuple[str, str, str]] = Counter()
    for request in ordered:
        room = fleet.by_host.get(request.current or "")
        for near in request.needs.near if room is not None else ():
            zone = room.zones.get(near.by) if room is not None else None
            parties[near.tag, near.by, zone.name if zone is not None else ""] += 1

    def party(request: Request) -> int:
        room = fleet.by_host.get(request.current or "")
        if room is None:
            return 0
        zones = ((near, room.zones.get(near.by)) for near in request.needs.near)
        return -max((parties[near.tag, near.by, zone.name] for near, zone in zones if zone is not None), default=0)

    # Machines without such a rule come first: others may have to be near to them.
    return sorted(ordered, key=lambda request: (bool(request.needs.near), party(request)))


def hardest_first(request: Request) -> tuple[object, ...]:
    """Who is sought before who seeks; then those with the least choice; then the largest."""
    needs = request.needs
    seeks = sum(near.tag not in needs.tags for near in needs.near)
    ties = [len(tie.hosts) for tie in request.where.ties()]
    ties += [len(held) for held in (request.bound, request.data) if held is not None]
    choice = 0 if 1 in ties else 1 if ties else 2
    return seeks, choice, not request.on, -needs.memory, -needs.vcpus, request.vm


def choose_all(ordered: Sequence[Request], fleet: Fleet) -> dict[str, Room]:
    """A room for each, as many as find one, taken. What the quick way cannot place, a search may, if it is few."""
    chosen: dict[str, Room] = {}
    for request in ordered:
        room = choose(request, fleet)
        if room is not None:
            fleet.take(request, room)
            chosen[request.vm] = room
    if len(chosen) == len(ordered) or len(ordered) > MOST_TRIED:
        return chosen
    for request in ordered:
        if request.vm in chosen:
            fleet.give_back(request)
    better = assign(ordered, fleet) or chosen
    for request in ordered:
        if request.vm in better:
            fleet.take(request, better[request.vm])
    return better


def choose(request: Request, fleet: Fleet) -> Room | None:
    """The best host that will do, or one of the best few, drawn by the machine's name (SCHED-03)."""
    best = fleet.best(request)
    if len(best) < 2:
        return best[0] if best else None
    return best[lot(request.vm) % len(best)]


def _decision(request: Request, room: Room | None, fleet: Fleet) -> Decision:
    here = request.current if request.current in fleet.by_host else None
    if room is None:
        reason = f"no host can take {request.vm}"
        return Decision(vm=request.vm, host=here, reason=reason, refusals=refusals(request, fleet))
    if here is None or here == room.host:
        return Decision(vm=request.vm, host=room.host, reason="is the best of those that will do")
    why = {here: refusals(request, fleet, (fleet.by_host[here],)).get(here, "is not where it may run")}
    reason = f"stays on {here}, and should be on {room.host}: migrate it, or undefine it on {here} first"
    return Decision(vm=request.vm, host=here, target=room.host, reason=reason, refusals=why)
