# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store keeps beside placements: hosts, signs of life, orders, events, runs, leases, proofs. On each engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from mariadb import Server

from dosvm.compile.memory import Placement
from dosvm.errors import StoreError
from dosvm.intent.power import Order as PowerOrder
from dosvm.store.events import Event
from dosvm.store.evidence import Evidence
from dosvm.store.hosts import HostRecord
from dosvm.store.loads import Load
from dosvm.store.orders import Order
from dosvm.store.runs import Running
from dosvm.store.store import Store, open_store

Opened = Callable[[], Store]
H1 = HostRecord(uuid="u1", name="h1", hardware="aa", facts={"cpus": 4, "label": "主机"}, registered=1.0, answered=2.0)


def test_a_host_keeps_its_record_under_a_new_name(store: Store) -> None:
    store.hosts.register([H1, replace(H1, uuid="u2", name="h2")])
    store.hosts.register([replace(H1, name="h2", registered=9.0), replace(H1, uuid="u2", name="h1")])
    held = {host.uuid: host for host in store.hosts.all()}
    assert {uuid: host.name for uuid, host in held.items()} == {"u1": "h2", "u2": "h1"}
    assert held["u1"].registered == 1.0, "the time it registered first was lost"
    assert held["u1"].facts == H1.facts


def test_a_forgotten_host_registers_again(store: Store) -> None:
    store.hosts.register([H1])
    store.hosts.forget(["u1"])
    assert store.hosts.all() == []
    store.hosts.register([H1])
    assert store.hosts.all() == [H1]


def test_a_sign_of_life_is_as_old_as_the_database_says(store: Store) -> None:
    store.hosts.beat("h1", boot="b1")
    store.hosts.beat("h1", boot="b2", load={"cpu": 12.5})
    beat = store.hosts.heartbeats()["h1"]
    assert (beat.boot, beat.load) == ("b2", {"cpu": 12.5})
    assert 0 <= beat.age < 30


def load(at: float, host: str = "h1", traffic: int = 0, boot: str = "b1") -> Load:
    return Load(host=host, at=at, cpu=12, memory=50, disk=None, traffic=traffic, boot=boot)


def test_how_busy_hosts_were_is_a_row_a_period_with_what_they_carried_between(store: Store) -> None:
    """HOST-06; a boot begins to count anew, and a sample that comes too early is left out."""
    for at, traffic, boot in [
        (0.0, 100, "b1"),
        (30.0, 150, "b1"),
        (60.0, 700, "b1"),
        (120.0, 50, "b2"),
        (180.0, 650, "b2"),
    ]:
        store.loads.sample([load(at, traffic=traffic, boot=boot), load(at, "h2")], every=60.0)
    held = [(moment.load.at, moment.network) for moment in store.loads.read(host="h1")]
    assert held == [(0.0, None), (60.0, 10.0), (120.0, None), (180.0, 10.0)]
    assert [moment.load.at for moment in store.loads.read(host="h2", since=60.0, until=180.0)] == [60.0, 120.0]
    assert store.loads.read(host="h3") == []
    now = store.loads.since_last([load(200.0, traffic=2650, boot="b2"), load(200.0, "h9")])
    assert {host: moment.network for host, moment in now.items()} == {"h1": 100.0}


def test_a_history_is_forgotten_up_to_a_time_and_who_did_that_stays(store: Store) -> None:
    """HOST-08."""
    for at in (0.0, 60.0, 120.0):
        store.loads.sample([load(at)], every=60.0)
    assert store.loads.purge(100.0, at=200.0, actor="ada") == 2
    assert [moment.load.at for moment in store.loads.read()] == [120.0]
    assert [(event.actor, event.text) for event in store.events.read(kind="purge")] == [
        ("ada", "ada purged 2 loads of hosts before 100")
    ]


def test_a_machine_without_a_host_has_waited_since_it_first_did(store: Store) -> None:
    """SCHED-13: with the last reason; who has had a host meanwhile begins anew."""
    assert store.pending.keep({}, at=1.0) == {}
    assert store.pending.keep({"web-1": "no room", "web-2": "no room"}, at=10.0) == {"web-1": 10.0, "web-2": 10.0}
    assert store.pending.keep({"web-1": "no network"}, at=20.0) == {"web-1": 10.0}
    assert store.pending.keep({"web-1": "no network", "web-2": "no room"}, at=30.0) == {"web-1": 10.0, "web-2": 30.0}
    assert store.pending.since() == {"web-1": 10.0, "web-2": 30.0}
    assert store.pending.keep({}, at=35.0, untouched=frozenset(["web-2"])) == {}
    assert store.pending.since() == {"web-2": 30.0}
    assert store.pending.keep({}, at=40.0) == store.pending.since() == {}


