# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemon decides about what it sees; no Ansible, no clock, no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dosvm_reconciler.daemon import Clock, Daemon
from dosvm_reconciler.loop import FIRST_RETRY, Rules, State, Verdict, backoff, decide, remember
from dosvm_reconciler.metrics import Metrics
from dosvm_reconciler.plan import Failure, Plan, Seen, read

READING, ACTING = Rules(), Rules(apply=True, max_changes=5, max_removals=1)
AWAY, WRONG = Failure(text="no route to host"), Failure(text="no such network", terminal=True)


def plan(changes: int = 0, removals: int = 0, drift: int | None = None, failed: str = "") -> Plan:
    shown = changes if drift is None else drift
    return Plan(verdicts={}, changes=changes, removals=removals, drift=shown, interruptions=0, text="", failed=failed)


@pytest.mark.parametrize(
    ("rules", "seen", "verdict"),
    [
        (READING, plan(), Verdict.NOTHING),
        (ACTING, plan(), Verdict.NOTHING),
        (READING, plan(3), Verdict.DRIFT),
        (READING, plan(300, removals=300), Verdict.DRIFT),
        (ACTING, plan(0, drift=2), Verdict.DRIFT),  # withheld or in conflict: an apply would do nothing
        (ACTING, plan(5, removals=1), Verdict.APPLY),
        (ACTING, plan(6), Verdict.FROZEN),
        (ACTING, plan(2, removals=2), Verdict.FROZEN),
        (ACTING, plan(3, failed="h3 is away"), Verdict.APPLY),  # the other hosts are healed meanwhile
        (ACTING, plan(6, failed="h3 is away"), Verdict.FROZEN),
        (ACTING, plan(0, failed="h3 is away"), Verdict.RETRY),  # and `nothing` is only said of all of them
        (READING, plan(3, failed="h3 is away"), Verdict.RETRY),
        (READING, AWAY, Verdict.RETRY),
        (ACTING, AWAY, Verdict.RETRY),
        (ACTING, WRONG, Verdict.PARKED),
        (READING, WRONG, Verdict.PARKED),
    ],
)
def test_every_sight_has_its_fate(rules: Rules, seen: Seen, verdict: Verdict) -> None:
    assert decide(State(rules=rules), seen, 100.0).verdict is verdict


def test_the_dead_man_rule_holds_what_is_frozen_or_parked() -> None:
    seen = (plan(), plan(3), plan(6), AWAY, WRONG)
    assert [decide(State(rules=ACTING), each, 0.0).frozen for each in seen] == [False, False, True, False, True]


def test_a_reading_daemon_never_acts_and_says_how_much_differs() -> None:
    decision = decide(State(rules=READING), plan(3), 100.0)
    assert (decision.why, decision.at) == ("3 objects differ", 400.0)


def test_retries_wait_twice_as_long_each_time_and_never_longer_than_the_interval() -> None:
    state, waits = State(rules=READING), []
    for _ in range(8):
        waits.append(decide(state, AWAY, 0.0).at)
        state = remember(state, Verdict.RETRY, 0.0)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]


def test_an_apply_that_did_not_help_is_not_repeated_at_once() -> None:
    tried = remember(State(rules=ACTING), Verdict.APPLY, 100.0)
    assert decide(tried, plan(1), 101.0).at == 100.0 + FIRST_RETRY
    assert decide(remember(tried, Verdict.NOTHING, 102.0), plan(1), 103.0).at == 103.0


# ------------------------------------------------------------------------------------------------ laws

failures = st.just(AWAY)
plans = st.builds(
    plan,
    changes=st.integers(0, 9),
    removals=st.integers(0, 3),
    drift=st.integers(0, 9),
    failed=st.sampled_from(["", "h3"]),
)
anything = st.one_of(plans, failures, st.just(WRONG))
rulings = st.builds(Rules, apply=st.booleans(), max_changes=st.integers(0, 9), max_removals=st.integers(0, 3))
times = st.floats(0, 1e9)


