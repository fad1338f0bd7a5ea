# SPDX-License-Identifier: GPL-3.0-or-later
"""Of two who place one machine exactly one does, on each engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from mariadb import PATIENCE

from dosvm.compile.memory import Placement
from dosvm.store.store import Store

Opened = Callable[[], Store]


def placed(vm: str, host: str | None, epoch: int = 1) -> Placement:
    return Placement(vm=vm, host=host, epoch=epoch)


def test_a_claim_is_remembered_and_told(store: Store) -> None:
    assert store.placements.claim({}, [placed("web-1", "h1"), placed("Web-1", "h2")], at=5.0, actor="ada") == {}
    assert store.placements.all() == {"web-1": placed("web-1", "h1"), "Web-1": placed("Web-1", "h2")}
    told = [(event.object, event.host, event.actor, event.text) for event in store.events.read(kind="placed")]
    assert ("web-1", "h1", "ada", "web-1: nowhere → h1, epoch 1") in told


def test_a_claim_from_what_is_no_longer_so_is_lost_and_changes_nothing(store: Store) -> None:
    first = placed("web-1", "h1")
    store.placements.claim({}, [first], at=1.0)
    moved = placed("web-1", "h2", 2)
    assert store.placements.claim({"web-1": first}, [moved], at=2.0) == {}
    late = [placed("web-1", "h3", 2), placed("web-2", "h3")]
    assert store.placements.claim({"web-1": first}, late, at=3.0) == {"web-1": moved}
    assert store.placements.claim({}, late, at=3.0) == {"web-1": moved}
    assert store.placements.all() == {"web-1": moved}, "the other half of a lost claim was kept"


@pytest.mark.parametrize("exists", [False, True], ids=["new", "moved"])
def test_of_many_who_place_one_machine_one_wins(opened: Opened, exists: bool) -> None:
    hosts = [f"h{number}" for number in range(4)]
    stores = [opened() for _ in hosts]
    before = {}
    if exists:
        before = {"web-1": placed("web-1", "home")}
        stores[0].placements.claim({}, before.values(), at=0.0)
    start = Barrier(len(hosts))

    def race(number: int) -> bool:
        start.wait(timeout=PATIENCE)
        # Each has a machine of its own in the same claim, so that writers meet in more than one row.
        wanted = [placed("web-1", hosts[number], 1 + exists), placed(f"own-{number}", hosts[number])]
        return not stores[number].placements.claim(before, wanted, at=1.0)

    with ThreadPoolExecutor(len(hosts)) as pool:
        won = list(pool.map(race, range(len(hosts))))
    assert sum(won) == 1
    winner = hosts[won.index(True)]
    held = stores[0].placements.all()
    assert held["web-1"] == placed("web-1", winner, 1 + exists)
    assert set(held) == {"web-1", f"own-{won.index(True)}"}
    assert len(stores[0].events.read(kind="placed", object="web-1")) == 1 + exists


def test_two_who_go_on_for_long_lose_no_change(opened: Opened) -> None:
    """Each moves the machine as often as it can win; every epoch was somebody's, exactly once."""
    stores = [opened(), opened()]
    stores[0].placements.claim({}, [placed("web-1", "h0")], at=0.0)
    rounds = 12

    def writer(number: int) -> list[int]:
        won: list[int] = []
        while len(won) < rounds:
            held = stores[number].placements.all()["web-1"]
            wanted = placed("web-1", f"w{number}-{len(won)}", held.epoch + 1)
            if not stores[number].placements.claim({"web-1": held}, [wanted], at=1.0):
                won.append(wanted.epoch)
        return won

    with ThreadPoolExecutor(2) as pool:
        epochs = [epoch for won in pool.map(writer, range(2)) for epoch in won]
    assert sorted(epochs) == list(range(2, 2 + 2 * rounds))


def test_a_whole_site_is_claimed_and_read_at_once(store: Store) -> None:
    assert store.placements.generation() == 0
    many = [placed(f"vm-{number}", f"h{number % 50}") for number in range(3000)]
    assert store.placements.claim({}, many, at=1.0) == {}
    held = store.placements.all()
    assert len(held) == 3000
    moved = [placed(one.vm, "h1", 2) for one in many[:700]]
    assert store.placements.claim(held, moved, at=2.0) == {}
    assert sum(one.epoch == 2 for one in store.placements.all().values()) == 700
    assert store.placements.generation() == store.memory().generation == 3700
