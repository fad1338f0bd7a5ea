# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine after the other, each consuming its host; who runs stays; who must leave is told where to (SCHED-01 … SCHED-10)."""

from __future__ import annotations

from placement_made import request, room

from dosvm.placement.fleet import Fleet
from dosvm.placement.place import STAYS, place
from dosvm.placement.policy import Policy
from dosvm.placement.request import Near, Request, Tie, Where
from dosvm.placement.room import Room

MEMORY_ONLY = Policy(multipliers={"free_vcpus": 0, "load": 0, "fewest_machines": 0, "free_disk": 0, "image": 0})


def hosts(
    requests: list[Request], rooms: list[Room], policy: Policy = MEMORY_ONLY, **groups: dict[str, list[str]]
) -> dict[str, str | None]:
    """Where each machine is to be, now or after it has moved."""
    made = place(requests, Fleet(rooms, policy, groups))
    return {vm: decision.target or decision.host for vm, decision in made.items()}


def test_a_machine_goes_where_most_memory_is_free() -> None:
    assert hosts([request("a")], [room("small", 2), room("big", 4)])["a"] == "big"


def test_each_choice_consumes_its_host_before_the_next() -> None:
    found = hosts([request(f"vm{n}", 2) for n in range(4)], [room("a", 4), room("b", 4)])
    assert sorted(map(str, found.values())) == ["a", "a", "b", "b"]


def test_packing_fills_one_host_before_the_next() -> None:
    policy = Policy(pack=True)
    found = hosts([request(f"vm{n}", 1) for n in range(4)], [room("a", 4), room("b", 4)], policy)
    assert len(set(found.values())) == 1


def test_a_machine_stays_where_it_runs_though_another_host_has_more_room() -> None:
    made = place([request("a", current="small", running=True)], Fleet([room("small", 2), room("big", 64)]))
    assert (made["a"].host, made["a"].reason) == ("small", STAYS)


def test_a_machine_bound_elsewhere_is_told_where_to_go_and_stays_until_it_went() -> None:
    fleet = Fleet([room("x"), room("y")])
    made = place([request("a", 2, current="x", running=True, bound=frozenset({"y"}))], fleet)["a"]
    assert (made.host, made.target, made.refusals) == ("x", "y", {"x": "it is bound to y"})
    assert [held.machines for held in fleet.rooms] == [1, 1], "it takes its share of both until it has moved"


def test_a_machine_that_is_off_takes_no_memory() -> None:
    assert set(hosts([request("a", 8, on=False), request("b", 8)], [room("x")]).values()) == {"x"}


def test_a_machine_that_was_off_goes_elsewhere_when_its_host_is_full() -> None:
    requests = [request("a", 8, current="x", running=True), request("b", 8, current="x")]
    assert hosts(requests, [room("x"), room("y")]) == {"a": "x", "b": "y"}


def test_what_a_machine_wrote_on_its_own_disks_keeps_it_where_they_are() -> None:
    requests = [request("a", 8, current="x", running=True), request("b", 8, current="x", data=frozenset({"x"}))]
    made = place(requests, Fleet([room("x"), room("y")]))["b"]
    assert made.target is None
    assert made.refusals == {
        "x": "has 0 B of memory left of 8 GiB, 8 GiB needed",
        "y": "does not have its disks, which are on x",
    }


def test_a_host_in_maintenance_is_left_and_not_entered() -> None:
    requests = [request("a", current="x", running=True), request("b")]
    assert hosts(requests, [room("x", maintenance=True), room("y")]) == {"a": "y", "b": "y"}


def test_a_host_that_takes_no_more_keeps_what_it_has() -> None:
    requests = [request("a", current="x", running=True), request("b")]
    assert hosts(requests, [room("x", 64, active=False), room("y")]) == {"a": "x", "b": "y"}


def test_a_host_that_could_not_start_it_is_not_tried_again() -> None:
    assert hosts([request("a", failed=frozenset({"x"}))], [room("x", 64), room("y")]) == {"a": "y"}


def test_a_failed_placement_says_why_of_every_host() -> None:
    rooms = [
        room("v", answers=False),
        room("x", 1),
        room("y", 64, archs=frozenset({"aarch64"})),
        room("z", 64, vcpus=0),
    ]
    made = place([request("a", 2)], Fleet(rooms))["a"]
    assert made.host is None
    assert made.refusals == {
        "v": "does not answer",
        "x": "has 1 GiB of memory left of 1 GiB, 2 GiB needed",
        "y": "has no emulator for x86_64, only for aarch64",
        "z": "has 0 vCPUs left of 0, 1 needed",
    }


def test_what_is_not_everywhere_keeps_machines_where_it_is() -> None:
    where = Where(
        storage=(Tie("pool ssd", frozenset({"x", "y"})),), network=(Tie("network lan", frozenset({"y", "z"})),)
    )
    made = place([request("a", 64, where=where)], Fleet([room("x"), room("y"), room("z")]))["a"]
    assert made.refusals == {
        "x": "does not have network lan; has 8 GiB of memory left of 8 GiB, 64 GiB needed",
        "y": "has 8 GiB of memory left of 8 GiB, 64 GiB needed",
        "z": "does not have pool ssd; has 8 GiB of memory left of 8 GiB, 64 GiB needed",
    }
    assert hosts([request("a", where=where)], [room("x"), room("y"), room("z")]) == {"a": "y"}


