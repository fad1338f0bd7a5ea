# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on a real cluster of three nodes: writers on two of them, a node that is cut off, one that is gone (DB-05)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from galera import PROVIDER, Node, cluster
from mariadb import PATIENCE

from dosvm.compile.memory import Placement
from dosvm.errors import StoreError
from dosvm.store.store import Store, open_store

pytestmark = pytest.mark.skipif(not PROVIDER.exists(), reason=f"no {PROVIDER}: apt-get install galera-4")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    with cluster(tmp_path_factory.mktemp("galera")) as made:
        yield made


def urls(nodes: list[Node]) -> list[str]:
    """The same database by each node."""
    name = f"t{uuid.uuid4().hex[:12]}"
    nodes[0].database(name)
    return [node.url(name, node.address) for node in nodes]


def placed(vm: str, host: str, epoch: int = 1) -> Placement:
    return Placement(vm=vm, host=host, epoch=epoch)


def test_the_tables_are_made_on_one_node_and_are_on_all(nodes: list[Node]) -> None:
    first, second, third = urls(nodes)
    with closing(open_store(first, site="lab")) as store:
        assert store.placements.claim({}, [placed("web-1", "h1")], at=1.0) == {}
    for url in (second, third):
        with closing(open_store(url, site="lab")) as store:
            assert store.placements.all() == {"web-1": placed("web-1", "h1")}


def test_two_controllers_may_make_the_tables_at_once(nodes: list[Node]) -> None:
    def make(url: str) -> str | None:
        with closing(open_store(url, site="lab")) as store:
            return store.site()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(make, urls(nodes)[:1] * 2)) == ["lab", "lab"]


def test_of_writers_on_two_nodes_one_wins_and_the_other_is_told(nodes: list[Node]) -> None:
    """A node certifies a change when it is kept, and says 1213 to who was second: that is tried again, and seen."""
    stores: list[Store] = [open_store(url, site="lab") for url in urls(nodes)]
    rounds, start = 8, threading.Barrier(len(stores))
    try:

        def race(number: int) -> list[bool]:
            won = []
            for turn in range(rounds):
                start.wait(timeout=PATIENCE)
                wanted = [placed(f"vm-{turn}", f"h{number}"), placed(f"own-{turn}-{number}", f"h{number}")]
                won.append(not stores[number].placements.claim({}, wanted, at=1.0))
            return won

        with ThreadPoolExecutor(len(stores)) as pool:
            won = list(pool.map(race, range(len(stores))))
        held = stores[2].placements.all()
        for turn in range(rounds):
            (winner,) = (number for number in range(len(stores)) if won[number][turn])
            assert held[f"vm-{turn}"] == placed(f"vm-{turn}", f"h{winner}")
            assert [number for number in range(len(stores)) if f"own-{turn}-{number}" in held] == [winner]
    finally:
        for store in stores:
            store.close()


def test_a_node_that_has_lost_the_others_is_passed_over(nodes: list[Node]) -> None:
    """It answers, and must not be believed: the next one of the URL is used."""
    first = urls(nodes)[0]
    several = first.replace(f"@{nodes[0].address}:", f"@{nodes[0].address},{nodes[1].address}:")
    with closing(open_store(several, site="lab")) as before:
        before.placements.claim({}, [placed("web-1", "h1")], at=1.0)
        # For good: to take it back the others would have to send it what it missed, by a program that is not installed.
        nodes[0].set("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
        nodes[0].wait(ready=False)
        nodes[1].wait()
        assert before.placements.claim({}, [placed("web-2", "h1")], at=2.0) == {}, "a store that was open goes on"
    with closing(open_store(several, site="lab")) as after:
        assert set(after.placements.all()) == {"web-1", "web-2"}
    with pytest.raises(StoreError) as refused, closing(open_store(first, site="lab")):
        pass
    assert refused.value.retryable
