# SPDX-License-Identifier: GPL-3.0-or-later
"""Emptying hosts takes the fewest moves there are, and returns; balancing ends; a lost host is reckoned with; capacity counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from placement_made import GIB, request, room
from placement_strategies import Drawn, drawn

from dosvm.placement.capacity import capacity
from dosvm.placement.fleet import Fleet
from dosvm.placement.moves import Move, back, drain
from dosvm.placement.place import place
from dosvm.placement.proof import losses
from dosvm.placement.rebalance import fullness, rebalance
from dosvm.placement.request import Near, Request

some = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
Requests = dict[str, Request]


def settled(held: Drawn) -> tuple[Fleet, Requests]:
    """A fleet whose machines run where they were placed; those without a place, or where a rule forbids, left out."""
    places = {vm: made.host for vm, made in place(held.requests, held.fleet()).items()}
    requests = {one.vm: one for one in held.at(places) if one.current is not None}
    fleet = at_home(held, requests)
    return fleet, {vm: one for vm, one in requests.items() if vm in fleet.at}


def at_home(held: Drawn, requests: Mapping[str, Request]) -> Fleet:
    fleet = held.fleet()
    place(requests.values(), fleet)
    return fleet


def fleet_of(rooms: list[Any], *requests: Request, **groups: dict[str, list[str]]) -> tuple[Fleet, Requests]:
    fleet = Fleet(rooms, groups=groups)
    place(requests, fleet)
    return fleet, {one.vm: one for one in requests}


def runs(vm: str, host: str, gib: int, **more: Any) -> Request:
    return request(vm, gib, current=host, running=True, **more)


def pairs(moves: tuple[Move, ...]) -> list[tuple[str, str, str]]:
    return [(move.vm, move.source, move.target) for move in moves]


# ------------------------------------------------------------------------------------------------- drain


def test_an_emptied_host_is_left_with_one_move_a_machine() -> None:
    fleet, requests = fleet_of(
        [room("x"), room("y"), room("z")], runs("a", "x", 2), runs("b", "x", 3), runs("c", "y", 1)
    )
    found = drain(fleet, requests, ["x"])
    assert {(move.vm, move.source) for move in found.moves} == {("a", "x"), ("b", "x")}
    assert not found.stuck


def test_a_machine_that_is_off_does_not_move() -> None:
    fleet, requests = fleet_of([room("x"), room("y")], request("a", 2, current="x", on=False))
    assert drain(fleet, requests, ["x"]).moves == ()


def test_one_steps_aside_first_where_there_is_no_room_otherwise() -> None:
    """y and z have 3 GiB left each, and 4 are needed: the small one of y goes to z."""
    fleet, requests = fleet_of(
        [room("x", 4), room("y", 8), room("z", 8)],
        runs("big", "x", 4),
        runs("small", "y", 2),
        runs("rest", "y", 3),
        runs("full", "z", 5),
    )
    found = drain(fleet, requests, ["x"])
    assert pairs(found.moves) == [("small", "y", "z"), ("big", "x", "y")]
    assert [move.why for move in found.moves] == ["makes room", "x is emptied"]


def test_who_has_nowhere_to_go_is_told_why_and_stays() -> None:
    fleet, requests = fleet_of([room("x"), room("y", 2)], runs("a", "x", 4), runs("b", "x", 1))
    found = drain(fleet, requests, ["x"])
    assert pairs(found.moves) == [("b", "x", "y")]
    assert found.stuck["a"]["y"].startswith("has 1 GiB of memory left of 2 GiB, 4 GiB needed")
    assert fleet.at["a"].host == "x"


def test_disks_of_its_own_are_copied_and_that_is_said() -> None:
    fleet, requests = fleet_of([room("x"), room("y")], runs("a", "x", 1, data=frozenset({"x"})))
    assert [move.copies for move in drain(fleet, requests, ["x"]).moves] == [True]


def test_they_return_unless_they_were_moved_since() -> None:
    a, b = runs("a", "x", 2), runs("b", "x", 3)
    fleet, requests = fleet_of([room("x"), room("y"), room("z")], a, b)
    moves = drain(fleet, requests, ["x"]).moves
    where = {move.vm: move.target for move in moves}
    fleet, requests = fleet_of(
        [room("x"), room("y"), room("z")],
        replace(a, current=where["a"]),
        replace(b, current="z" if where["b"] == "y" else "y"),
    )
    assert pairs(back(fleet, requests, moves).moves) == [("a", where["a"], "x")]


@some
@given(drawn(most_hosts=3, most_machines=5), st.data())
def test_no_fewer_moves_would_do(held: Drawn, data: st.DataObject) -> None:
    """Against every way there is: for each machine every host, counting those who change theirs."""
    _, requests = settled(held)
    requests = {vm: one for vm, one in requests.items() if not one.needs.numa and not one.needs.near}
    fleet = at_home(held, requests)
    hosts = [one.host for one in fleet.rooms]
    emptied = data.draw(st.sampled_from(hosts))
    found = drain(at_home(held, requests), requests, [emptied])
    home = {vm: str(one.current) for vm, one in requests.items()}
    fewest = min((len(moved) for moved in _ways(held, requests, home, emptied)), default=None)
    if fewest is None:
        assert found.stuck
    elif not found.stuck:
        assert len(found.moves) == fewest
        assert all(move.target != emptied for move in found.moves)
    else:
        assert fewest > sum(one.on and home[vm] == emptied for vm, one in requests.items()) + 2


def _ways(held: Drawn, requests: Requests, home: Mapping[str, str], emptied: str) -> list[list[str]]:
    """Who moves in each way to empty a host that breaks no rule."""
    found = []
    for hosts in product([one["host"] for one in held.rooms], repeat=len(requests)):
        where = dict(zip(requests, hosts, strict=True))
        moved = [vm for vm in requests if where[vm] != home[vm]]
        if any(not requests[vm].on for vm in moved) or any(
            one.on and where[vm] == emptied for vm, one in requests.items()
        ):
            continue
        fleet = held.fleet()
        stay = [one for vm, one in requests.items() if vm not in moved]
        for one in stay:
            fleet.take(one, fleet.by_host[where[one.vm]])
        if _all_fit([replace(requests[vm], data=None) for vm in moved], where, fleet):
            found.append(moved)
    return found


def _all_fit(requests: list[Request], where: Mapping[str, str], fleet: Fleet) -> bool:
    for one in requests:
        if not fleet.accepts(one, fleet.by_host[where[one.vm]]):
            return False
        fleet.take(one, fleet.by_host[where[one.vm]])
    return True


# ------------------------------------------------------------------------------------------------- balance


def test_a_balanced_site_is_left_alone() -> None:
    fleet, requests = fleet_of([room("x"), room("y")], runs("a", "x", 4), runs("b", "y", 4))
    assert rebalance(fleet, requests).moves == ()


def test_the_fullest_host_gives_to_the_emptiest_within_the_budget() -> None:
    """LIMIT-25, MIG-13: what `dos.vm.rebalance` proposes and `dos.vm.migrate` performs."""
    machines = [runs(f"vm{n}", "x", 1) for n in range(8)]
    fleet, requests = fleet_of([room("x"), room("y")], *machines)
    assert len(rebalance(fleet, requests, moves=2).moves) == 2
    fleet, requests = fleet_of([room("x"), room("y")], *machines)
    found = rebalance(fleet, requests)
    assert len(found.moves) == 4
    assert (found.before[:2], found.after[:2]) == ((1.0, 0.0), (0.5, 0.5))
    assert found.moves[0].gain == 12.5


def test_nobody_is_taken_away_from_those_who_must_be_near() -> None:
    """SCHED-09: else the rule would send them after it, on the next run."""
    pair = (runs("db", "x", 4, needs={"tags": ("db",)}), runs("web", "x", 2, needs={"near": (Near("db", "host"),)}))
    fleet, requests = fleet_of([room("x"), room("y")], *pair)
    assert rebalance(fleet, requests).moves == ()
    # Another of them stays, or the far host is as near.
    fleet, requests = fleet_of([room("x"), room("y")], *pair, runs("db-2", "x", 1, needs={"tags": ("db",)}))
    assert [move.vm for move in rebalance(fleet, requests).moves] == ["db"]
    pair = (pair[0], replace(pair[1], needs=replace(pair[1].needs, near=(Near("db", "rack"),))))
    fleet, requests = fleet_of([room("x"), room("y")], *pair, rack={"r": ["x", "y"]})
    assert len(rebalance(fleet, requests).moves) == 1


@some
@given(drawn(most_machines=8), st.integers(1, 4))
def test_balancing_lowers_the_fullest_breaks_nothing_and_ends(held: Drawn, budget: int) -> None:
    fleet, requests = settled(held)
    home = {vm: one.host for vm, one in fleet.at.items()}
    for _ in range(50):
        before = sorted((fullness(one) for one in fleet.rooms), reverse=True)
        found = rebalance(fleet, requests, moves=budget)
        if not found.moves:
            break
        assert len(found.moves) <= budget
        assert sorted((fullness(one) for one in fleet.rooms), reverse=True) < before
        for move in found.moves:
            assert home[move.vm] == move.source
            home[move.vm] = move.target
            requests[move.vm] = replace(requests[move.vm], current=move.target)
        fleet = at_home(held, requests)
        assert {vm: one.host for vm, one in fleet.at.items()} == home, "nobody is sent away by a rule afterwards"
    else:
        raise AssertionError("it never ends")


# ------------------------------------------------------------------------------------------------- loss, capacity


def test_the_loss_of_a_host_names_who_would_be_homeless_and_who_is_tied_to_it() -> None:
    tied = runs("tied", "x", 1, bound=frozenset({"x"}))
    fleet, requests = fleet_of([room("x"), room("y", 4)], runs("a", "x", 3), runs("b", "x", 2), tied, runs("c", "y", 1))
    found = {loss.name: loss for loss in losses(fleet, requests, ["host"])}
    assert (found["x"].homeless, found["x"].tied, found["x"].machines) == (("b",), ("tied",), 3)
    assert found["y"].homeless == ()


def test_the_loss_of_a_rack_is_more_than_that_of_its_hosts() -> None:
    fleet, requests = fleet_of(
        [room("a1", 2), room("a2", 2), room("b1", 3)],
        runs("a", "a1", 2),
        runs("b", "a2", 2),
        rack={"a": ["a1", "a2"], "b": ["b1"]},
    )
    homeless = {f"{loss.key} {loss.name}": loss.homeless for loss in losses(fleet, requests)}
    assert homeless == {"host a1": (), "host a2": (), "host b1": (), "rack a": ("b",), "rack b": ()}


@some
@given(drawn(most_machines=7))
def test_reckoning_with_a_loss_changes_nothing_and_proves_what_it_says(held: Drawn) -> None:
    fleet, requests = settled(held)
    home = {vm: one.host for vm, one in fleet.at.items()}
    before = [(one.used_memory, one.used_vcpus, one.machines, one.down) for one in fleet.rooms]
    for loss in losses(fleet, requests, ["host"]):
        survivors = [one for one in held.rooms if one["host"] != loss.name]
        victims = [one for vm, one in requests.items() if home[vm] == loss.name and one.on]
        assert len(victims) == loss.machines
        if not loss.homeless and len(loss.tied) < len(victims):
            seeking = [replace(one, current=None, running=False) for one in victims if one.vm not in loss.tied]
            rest = [one for vm, one in requests.items() if home[vm] != loss.name]
            kept = Drawn(tuple(survivors), held.racks, held.policy, ())
            fleet_after = kept.fleet()
            for one in rest:
                fleet_after.take(one, fleet_after.by_host[home[one.vm]])
            if not any(one.needs.numa or one.needs.near for one in requests.values()):
                assert all(made.host for made in place(seeking, fleet_after).values())
    assert [(one.used_memory, one.used_vcpus, one.machines, one.down) for one in fleet.rooms] == before
    assert {vm: one.host for vm, one in fleet.at.items()} == home


def test_capacity_counts_what_fits_and_names_what_is_short() -> None:
    fleet, _ = fleet_of([room("x", 8, vcpus=3), room("y", 5), room("z", 64, active=False)], runs("a", "y", 2))
    found = capacity(request("one", 1, vcpus=1), fleet)
    assert (found.fits, found.hosts) == (6, {"x": 3, "y": 3})
    assert found.limits == {"active": 1, "vcpus": 1, "memory": 1}
    assert capacity(request("one", 1), fleet, most=4).fits == 4


def test_capacity_keeps_to_rules_between_the_new_ones() -> None:
    fleet, _ = fleet_of([room("a1"), room("a2"), room("b1")], rack={"a": ["a1", "a2"], "b": ["b1"]})
    apart = {"tags": ("web",), "apart": (Near("web", "rack"),)}
    assert capacity(request("one", needs=apart), fleet).fits == 2
    near = {"tags": ("web",), "near": (Near("web", "rack"),)}
    assert capacity(request("one", 2, needs=near), fleet).fits == 8


@some
@given(drawn(most_machines=5), st.integers(1, 3))
def test_one_more_than_capacity_finds_no_host(held: Drawn, gib: int) -> None:
    fleet, _ = settled(held)
    one = request("one", gib)
    fits = capacity(one, fleet).fits
    made = place([replace(one, vm=f"one {n}") for n in range(fits + 1)], fleet)
    assert sum(decision.host is not None for decision in made.values()) == fits
    assert GIB
