# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a host was chosen or refused: every filter's answer with its numbers, and every weight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .filters import TABLE
from .fleet import Fleet
from .policy import weights
from .request import Request
from .room import Room

# All that can be said of a host that does not answer.
SILENCE = tuple(row for row in TABLE if row.name == "answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a filter says of a host."""

    filter: str
    accepts: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What all of them say of a host, and what it weighs for each weigher that counts."""

    host: str
    answers: tuple[Answer, ...]
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def accepts(self) -> bool:
        return all(answer.accepts for answer in self.answers)

    @property
    def weight(self) -> float:
        return sum(self.weights.values())


def explain(request: Request, fleet: Fleet) -> list[Verdict]:
    """A verdict for every host: those that will do by weight, then those refused by name.

    The machine itself must not be among what the fleet holds; give it back first.
    """
    found = [
        Verdict(
            host=room.host,
            answers=tuple(
                Answer(filter=row.name, accepts=row.accept(request, room), text=row.tell(request, room))
                for row in fleet.policy.filters
            ),
            weights=weights(fleet.policy, request, room),
        )
        for room in fleet.rooms
    ]
    return sorted(found, key=lambda held: (not held.accepts, -held.weight if held.accepts else 0.0, held.host))


def refusals(request: Request, fleet: Fleet, rooms: Iterable[Room] | None = None) -> dict[str, str]:
    """For each host every reason against it; a host that would do is not in it."""
    found: dict[str, str] = {}
    for room in fleet.rooms if rooms is None else rooms:
        filters = fleet.policy.filters if room.answers else SILENCE
        reasons = [row.tell(request, room) for row in filters if not row.accept(request, room)]
        if reasons:
            found[room.host] = "; ".join(reasons)
    return found


def remaining(request: Request, fleet: Fleet) -> list[tuple[str, int]]:
    """How many hosts are left after each filter (SCHED-14); filtering stops when none is."""
    rooms: list[Room] = fleet.rooms
    found: list[tuple[str, int]] = []
    for row in fleet.policy.filters:
        rooms = [room for room in rooms if row.accept(request, room)]
        found.append((row.name, len(rooms)))
        if not rooms:
            break
    return found
