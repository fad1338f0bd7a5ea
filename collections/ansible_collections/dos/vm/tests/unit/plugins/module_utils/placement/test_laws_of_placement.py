# SPDX-License-Identifier: GPL-3.0-or-later
"""Law 6 over drawn fleets: no hard rule is broken, every refusal has its reason, what is placed stays placed; and the index says
what asking every host would say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import product

import placement_made
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from placement_strategies import Drawn, drawn

from dosvm.placement.explain import explain, remaining
from dosvm.placement.fleet import Fleet
from dosvm.placement.place import choose, place
from dosvm.placement.policy import Policy
from dosvm.placement.request import Near, Request

many = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def broken(held: Drawn, where: Mapping[str, str | None]) -> list[str]:
    """The rules that machines break where they are: counted once more, from nothing but what was drawn."""
    found = [*_broken_by_hosts(held, where), *_broken_by_neighbours(held, where)]
    rack = {host: name for name, hosts in held.racks.items() for host in hosts}
    for request in held.requests:
        room = next((room for room in held.rooms if room["host"] == where.get(request.vm)), None)
        if room is None:
            continue
        wrong = {
            "answers": not room["answers"],
            "maintenance": room["maintenance"],
            "active": not room["active"],
            "bound": request.bound is not None and room["host"] not in request.bound,
            "storage": any(room["host"] not in tie.hosts for tie in request.where.storage),
            "labels": any(room["labels"].get(name) != value for name, value in request.where.requires),
            "failed": room["host"] in request.failed,
            "data": request.data is not None and room["host"] not in request.data,
            "rack": any(
                near.by == "rack" and room["host"] not in rack for near in (*request.needs.apart, *request.needs.near)
            ),
        }
        found += [f"{request.vm}: {rule}" for rule, is_so in wrong.items() if is_so]
    return found


def _broken_by_hosts(held: Drawn, where: Mapping[str, str | None]) -> list[str]:
    found = []
    for room in held.rooms:
        here = [request for request in held.requests if where.get(request.vm) == room["host"]]
        on = [request.needs for request in here if request.on]
        disk = sum(size for request in here for _, size in request.needs.disk)
        sums = {
            "memory": sum(needs.memory for needs in on if not needs.hugepages) > room["memory"],
            "vcpus": room["vcpus"] is not None and sum(needs.vcpus for needs in on) > room["vcpus"],
            "disk": "local" in room["disk"] and disk > room["disk"]["local"],
            "pages": sum(needs.memory for needs in on if needs.hugepages) > sum(room["hugepages"].values()),
            "devices": sum(len(needs.devices) for needs in on) > sum(room["devices"].values()),
            "numa": sum(needs.memory for needs in on if needs.numa) > sum(size for size, _ in room["cells"]),
        }
        found += [f"{room['host']}: {what}" for what, is_so in sums.items() if is_so]
    return found


def _broken_by_neighbours(held: Drawn, where: Mapping[str, str | None]) -> list[str]:
    rack = {host: name for name, hosts in held.racks.items() for host in hosts}

    def zone(host: str | None, by: str) -> str | None:
        return host if by == "host" else rack.get(str(host))

    found = []
    placed = [request for request in held.requests if where.get(request.vm) is not None]
    for request in placed:
        others = [other for other in placed if other.vm != request.vm]
        for near in request.needs.apart:
            mine = zone(where[request.vm], near.by)
            if any(near.tag in other.needs.tags and zone(where[other.vm], near.by) == mine for other in others):
                found.append(f"{request.vm}: apart from {near.tag}")
        for near in request.needs.near:
            mine = zone(where[request.vm], near.by)
            carriers = [other for other in others if near.tag in other.needs.tags]
            if near.tag not in request.needs.tags and carriers:
                if not any(zone(where[other.vm], near.by) == mine for other in carriers):
                    found.append(f"{request.vm}: near to {near.tag}")
            elif any(zone(where[other.vm], near.by) != mine and near in other.needs.near for other in carriers):
                found.append(f"{request.vm}: together with {near.tag}")
    return found


def placed(held: Drawn) -> dict[str, str | None]:
    return {vm: made.host for vm, made in place(held.requests, held.fleet()).items()}


@many
@given(drawn())
def test_no_hard_rule_is_ever_broken(held: Drawn) -> None:
    assert broken(held, placed(held)) == []


@many
@given(drawn(settled=True))
def test_every_refusal_has_a_reason_and_every_host_is_accounted_for(held: Drawn) -> None:
    made = place(held.requests, held.fleet())
    assert set(made) == {request.vm for request in held.requests}
    for decision in made.values():
        if decision.host is None:
            assert set(decision.refusals) == {room["host"] for room in held.rooms}
        if decision.target is not None:
            assert decision.refusals.keys() == {decision.host}
        assert all(decision.refusals.values())
        assert decision.reason


@many
@given(drawn(settled=True))
def test_whoever_moves_was_sent_by_a_rule_and_goes_where_none_is_broken(held: Drawn) -> None:
    """Machines that are on one host are on that host alone, whatever is decided for them (law 8)."""
    made = place(held.requests, held.fleet())
    for request in held.requests:
        decision = made[request.vm]
        if request.current is not None:
            assert decision.host == request.current, "nobody is anywhere else before it was migrated"
    moved = {vm: decision.target for vm, decision in made.items() if decision.target}
    fleet = held.fleet()
    rooms = {room.host: room for room in fleet.rooms}
    for vm, target in moved.items():
        request = next(request for request in held.requests if request.vm == vm)
        alone = [row for row in fleet.policy.filters if row.hangs_on == "instance" or row.name in ("bound", "retry")]
        assert all(row.accept(request, rooms[target]) for row in alone)


@many
@given(drawn(), st.randoms(use_true_random=False))
def test_it_is_at_rest_on_its_own_result_in_any_order(held: Drawn, dice: random.Random) -> None:
    first = placed(held)
    again = list(held.at(first))
    dice.shuffle(again)
    second = place(again, held.fleet())
    for vm, host in first.items():
        assert second[vm].target is None
        assert host is None or second[vm].host == host


@many
@given(drawn(), st.randoms(use_true_random=False))
def test_the_order_of_requests_does_not_matter(held: Drawn, dice: random.Random) -> None:
    turned = Drawn(held.rooms, held.racks, held.policy, tuple(dice.sample(held.requests, k=len(held.requests))))
    assert placed(turned) == placed(held)


@many
@given(drawn(most_machines=12))
def test_the_index_says_what_asking_every_host_says(held: Drawn) -> None:
    """One machine after the other on one fleet, each compared with a fleet that never sorted anything."""
    fleet = held.fleet()
    for request in held.requests:
        by_weight = [verdict for verdict in explain(request, fleet) if verdict.accepts]
        best = [room.host for room in fleet.best(request)]
        many = max(1, fleet.policy.subset)
        assert [round(verdict.weight, 9) for verdict in by_weight[:many]] == [
            round(next(held.weight for held in by_weight if held.host == host), 9) for host in best
        ]
        room = choose(request, fleet)
        assert (room is None) == (not by_weight)
        assert remaining(request, fleet)[-1][1] == len(by_weight)
        if room is not None:
            fleet.take(request, room)


@many
@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=40), st.booleans())
def test_the_index_keeps_up_with_many_hosts(steps: list[tuple[int, bool]], pack: bool) -> None:
    """Where hosts are so many that only those which changed are sorted anew: machines of few sorts come and go."""
    rooms = [placement_made.room(f"h{number:02}", 4 + number % 5) for number in range(16)]
    fleet = Fleet(rooms, Policy(pack=pack), {"rack": {"r1": [f"h{number:02}" for number in range(5)]}})
    there: list[Request] = []
    for number, (gib, leaves) in enumerate(steps):
        wishes = ((Near("web", "rack"), gib == 3),) if gib > 1 else ()
        one = placement_made.request(f"vm{number}", gib, needs={"tags": ("web",) if gib > 1 else (), "wishes": wishes})
        accepting = [verdict.host for verdict in explain(one, fleet) if verdict.accepts]
        found = choose(one, fleet)
        assert (found.host if found is not None else None) == (accepting[0] if accepting else None)
        if found is not None:
            fleet.take(one, found)
            there.append(one)
        if leaves and there:
            fleet.give_back(there.pop(0))


@many
@given(drawn(most_machines=10), st.data())
def test_giving_back_leaves_nothing_behind(held: Drawn, data: st.DataObject) -> None:
    fleet, taken = held.fleet(), []
    before = _said(fleet)
    for request in held.requests:
        room = choose(request, fleet)
        if room is not None:
            fleet.take(request, room)
            taken.append(request)
    for request in data.draw(st.permutations(taken)):
        fleet.give_back(request)
    assert _said(fleet) == before


def _said(fleet: Fleet) -> list[object]:
    return [
        (
            room.used_memory,
            room.used_vcpus,
            room.machines,
            [+held for held in (room.used_disk, room.used_hugepages, room.used_devices, room.images)],
            [(cell.used_memory, cell.used_vcpus) for cell in room.cells],
            {key: +zone.tags for key, zone in room.zones.items()},
        )
        for room in fleet.rooms
    ]


def exists(held: Drawn) -> bool:
    """Whether there is any way to place all machines, by trying all."""
    hosts = [room["host"] for room in held.rooms]
    names = [request.vm for request in held.requests]
    return any(not broken(held, dict(zip(names, where, strict=True))) for where in product(hosts, repeat=len(names)))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn(most_hosts=3, most_machines=4))
def test_where_a_way_exists_it_is_found(held: Drawn) -> None:
    assume(not any(request.needs.numa or request.needs.near for request in held.requests))  # those hang on the order
    found = placed(held)
    assert (None not in found.values()) == exists(held)


def test_brute_force_itself_finds_a_way_and_misses_none() -> None:
    one = {"host": "x", "memory": 2, "vcpus": None, "active": True, "maintenance": False, "answers": True}
    one |= {"labels": {}, "disk": {}, "hugepages": {}, "devices": {}, "cells": (), "cpus": 1, "load": 0.0}
    from dosvm.placement.request import Needs

    two = tuple(Request(vm=vm, needs=Needs(memory=2)) for vm in "ab")
    assert not exists(Drawn((one,), {}, Policy(), two))
    assert exists(Drawn((one, {**one, "host": "y"}), {}, Policy(), two))
    assert Counter(broken(Drawn((one,), {}, Policy(), two), {"a": "x", "b": "x"})) == {"x: memory": 1}