def test_orders_come_back_as_intent_takes_them(store: Store) -> None:
    orders = [
        Order(kind="power", object="web-1", value=False, at=10.0, until=20.0, number=1, actor="ada", reason="backup"),
        Order(kind="power", object="web-2", value=True, at=5.0, number=1, against=False),
        Order(kind="scale", object="shop", value=4, at=1.0),
    ]
    store.orders.give(orders)
    store.orders.give(orders)  # the same words twice are one order
    assert store.orders.power() == [
        PowerOrder(at=5.0, vm="web-2", on=True, until=math.inf, number=1, against=False),
        PowerOrder(at=10.0, vm="web-1", on=False, until=20.0, number=1),
    ]
    assert [order.value for order in store.orders.read("scale")] == [4]


STOP = PowerOrder(vm="web-1", on=False, against=True)
RELEASE = PowerOrder(vm="web-1", on=None)


def held(store: Store) -> list[tuple[int, bool | None]]:
    return [(order.number, order.on) for order in store.orders.power()]


def test_overrides_are_numbered_with_the_databases_time_and_the_same_is_given_once(store: Store) -> None:
    before = store.now()
    row, new = store.orders.override([STOP], actor="ada")["web-1"]
    assert (row.number, row.value, row.against, row.actor, new) == (1, False, True, "ada", True)
    assert before <= row.at <= store.now()
    assert store.orders.override([STOP])["web-1"] == (row, False)
    assert store.orders.override([PowerOrder(vm="web-2", on=None), PowerOrder(vm="web-3", on=True, against=True)]) == {}
    store.orders.override([RELEASE])
    store.orders.override([RELEASE])
    assert held(store) == [(1, False), (2, None)]
    store.orders.override([replace(STOP, until=50.0)])
    assert [number for number, _ in held(store)] == [2, 3], "what is hidden for good is not kept"
    store.orders.forget(["web-1"])
    assert held(store) == []


def test_an_override_that_a_host_refused_is_withdrawn_and_one_that_it_numbered_higher_is_that(store: Store) -> None:
    row, _ = store.orders.override([STOP])["web-1"]
    store.orders.settle({row.token: 7}, [])
    assert held(store) == [(7, False)]
    again, _ = store.orders.override([RELEASE])["web-1"]
    store.orders.settle({}, [again.token])
    assert held(store) == [(7, False)]


def test_a_lost_store_learns_overrides_from_the_vms_and_not_what_was_released_since(store: Store) -> None:
    carried = replace(STOP, number=3)
    store.orders.learn([carried])
    store.orders.learn([carried])
    assert held(store) == [(3, False)]
    store.orders.override([RELEASE])
    store.orders.learn([carried])
    assert held(store) == [(3, False), (4, None)]


def test_events_are_found_by_time_actor_kind_and_object(store: Store) -> None:
    """AUD-04: the filters combine, names match in part."""
    for at in range(4):
        store.events.write(
            [Event(at=float(at), kind="change", actor=f"ada-{at % 2}", object=f"vm web_{at}", detail={"n": at})]
        )
    found = store.events.read(since=1.0, until=4.0, actor="ada-1", kind="change", object="web_")
    assert [event.at for event in found] == [3.0, 1.0]
    assert found[0].detail == {"n": 3}
    assert store.events.read(object="webx") == []
    assert store.events.read(actor="%") == []


def test_a_purge_is_recorded_and_never_purged(store: Store) -> None:
    """AUD-05, AUD-06."""
    store.events.write([Event(at=1.0, kind="login", actor="ada"), Event(at=5.0, kind="login", actor="bob")])
    assert store.events.purge(3.0, at=6.0, actor="sysadm", address="10.0.0.1") == 1
    assert store.events.purge(100.0, at=7.0, actor="sysadm") == 1
    held = store.events.read()
    assert [(event.kind, event.actor, event.detail["before"]) for event in held] == [
        ("purge", "sysadm", 100.0),
        ("purge", "sysadm", 3.0),
    ]


WEB = Running(vm="web-1", project="shop", host="h1", vcpus=2, memory=2**30)


def test_processor_seconds_add_up_over_runs(store: Store) -> None:
    """QUOTA-05."""
    run = replace(WEB, run="boot/1")
    store.runs.sample([run, replace(WEB, vm="db", project="blog", vcpus=1)], ["h1"], at=100.0)
    store.runs.sample([run], ["h1"], at=160.0)  # db has gone: what ran after its last sample nobody knows
    store.runs.sample([replace(run, run="boot/2")], ["h1"], at=200.0)  # was started anew in between
    store.runs.sample([replace(run, run="boot/2")], ["h1"], at=210.0)
    store.runs.sample([replace(run, run="boot/2", vcpus=4)], ["h1"], at=220.0)
    store.runs.sample([replace(run, run="boot/2", vcpus=4)], ["h1"], at=225.0)
    assert store.runs.vcpu_seconds() == {"shop": 2 * 60 + 2 * 10 + 4 * 5, "blog": 0}