@given(rules=rulings, seen=anything, attempts=st.integers(0, 2000), due=times, earlier=times, later=times)
def test_what_is_decided_depends_on_nothing_remembered_and_on_no_clock(
    rules: Rules, seen: Seen, attempts: int, due: float, earlier: float, later: float
) -> None:
    fresh = decide(State(rules=rules), seen, earlier)
    worn = decide(State(rules=rules, attempts=attempts, not_before=due), seen, later)
    assert (fresh.verdict, fresh.why) == (worn.verdict, worn.why)
    assert worn.at >= later


@given(attempts=st.integers(0, 5000), interval=st.floats(1, 1e6))
def test_a_wait_is_never_longer_than_the_interval(attempts: int, interval: float) -> None:
    assert 0 < backoff(State(rules=Rules(interval=interval), attempts=attempts)) <= interval


@given(rules=rulings, seen=plans)
def test_nothing_is_done_beyond_the_limits(rules: Rules, seen: Plan) -> None:
    if decide(State(rules=rules), seen, 0.0).verdict is Verdict.APPLY:
        assert rules.apply
        assert seen.changes <= rules.max_changes
        assert seen.removals <= rules.max_removals


# ------------------------------------------------------------------------------------------------ round after round


@dataclass
class World:
    """Hosts and inventory as the daemon sees them; applying does nothing unless `heals`."""

    digest: str = "a"
    seen: Seen = AWAY
    heals: bool = False
    time: float = 0.0
    done: list[str] = field(default_factory=list)

    def look(self) -> Seen:
        self.done.append("look")
        return self.seen

    def apply(self) -> Failure | None:
        self.done.append("apply")
        if self.heals:
            self.seen = plan()
        return None

    def observe(self) -> Failure | None:
        self.done.append("observe")
        return None

    def daemon(self, rules: Rules = ACTING) -> Daemon:
        return Daemon(rules, lambda: self.digest, self, Metrics(), Clock(lambda: self.time, lambda: self.time))

    def did(self) -> list[str]:
        done, self.done = self.done, []
        return done


# Whether a declaration is wrong is a property of the declaration.
sights = st.tuples(st.sampled_from(["a", "b", "wrong"]), st.one_of(plans, failures), st.floats(0, 1000))


def lived(world: World, rules: Rules, rounds: list[tuple[str, Seen, float]]) -> Iterator[Verdict]:
    daemon = world.daemon(rules)
    for digest, seen, passed in rounds:
        world.digest, world.seen = digest, WRONG if digest == "wrong" else seen
        world.time += passed
        yield daemon.round().verdict


@given(rules=rulings, rounds=st.lists(sights, min_size=1, max_size=6), missed=st.integers(0, 5))
def test_a_restart_or_a_missed_round_changes_nothing_of_what_is_decided(
    rules: Rules, rounds: list[tuple[str, Seen, float]], missed: int
) -> None:
    whole = list(lived(World(), rules, rounds))
    rest = list(lived(World(), rules, rounds[missed:]))
    assert whole[missed:] == rest


def test_drift_is_healed_and_looked_at_again() -> None:
    world = World(seen=plan(2), heals=True)
    assert world.daemon().round().verdict is Verdict.NOTHING
    assert world.did() == ["look", "apply", "look"]


def test_a_wrong_declaration_is_not_looked_at_again_until_it_changes() -> None:
    world = World(seen=WRONG)
    daemon = world.daemon()
    assert [daemon.round().verdict for _ in range(3)] == [Verdict.PARKED] * 3
    assert world.did() == ["look"]
    world.digest, world.seen = "b", plan()
    assert daemon.round().verdict is Verdict.NOTHING


def test_sighup_looks_also_where_nothing_new_is_expected() -> None:
    world = World(seen=WRONG)
    daemon = world.daemon()
    daemon.round()
    daemon.round(forced=True)
    assert world.did() == ["look", "look"]


def test_a_frozen_daemon_goes_on_looking_and_thaws_with_the_inventory() -> None:
    world = World(seen=plan(9), heals=True)
    daemon = world.daemon()
    assert [daemon.round().verdict for _ in range(2)] == [Verdict.FROZEN] * 2
    assert world.did() == ["look", "look"]
    world.digest, world.seen = "b", plan(1)
    assert daemon.round().verdict is Verdict.NOTHING
    assert world.did() == ["look", "apply", "look"]


