# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host is best: one row each in a table. A score is 0 to 1; what a host weighs is the sum of score × multiplier (SCHED-06).

A score does not hang on which other hosts will do, so a host that was weighed need not be weighed again until something on it
changes. A row says what of the request it reads; most read nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import NamedTuple

from .request import Request
from .room import Room

Score = Callable[[Request, Room], float]


def nothing(request: Request) -> Hashable:
    return None


class Weigher(NamedTuple):
    """A score of hosts. `reads` is what it looks at in a request; `room_left`: a score for what is left, which packing turns round."""

    name: str
    score: Score
    multiplier: float
    reads: Callable[[Request], Hashable] = nothing
    room_left: bool = False


def free_memory(request: Request, room: Room) -> float:
    """Memory left, as a share of what the largest host has."""
    left = room.memory - room.used_memory
    return left / room.scale.memory if left > 0 else 0.0


def free_vcpus(request: Request, room: Room) -> float:
    """Virtual CPUs left, as a share of the largest host's; a host without a limit has four for each processor."""
    left = room.nominal_vcpus - room.used_vcpus
    return left / room.scale.vcpus if left > 0 else 0.0


def free_disk(request: Request, room: Room) -> float:
    """What is left of the host's own pools, as a share of all of them."""
    limit = sum(room.disk.values())
    used = sum(room.used_disk[pool] for pool in room.disk)
    return max(0.0, (limit - used) / limit) if limit else 0.0


def load(request: Request, room: Room) -> float:
    """How idle its processors are."""
    return 1.0 - min(1.0, room.load)


def fewest_machines(request: Request, room: Room) -> float:
    """The fewer run there, the better."""
    return 1.0 / (1 + room.machines)


def image(request: Request, room: Room) -> float:
    """Share of the machine's images that machines there already use."""
    images = request.where.images
    return sum(room.images[name] > 0 for name in images) / len(images) if images else 0.0


def affinity(request: Request, room: Room) -> float:
    """Share of its wishes that come true there; one to be apart does the less, the more of the others there are."""
    wishes = request.needs.wishes
    if not wishes:
        return 0.0
    total = 0.0
    for near, together in wishes:
        zone = room.zones.get(near.by)
        number = zone.tags[near.tag] if zone is not None else 0
        total += float(number > 0) if together else 1.0 / (1 + number)
    return total / len(wishes)


def chance(request: Request, room: Room) -> float:
    """A lot, always the same for a machine and a host (SCHED-12)."""
    return lot(f"{request.vm} {room.host}") / 2**64


def lot(text: str) -> int:
    """A number below 2^64 that looks drawn, and is always the same for a text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


TABLE: tuple[Weigher, ...] = (
    Weigher("free_memory", free_memory, 1.0, room_left=True),
    Weigher("free_vcpus", free_vcpus, 0.5, room_left=True),
    Weigher("free_disk", free_disk, 0.25, room_left=True),
    Weigher("load", load, 0.5),
    Weigher("fewest_machines", fewest_machines, 0.1, room_left=True),
    Weigher("image", image, 0.1, reads=lambda request: request.where.images),
    Weigher("affinity", affinity, 2.0, reads=lambda request: request.needs.wishes),
    Weigher("chance", chance, 0.0, reads=lambda request: request.vm),
)