def test_a_gap_counts_only_where_the_host_can_tell_that_it_ran_on(store: Store) -> None:
    told = replace(WEB, vm="told", run="boot/1")
    store.runs.sample([WEB, told], ["h1"], at=0.0)
    store.runs.sample([], [], at=5000.0)  # the host did not answer
    store.runs.sample([WEB, told], ["h1"], at=10000.0)
    assert store.runs.vcpu_seconds() == {"shop": 2 * 10000.0}


def test_a_late_and_a_double_sample_count_nothing_twice(opened: Opened) -> None:
    stores = [opened(), opened()]
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda number: [stores[number].runs.sample([WEB], ["h1"], at=float(at)) for at in range(8)], range(2)
            )
        )
    stores[0].runs.sample([WEB], ["h1"], at=3.0)
    assert stores[0].runs.vcpu_seconds() == {"shop": 2 * 7.0}


def test_one_of_many_holds_the_lease(opened: Opened) -> None:
    stores = [opened() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda number: stores[number].leases.acquire("decide", f"h{number}", 60), range(4)))
    (lease,) = (held for held in got if held)
    assert stores[0].leases.acquire("decide", "other", 60) is None
    longer = stores[0].leases.acquire("decide", lease.holder, 120)
    assert longer is not None
    assert longer.epoch == lease.epoch
    assert longer.until > lease.until
    stores[0].leases.release(longer)
    after = stores[1].leases.acquire("decide", "other", 60)
    assert after is not None
    assert after.epoch == lease.epoch + 1
    stores[0].leases.release(longer)  # a lease that was lost cannot be given back
    assert stores[2].leases.acquire("decide", "third", 60) is None


def test_a_lease_that_ran_out_is_anybodys(store: Store) -> None:
    assert store.leases.acquire("decide", "h1", -1) is not None
    taken = store.leases.acquire("decide", "h2", 60)
    assert taken is not None
    assert (taken.holder, taken.epoch) == ("h2", 2)


def test_evidence_is_kept_with_its_time(store: Store) -> None:
    evidence = Evidence(
        host="h1", identity="u1", boot="b1", kind="confirmation", at=5.0, actor="ada", detail={"why": "burnt"}
    )
    store.proofs.write(evidence)
    store.proofs.write(evidence)
    assert store.proofs.of("h1") == [evidence]
    assert store.proofs.of("h1", since=6.0) == []


def test_evidence_counts_until_the_same_system_answers_again(store: Store) -> None:
    store.hosts.register([H1, replace(H1, uuid="u2", name="h2")])
    store.proofs.write(Evidence(host="h1", identity="u1", kind="confirmation", at=5.0))
    assert store.memory().dead == {"h1"}
    store.hosts.register([replace(H1, name="h9")])  # as it was, under another name
    assert store.memory().dead == {"h9"}
    store.hosts.register([replace(H1, answered=6.0)])
    assert store.memory().dead == frozenset()


def test_evidence_is_about_the_system_and_not_about_the_name(store: Store) -> None:
    store.proofs.write(Evidence(host="h1", identity="u1", kind="confirmation", at=5.0))
    assert store.memory().dead == {"h1"}, "a host whose record was removed has not answered since"
    store.hosts.register([replace(H1, uuid="u7", answered=1.0)])
    assert store.memory().dead == frozenset(), "another machine has the name since"


def test_a_vm_leaves_an_unreachable_host_by_evidence_alone(store: Store) -> None:
    """Asked for in the transaction of the claim: what was read before may have changed."""
    store.hosts.register([H1])
    store.placements.claim({}, [Placement(vm="web-1", host="h1", epoch=1, seen=True)], at=1.0)
    before = store.placements.all()
    gone = [Placement(vm="web-1", host="h2", epoch=2)]
    with pytest.raises(StoreError, match="web-1 is on h1, which is unreachable, and nothing is evidence"):
        store.placements.claim(before, gone, at=9.0, unreachable={"h1"})
    assert store.placements.all() == before
    store.proofs.write(Evidence(host="h1", identity="u1", kind="confirmation", at=1.5))  # before it answered, at 2.0
    with pytest.raises(StoreError, match="nothing is evidence"):
        store.placements.claim(before, gone, at=9.0, unreachable={"h1"})
    evidence = Evidence(host="h1", identity="u1", kind="confirmation", at=5.0)
    assert store.placements.claim(before, gone, at=9.0, unreachable={"h1"}, evidence=evidence) == {}
    assert store.placements.all()["web-1"].host == "h2"
    assert [held.at for held in store.proofs.of("h1")] == [5.0, 1.5]


