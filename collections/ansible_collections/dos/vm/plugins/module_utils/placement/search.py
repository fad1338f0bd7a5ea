# SPDX-License-Identifier: GPL-3.0-or-later
"""A place for all of a few machines at once, by trying: where placing one after the other ends in a corner.

Exact as long as its steps last, which they do for a handful of machines on a handful of hosts; then it gives up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from .fleet import Fleet
from .request import Request
from .room import Room

STEPS = 4000
WIDTH = 40  # hosts tried for one machine


class _OutOfSteps(Exception):
    """The search has tried enough."""


def assign(requests: Sequence[Request], fleet: Fleet, steps: int = STEPS) -> dict[str, Room] | None:
    """A room for each request, or nothing: there is none, or it was not found in so many steps. `fleet` is left as it was."""
    found: dict[str, Room] = {}
    left = [steps]
    try:
        return dict(found) if _assign(list(requests), fleet, found, left) else None
    except _OutOfSteps:
        return None
    finally:
        for request in requests:
            if request.vm in found:
                fleet.give_back(request)


def _assign(requests: list[Request], fleet: Fleet, found: dict[str, Room], left: list[int]) -> bool:
    if not requests:
        return True
    request, rest = requests[0], requests[1:]
    for room in list(islice(_fitting(request, fleet), WIDTH)):
        left[0] -= 1
        if left[0] < 0:
            raise _OutOfSteps
        fleet.take(request, room)
        found[request.vm] = room
        if _assign(rest, fleet, found, left):
            return True
        del found[request.vm]
        fleet.give_back(request)
    return False


def _fitting(request: Request, fleet: Fleet) -> list[Room]:
    return [room for room in fleet.candidates(request) if fleet.fits(request, room)]
