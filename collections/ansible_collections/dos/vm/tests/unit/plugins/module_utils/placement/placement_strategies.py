# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets and requests drawn by hypothesis: every sort of rule, on few hosts with little room, so that rules meet.

`Draw.fleet()` makes a new fleet each time it is asked, since placing consumes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from placement_made import GIB

from dosvm.placement.fleet import Fleet
from dosvm.placement.policy import Policy
from dosvm.placement.request import Near, Needs, Request, Tie, Where
from dosvm.placement.room import Cell, Room

KEYS = ("host", "rack")
TAGS = ("web", "db")


@dataclass(frozen=True)
class Drawn:
    """What was drawn, and how to make a fleet of it."""

    rooms: tuple[Mapping[str, Any], ...]
    racks: Mapping[str, tuple[str, ...]]
    policy: Policy
    requests: tuple[Request, ...]

    def fleet(self) -> Fleet:
        rooms = [
            Room(**{**held, "cells": tuple(Cell(*size) for size in held["cells"])})  # cells are consumed
            for held in self.rooms
        ]
        return Fleet(rooms, self.policy, {"rack": self.racks})

    def at(self, places: Mapping[str, str | None]) -> tuple[Request, ...]:
        """The requests when every machine that has a host runs there."""
        return tuple(
            replace(held, current=places[held.vm], running=places[held.vm] is not None) for held in self.requests
        )


@st.composite
def drawn(draw: Any, *, most_hosts: int = 4, most_machines: int = 7, settled: bool = False) -> Drawn:
    """`settled`: some machines are on hosts already, wherever that is."""
    # Who is avoided avoids as well, so machines of a tag have the same rule.
    apart = {tag: draw(st.sampled_from([None, *KEYS])) for tag in TAGS}
    hosts = tuple(f"h{number}" for number in range(1, draw(st.integers(1, most_hosts)) + 1))
    rooms = tuple(draw(_room(host)) for host in hosts)
    racks: dict[str, tuple[str, ...]] = {}
    for host in hosts:
        rack = draw(st.sampled_from(["r1", "r2", None]))
        if rack is not None:
            racks[rack] = (*racks.get(rack, ()), host)
    requests = tuple(
        draw(_request(f"vm{number}", hosts, settled, apart)) for number in range(draw(st.integers(0, most_machines)))
    )
    return Drawn(rooms, racks, draw(_policy()), requests)


def _policy() -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        multipliers=st.dictionaries(
            st.sampled_from(["free_memory", "free_vcpus", "load", "image", "affinity", "chance"]),
            st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
        ),
        subset=st.integers(-1, 3),
        pack=st.booleans(),
    )


@st.composite
def _room(draw: Any, host: str) -> dict[str, Any]:
    rarely = st.integers(0, 9).map(lambda number: number == 0)
    return {
        "host": host,
        "memory": draw(st.integers(1, 5)) * GIB,
        "cpus": draw(st.integers(1, 4)),
        "vcpus": draw(st.sampled_from([None, 1, 4, 8])),
        "active": not draw(rarely),
        "maintenance": draw(rarely),
        "answers": not draw(rarely),
        "labels": draw(st.sampled_from([{}, {"disk": "ssd"}])),
        "disk": draw(st.sampled_from([{}, {"local": 3 * GIB}])),
        "hugepages": draw(st.sampled_from([{}, {2**21: 2 * GIB}])),
        "devices": draw(st.sampled_from([{}, {"10de:1eb8": 1}])),
        "cells": draw(st.sampled_from([(), ((GIB, 2), (2 * GIB, 2))])),
        "load": draw(st.sampled_from([0.0, 0.5, 1.0])),
    }


@st.composite
def _request(draw: Any, vm: str, hosts: tuple[str, ...], settled: bool, apart: Mapping[str, str | None]) -> Request:
    some = st.frozensets(st.sampled_from(hosts), min_size=1)
    seldom = st.integers(0, 5).map(lambda number: number == 0)
    maybe = st.none() | some
    tie = draw(maybe) if draw(seldom) else None
    current = draw(st.none() | st.sampled_from(hosts)) if settled else None
    return Request(
        vm=vm,
        needs=draw(_needs(apart)),
        where=Where(
            storage=(Tie("pool p", tie),) if tie else (),
            requires=(("disk", "ssd"),) if draw(seldom) else (),
            images=draw(st.frozensets(st.sampled_from(["debian", "rocky"]), max_size=2)),
        ),
        on=not draw(seldom),
        bound=draw(maybe) if draw(seldom) else None,
        data=frozenset([current]) if current is not None and draw(seldom) else None,
        failed=draw(some) if draw(seldom) and draw(seldom) else frozenset(),
        current=current,
        running=current is not None and draw(st.booleans()),
    )


@st.composite
def _needs(draw: Any, apart: Mapping[str, str | None]) -> Needs:
    tags = draw(st.sampled_from([(), *((tag,) for tag in TAGS)]))
    seldom = st.integers(0, 5).map(lambda number: number == 0)
    rule = st.builds(Near, st.sampled_from(TAGS), st.sampled_from(KEYS))
    return Needs(
        vcpus=draw(st.integers(1, 3)),
        memory=draw(st.integers(1, 3)) * GIB,
        disk=(("local", draw(st.integers(1, 2)) * GIB),) if draw(seldom) else (),
        numa=draw(seldom),
        hugepages=2**21 if draw(seldom) else 0,
        devices=(("10de:1eb8", 1),) if draw(seldom) else (),
        tags=tags,
        near=tuple(dict.fromkeys(draw(st.lists(rule, max_size=1)))) if draw(seldom) else (),
        apart=tuple(Near(tag, by) for tag in tags if (by := apart[tag]) is not None),
        wishes=tuple((near, draw(st.booleans())) for near in draw(st.lists(rule, max_size=2))),
    )