def test_a_plan_is_not_applied_to_another_declaration() -> None:
    world = World(seen=plan(1))
    digests = iter(["a", "b"])
    daemon = Daemon(ACTING, lambda: next(digests), world, Metrics(), Clock(lambda: 0.0, lambda: 0.0))
    assert daemon.round().verdict is Verdict.APPLY
    assert world.did() == ["look"]


def test_a_loop_that_does_not_come_round_is_not_healthy() -> None:
    world = World(seen=plan())
    daemon = world.daemon()
    daemon.round()
    world.time = 3600
    assert daemon.healthy()
    world.time = 3601
    assert not daemon.healthy()


# ------------------------------------------------------------------------------------------------ reading a plan


def told(verdict: str, **more: object) -> dict[str, object]:
    return {"kind": "network", "name": f"n-{verdict}", "origin": "site.yml:3", "verdict": verdict, **more}


def test_a_plan_is_counted_by_what_it_does_and_what_it_waits_for() -> None:
    """LIMIT-12: what waits for somebody is drift, and that is the alarm."""
    change = {"path": "memory", "before": 1, "after": 2, "disruption": "restart"}
    plans = [
        told("create", actions=["x"]),
        told("change", actions=["x"], disruption="recreate", changes=[change]),
        told("change", actions=[], withheld=["x"], needs="restart: true"),
        told("keep", pending=[change]),
        told("remove", actions=["x"]),
        told("conflict", problem="it is not ours"),
        told("left", withheld=["x"], needs="prune"),
        told("unmanaged"),
    ]
    seen = read({"version": 1, "hosts": {"h1": plans}})
    assert isinstance(seen, Plan)
    assert (seen.changes, seen.removals, seen.drift, seen.interruptions) == (3, 2, 5, 3)
    assert seen.verdicts == {
        "create": 1, "change": 2, "keep": 1, "remove": 1, "conflict": 1, "left": 1, "unmanaged": 1,
    }  # fmt: skip
    assert "      memory: 1 → 2  [restart]" in seen.text
    assert "n-unmanaged" not in seen.text


def test_a_plan_of_another_format_is_a_failure_and_not_a_guess() -> None:
    assert isinstance(read({"version": 3, "hosts": {}}), Failure)
    assert isinstance(read({"version": 2}), Failure)


EMPTY: dict[str, Any] = {"version": 2, "hosts": {"h1": []}, "moves": [], "waiting": [], "gateways": [], "findings": []}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            {"findings": [{"message": "web RUNS ON h1 AND h2", "error": True}]},
            "web RUNS ON h1 AND h2",
        ),
        (
            {"waiting": [{"vm": "web", "reason": "waits: it is on h2", "since": 1.0}]},
            "1 waits for a host, and nothing may be done about it",
        ),
        (
            {"gateways": [{"network": "lan", "host": None, "reason": "waits"}, {"network": "dmz", "host": "h1", "reason": "x"}]},
            "1 waits for a host, and nothing may be done about it",
        ),
        (
            {"moves": [{"vm": "web", "source": "h1", "target": "h2", "reason": "x", "blocked_by": "migrate"}]},
            "1 object differs, and nothing may be done about it",
        ),
    ],
    ids=["finding", "waiting", "gateway", "blocked move"],
)
def test_what_no_object_shows_is_drift_all_the_same(more: dict[str, Any], why: str) -> None:
    """D9: the daemon said that everything was as declared while a VM ran on two hosts."""
    assert decide(State(rules=ACTING), read(EMPTY), 0.0).verdict is Verdict.NOTHING
    seen = read({**EMPTY, **more})
    assert isinstance(seen, Plan)
    decision = decide(State(rules=ACTING), seen, 100.0)
    assert (decision.verdict, decision.why) == (Verdict.DRIFT, why)
    metrics = Metrics()
    metrics.planned(seen)
    text = metrics.text().decode()
    assert "dos_drift_objects 1.0" in text
    assert ("dos_findings 1.0" in text, "dos_waiting 1.0" in text) == ("finding" in why or "RUNS" in why, "waits" in why)
    assert seen.text.startswith(("web RUNS", "web waits", "gateway of lan waits", "web goes from h1 to h2: x  [blocked by"))