def test_evidence_is_written_where_no_vm_was_placed(store: Store) -> None:
    assert store.placements.claim({}, [], at=9.0, evidence=Evidence(host="h1", kind="confirmation", at=5.0)) == {}
    assert store.memory().dead == {"h1"}


def test_a_vm_that_runs_elsewhere_needs_no_evidence(store: Store) -> None:
    store.placements.claim({}, [Placement(vm="web-1", host="h1", epoch=1)], at=1.0)
    seen = [Placement(vm="web-1", host="h2", epoch=2, seen=True)]
    assert store.placements.claim(store.placements.all(), seen, at=9.0, unreachable={"h1"}) == {}


def test_what_projects_use_is_kept_as_a_whole(store: Store) -> None:
    store.used.keep({("shop", "vcpus"): 4, ("shop", "memory"): 2**41}, at=1.0)
    store.used.keep({("shop", "memory"): 2**41, ("blog", "vcpus"): 1}, at=2.0)
    assert store.used.read() == {("shop", "memory"): 2**41, ("blog", "vcpus"): 1}


def test_what_does_not_fit_is_refused_and_not_cut(mariadb: Server) -> None:
    """SQLite has no lengths; names are checked where they are declared."""
    with (
        closing(open_store(mariadb.database("lengths"), site="lab")) as store,
        pytest.raises(StoreError, match="Data too long"),
    ):
        store.hosts.beat("x" * 65)


# Clocks: the database's is the one that counts.


def test_a_clock_that_is_a_day_ahead_bills_nothing_and_hides_no_history(store: Store) -> None:
    """Six controllers sample a minute apart in the last minutes; the clock of one is a day ahead, and one is set right."""
    here, day = store.now(), 86_400.0
    run = replace(WEB, run="boot/1", vcpus=4)
    for age in (300.0, 240.0, -day, 120.0, 60.0, 0.0):
        store.loads.sample([load(here - age)], every=60.0)
        store.runs.sample([run], ["h1"], at=here - age)
    assert len(store.loads.read()) >= 5
    assert store.runs.vcpu_seconds()["shop"] == pytest.approx(4 * 300.0, abs=4 * 60)


@pytest.mark.parametrize("wrong", [3_600.0, 86_400.0])
def test_a_database_clock_that_was_ahead_is_corrected_by_the_next_sample(
    store: Store, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    """An SQLite file has its controller's clock."""
    monkeypatch.setattr("dosvm.store.runs.now", lambda connection: clock)
    monkeypatch.setattr("dosvm.store.loads.now", lambda connection: clock)
    begun = replace(WEB, vm="begun", run="boot/2")
    run = replace(WEB, run="boot/1")
    for clock, running in ((1000.0, [run]), (1030.0 + wrong, [run, begun]), (1060.0, [run, begun]), (1090.0, [run])):
        store.runs.sample(running, ["h1"], at=clock)
        store.loads.sample([load(clock)], every=30.0)
    assert store.runs.vcpu_seconds() == {"shop": 2 * 90.0}
    assert [moment.load.at for moment in store.loads.read()] == [1000.0, 1060.0, 1090.0]
    assert store.loads.since_last([load(1120.0 + wrong)])["h1"].load.at == 1090.0
    clock = 1030.0 + 2 * wrong
    assert store.runs.vcpu_seconds() == {"shop": 2 * 90.0}, "what was corrected comes back when its time has come"


def test_a_clock_that_starts_at_1970_corrects_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosvm.store.runs.now", lambda connection: clock)
    for clock in (1e9, 1e9 + 60, 5.0, 1e9 + 120):
        store.runs.sample([replace(WEB, run="boot/1")], ["h1"], at=clock)
    assert store.runs.vcpu_seconds() == {"shop": 2 * 120.0}


def test_a_history_is_read_by_name_and_time_and_says_when_it_is_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MON-06: of 20 hosts with 10 rows each the newest 100 are told of, and of one host all that are asked for."""
    monkeypatch.setattr("dosvm.store.loads.MOST", 100)
    for at in range(10):
        store.loads.sample([load(60.0 * at, f"h{number:03}") for number in range(20)], every=60.0)
    whole = store.loads.read()
    assert (len(whole), whole.cut, min(moment.load.at for moment in whole)) == (100, True, 300.0)
    one = store.loads.read(name="h007")
    assert ([moment.load.at for moment in one], one.cut) == ([60.0 * at for at in range(10)], False)
    assert {moment.load.host for moment in store.loads.read(name="00")} == {f"h00{number}" for number in range(10)}
    assert [list(store.loads.read(name=name)) for name in ("H007", "%", "h_07")] == [[], [], []]
    assert len(store.loads.read(name="h01", until=120.0)) == 20
