# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement obeys hard rules, explains every refusal, and is at rest on its own result (law 6)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dosvm.model.types import ByteSize
from dosvm.placement.place import RESERVE, Request, Room, explain, place

GIB = 2**30


def room(host: str, gib: int = 8, **more: object) -> Room:
    return Room(host=host, memory=gib * GIB + RESERVE, cpus=8, **more)  # type: ignore[arg-type]


def request(vm: str, gib: int = 1, **more: object) -> Request:
    return Request(vm=vm, vcpus=1, memory=gib * GIB, **more)  # type: ignore[arg-type]


def test_a_machine_goes_where_most_memory_is_free() -> None:
    assert place([request("a")], [room("small", 2), room("big", 4)])["a"].host == "big"


def test_each_choice_consumes_its_host_before_the_next() -> None:
    made = place([request(f"vm{n}", 2) for n in range(4)], [room("a", 4), room("b", 4)])
    assert sorted(str(decision.host) for decision in made.values()) == ["a", "a", "b", "b"]


def test_a_machine_stays_where_it_is_though_another_host_has_more_room() -> None:
    made = place([request("a", current="small")], [room("small", 2), room("big", 64)])
    assert (made["a"].host, made["a"].reason) == ("small", "stays where it is")


def test_a_machine_bound_elsewhere_leaves_its_host() -> None:
    made = place([request("a", current="x", hosts=frozenset({"y"}))], [room("x"), room("y")])
    assert made["a"].host == "y"


def test_a_machine_that_is_off_takes_no_memory() -> None:
    made = place([request("a", 8, on=False), request("b", 8)], [room("x")])
    assert {decision.host for decision in made.values()} == {"x"}


def test_a_failed_placement_says_why_of_every_host() -> None:
    rooms = [room("x", 1), room("y", 64, archs=frozenset({"aarch64"})), room("z", 64, max_vcpus=0)]
    made = place([request("a", 2)], rooms)["a"]
    assert made.host is None
    assert made.refusals == {
        "x": "has 1 GiB of memory left, 2 GiB needed",
        "y": "has no emulator for x86_64",
        "z": "has 0 vCPUs left, 1 needed",
    }


def test_a_refusal_flips_when_the_number_it_names_does() -> None:
    assert explain(request("a", 2), [room("x", 1)])
    assert not explain(request("a", 2), [room("x", 2)])


hosts = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 12)), min_size=1, max_size=5)
machines = st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.sets(st.integers(0, 4), max_size=3)), max_size=10)


def rooms_of(sizes: list[tuple[int, int]]) -> list[Room]:
    return [room(f"h{n}", gib, max_vcpus=cpus) for n, (gib, cpus) in enumerate(sizes)]


def requests_of(drawn: list[tuple[int, bool, set[int]]]) -> list[Request]:
    return [
        request(f"vm{n}", gib, on=on, hosts=frozenset(f"h{at}" for at in bound) or None)
        for n, (gib, on, bound) in enumerate(drawn)
    ]


@given(hosts, machines)
def test_no_hard_rule_is_ever_broken(sizes: list[tuple[int, int]], drawn: list[tuple[int, bool, set[int]]]) -> None:
    wanted, rooms = requests_of(drawn), rooms_of(sizes)
    made = place(wanted, rooms)
    for held in wanted:
        host = made[held.vm].host
        assert host is None or held.hosts is None or host in held.hosts
        assert (host is None) == bool(made[held.vm].refusals) or host is None
    for held_room in rooms:
        here = [held for held in wanted if made[held.vm].host == held_room.host and held.on]
        assert sum(held.memory for held in here) <= held_room.memory - RESERVE
        assert sum(held.vcpus for held in here) <= (held_room.max_vcpus or 0)


@given(hosts, machines, st.randoms())
def test_it_is_at_rest_on_its_own_result_in_any_order(sizes, drawn, shuffle) -> None:  # type: ignore[no-untyped-def]
    wanted = requests_of(drawn)
    first = {vm: decision.host for vm, decision in place(wanted, rooms_of(sizes)).items()}
    again = [replace(held, current=first[held.vm]) for held in wanted]
    shuffle.shuffle(again)
    second = {vm: decision.host for vm, decision in place(again, rooms_of(sizes)).items()}
    assert {vm: host for vm, host in first.items() if host} == {vm: second[vm] for vm, host in first.items() if host}


def test_sizes_in_reasons_are_readable() -> None:
    assert "512 MiB" in str(ByteSize(RESERVE))