def test_a_finding_fails_the_plan_and_is_told_before_what_failed() -> None:
    seen = read({**EMPTY, "findings": [{"message": "web RUNS ON h1 AND h2", "error": True}]}, failed="h1: web RUNS ON h1 AND h2")
    assert decide(State(rules=ACTING), seen, 0.0).verdict is Verdict.DRIFT


def test_a_move_that_is_allowed_is_done() -> None:
    move = {"vm": "web", "source": "h1", "target": "h2", "reason": "h1 is in maintenance", "blocked_by": None}
    assert decide(State(rules=ACTING), read({**EMPTY, "moves": [move]}), 0.0).verdict is Verdict.APPLY


# ------------------------------------------------------------------------------------------------ what must not end it


class Broken:
    """Hands of which every finger may raise anything."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error

    def _do(self) -> None:
        if self.error is not None:
            raise self.error

    def look(self) -> Seen:
        self._do()
        return plan()

    def apply(self) -> Failure | None:
        self._do()
        return None

    def observe(self) -> Failure | None:
        self._do()
        return None


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), RecursionError(), OSError("gone"), TypeError("x")])
def test_whatever_a_round_raises_the_next_one_comes(error: Exception) -> None:
    hands = Broken(error)
    daemon = Daemon(ACTING, lambda: "a", hands, Metrics(), Clock(lambda: 0.0, lambda: 0.0))
    decision = daemon.round()
    assert (decision.verdict, decision.at) == (Verdict.RETRY, FIRST_RETRY)
    assert decision.why.startswith(f"the round broke off: {type(error).__name__}")
    daemon.observe()
    hands.error = None
    assert daemon.round().verdict is Verdict.NOTHING


def test_a_digest_that_cannot_be_made_ends_no_daemon() -> None:
    def digest() -> str:
        raise OSError("gone")

    daemon = Daemon(ACTING, digest, Broken(OSError()), Metrics(), Clock(lambda: 0.0, lambda: 0.0))
    assert daemon.round().verdict is Verdict.RETRY


MALFORMED: tuple[Any, ...] = (None, 1, "x", ["x"], [1], {}, {"x": 1}, [None], [[]])
DOCUMENT: dict[str, Any] = {
    "version": 2,
    "hosts": {
        "h1": [
            {
                "kind": "domain",
                "name": "a",
                "verdict": "change",
                "disruption": "restart",
                "actions": ["x"],
                "withheld": ["y"],
                "blocked_by": ["z"],
                "changes": [{"path": "memory", "before": 1, "after": 2, "disruption": "restart"}],
                "pending": [{"path": "memory", "before": 1, "after": 2}],
                "notes": ["n"],
            }
        ]
    },
    "moves": [{"vm": "a", "source": "h1", "target": "h2", "reason": "r", "blocked_by": None}],
    "waiting": [{"vm": "a", "reason": "r"}],
    "gateways": [{"network": "n", "host": None, "reason": "r"}],
    "findings": [{"message": "m", "error": True}],
}


def mutated(value: Any) -> Iterator[Any]:
    """The value with each part of it replaced, or left out."""
    yield from MALFORMED
    steps: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)) if isinstance(value, list) else ())
    for step in steps:
        rest = value.copy()
        del rest[step]
        yield rest
        for inner in mutated(value[step]):
            changed = value.copy()
            changed[step] = inner
            yield changed


def test_a_malformed_plan_is_a_failure_and_no_traceback() -> None:
    assert isinstance(read(DOCUMENT), Plan)
    for document in mutated(DOCUMENT):
        seen = read(document)
        assert isinstance(seen, (Plan, Failure))
        assert not isinstance(seen, Failure) or seen.text.isprintable()
