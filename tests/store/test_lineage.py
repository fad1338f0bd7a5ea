# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that was restored from an old backup is recognised by what hosts have seen of it, and recovered. On each engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dosvm.compile.memory import Placement
from dosvm.errors import StoreError
from dosvm.model.host import StoreState
from dosvm.store._sql import sa
from dosvm.store.hosts import HostRecord
from dosvm.store.lineage import refuse_older
from dosvm.store.store import Store
from dosvm.store.tables import Tables

Opened = Callable[[], Store]
KEPT = ("meta", "hosts", "placements")


def place(store: Store, vm: str, epoch: int = 1) -> None:
    before = store.placements.all()
    assert store.placements.claim(before, [Placement(vm=vm, host="h1", epoch=epoch)], at=1.0) == {}


def backup(store: Store) -> dict[str, list[dict[str, Any]]]:
    tables = Tables().metadata.tables
    return store._database.read(
        "back up",
        lambda connection: {
            name: list(map(dict, connection.execute(sa.select(tables[name])).mappings())) for name in KEPT
        },
    )


def restore(store: Store, rows: dict[str, list[dict[str, Any]]]) -> None:
    def work(connection: Any) -> None:
        for name in KEPT:
            table = Tables().metadata.tables[name]
            connection.execute(table.delete())
            if rows[name]:
                connection.execute(table.insert(), rows[name])

    store._database.write("restore", work)


def test_a_restored_store_is_refused_until_it_is_recovered(store: Store) -> None:
    store.hosts.register([HostRecord(uuid="u1", name="h1", registered=1.0, surveyed=2.0)])
    place(store, "a")
    old, first = backup(store), store.lineage.known()
    place(store, "b")
    seen = store.lineage.known()
    assert (seen.id, seen.is_newer(first)) == (first.id, True)
    refuse_older(store.name, store.lineage.read(), [("h1", first), ("h2", seen)])
    restore(store, old | {"meta": backup(store)["meta"]})
    with pytest.raises(StoreError, match=r"what host h2 has seen .* run dos\.vm\.recover, then this again"):
        refuse_older(store.name, store.lineage.read(), [("h1", first), ("h2", seen)])
    assert store.lineage.raise_above([("h1", first), ("h2", seen)])
    assert [host.surveyed for host in store.hosts.all()] == [None], (
        "a VM that is newer may be on a host without an answer"
    )
    assert store.memory().surveyed == frozenset()
    now = store.lineage.known()
    assert now.is_newer(seen)
    refuse_older(store.name, now, [("h1", first), ("h2", seen)])
    assert not store.lineage.raise_above([("h2", seen)]), "it is not behind any more"
    place(store, "b")
    assert store.lineage.known().is_newer(now)


def test_the_same_backup_is_recognised_a_second_time(store: Store) -> None:
    store.lineage.known()
    place(store, "a")
    old = backup(store)
    for vm in ("b", "c"):
        place(store, vm)
        seen = store.lineage.known()
        restore(store, old)
        with pytest.raises(StoreError, match="restored from a backup"):
            refuse_older(store.name, store.lineage.read(), [("h1", seen)])
        assert store.lineage.raise_above([("h1", seen)])


def test_another_store_is_no_older_one(store: Store) -> None:
    """What a lost store was is made anew from the hosts, and one that was moved to is another."""
    seen = StoreState(id="of-a-store-that-was-lost", generation=99)
    state = store.lineage.known()
    refuse_older(store.name, state, [("h1", seen)])
    assert state.is_newer(seen)
    assert not store.lineage.raise_above([("h1", seen)])


def test_two_controllers_give_a_store_one_identity(opened: Opened) -> None:
    stores = [opened(), opened()]
    with ThreadPoolExecutor(2) as pool:
        assert len({state.id for state in pool.map(lambda store: store.lineage.known(), stores)}) == 1


def test_a_store_has_its_identity_from_the_beginning_and_one_without_is_older_than_any_note(store: Store) -> None:
    seen = store.lineage.read()
    assert seen is not None
    place(store, "a")
    meta = Tables().metadata.tables["meta"]
    forget = meta.delete().where(meta.c.name == "identity")
    store._database.write("as before stores had one", lambda connection: connection.execute(forget))
    assert store.lineage.read() is None
    refuse_older(store.name, None, [])
    with pytest.raises(StoreError, match=r"without a generation, and 0 there.* restored from a backup"):
        refuse_older(store.name, None, [("h1", seen)])
    assert store.lineage.raise_above([("h1", seen)])
    now = store.lineage.known()
    assert now.id != seen.id
    refuse_older(store.name, now, [("h1", seen)])