def apart(vm: str, by: str = "host", **more: object) -> Request:
    return request(vm, needs={"tags": ("web",), "apart": (Near("web", by),)}, **more)


def test_machines_that_must_be_apart_are_by_host_and_by_rack() -> None:
    rooms = [room("a1"), room("a2", 64), room("b1")]
    assert set(hosts([apart(f"vm{n}") for n in range(3)], rooms).values()) == {"a1", "a2", "b1"}
    racks = {"a": ["a1", "a2"], "b": ["b1"]}
    found = hosts([apart(f"vm{n}", "rack") for n in range(3)], [room("a1"), room("a2", 64), room("b1")], rack=racks)
    assert sorted(map(str, found.values())) == ["None", "a2", "b1"]


def test_a_rule_made_later_moves_one_of_the_two() -> None:
    requests = [apart("vm1", current="x", running=True), apart("vm2", current="x", running=True)]
    assert hosts(requests, [room("x"), room("y")]) == {"vm1": "x", "vm2": "y"}


def test_those_that_must_be_near_go_to_the_larger_party() -> None:
    near = {"tags": ("db",), "near": (Near("db", "host"),)}
    requests = [
        request("db-1", needs=near, current="x", running=True),
        request("db-2", needs=near, current="y", running=True),
        request("db-3", needs=near, current="y", running=True),
        request("db-4", needs=near),
    ]
    assert set(hosts(requests, [room("x", 64), room("y")]).values()) == {"y"}


def test_one_that_seeks_is_placed_after_whom_it_seeks() -> None:
    seeks = request("a", 4, needs={"near": (Near("db", "host"),)})
    assert hosts([seeks, request("z", 1, needs={"tags": ("db",)})], [room("x"), room("y", 9)]) == {"a": "y", "z": "y"}


def test_a_wish_weighs_and_forbids_nothing() -> None:
    wish = {"tags": ("web",), "wishes": ((Near("web", "rack"), False),)}
    racks = {"a": ["a1", "a2"], "b": ["b1"]}
    for number, where in ((2, ["a1", "b1"]), (3, ["a1", "a2", "b1"])):
        rooms = [room("a1", 64), room("a2", 63), room("b1", 2)]
        found = hosts([request(f"vm{n}", needs=wish) for n in range(number)], rooms, Policy(), rack=racks)
        assert sorted(map(str, found.values())) == where, "what comes to one host of a rack changes the others"


def test_numbers_of_devices_pages_and_nodes_are_kept() -> None:
    from dosvm.placement.room import Cell

    gpu = {"devices": (("10de:1eb8", 1),)}
    found = hosts([request(f"vm{n}", needs=gpu) for n in range(2)], [room("x", devices={"10de:1eb8": 1}), room("y")])
    assert sorted(map(str, found.values())) == ["None", "x"]
    pages = {"hugepages": 2**21}
    found = hosts([request(f"vm{n}", needs=pages) for n in range(2)], [room("x", hugepages={2**21: 2**30}), room("y")])
    assert sorted(map(str, found.values())) == ["None", "x"]
    cells = (Cell(2 * 2**30, 4), Cell(2 * 2**30, 4))
    found = hosts([request(f"vm{n}", 2, needs={"numa": True}) for n in range(3)], [room("x", 64, cells=cells)])
    assert sorted(map(str, found.values())) == ["None", "x", "x"]


def test_the_subset_draws_by_name_and_always_the_same() -> None:
    rooms = [room(f"h{n}", 64 - n) for n in range(8)]
    policy = Policy(subset=4, multipliers=MEMORY_ONLY.multipliers)
    first = [hosts([request(f"vm{n}")], [room(f"h{n}", 64 - n) for n in range(8)], policy)[f"vm{n}"] for n in range(40)]
    again = [hosts([request(f"vm{n}")], [room(f"h{n}", 64 - n) for n in range(8)], policy)[f"vm{n}"] for n in range(40)]
    assert first == again
    assert set(first) == {"h0", "h1", "h2", "h3"}
    assert hosts([request("a")], rooms, Policy(subset=100))["a"] is not None


def test_chance_is_a_weigher() -> None:
    lot = Policy(multipliers={**dict.fromkeys(("free_memory", *MEMORY_ONLY.multipliers), 0.0), "chance": 1})
    found = {str(hosts([request(f"vm{n}")], [room("x"), room("y"), room("z")], lot)[f"vm{n}"]) for n in range(30)}
    assert found == {"x", "y", "z"}


def test_where_one_after_the_other_ends_in_a_corner_another_way_is_found() -> None:
    """The small host takes the large machine first and leaves nothing for the one that may only run there."""
    two = request("b", 3, where=Where(network=(Tie("network lan", frozenset({"x", "y"})),)))
    only = request("a", 2, where=Where(network=(Tie("network wan", frozenset({"y", "z"})),)))
    rooms = [room("x", 3), room("y", 4), room("z", 1)]
    assert hosts([two, only], rooms) == {"a": "y", "b": "x"}
