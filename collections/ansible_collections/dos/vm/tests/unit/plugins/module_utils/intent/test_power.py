# SPDX-License-Identifier: GPL-3.0-or-later
"""Intent is a function of what was said and of the time, never of when it was asked (law 7)."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dosvm.intent.power import Order, intended, newer

MACHINES = ["a", "b", "c"]
NONE = -math.inf
orders = st.lists(
    st.builds(
        Order,
        number=st.integers(0, 6),
        at=st.just(NONE) | st.integers(0, 50),
        vm=st.sampled_from([*MACHINES, "gone"]),
        on=st.none() | st.booleans(),
        until=st.just(math.inf) | st.integers(0, 60),
        against=st.none() | st.booleans(),
    ),
    max_size=12,
)
declared = st.fixed_dictionaries({vm: st.booleans() for vm in MACHINES})


def test_without_orders_it_is_the_declaration() -> None:
    assert intended({"a": True, "b": False}, [], now=5) == {"a": True, "b": False}


def test_an_order_in_force_outranks_the_declaration_and_then_ends() -> None:
    off = Order(at=10, vm="a", on=False, until=20)
    assert [intended({"a": True}, [off], now=now)["a"] for now in (9, 10, 19, 20)] == [True, False, False, True]


def test_whoever_declares_something_else_since_has_the_last_word() -> None:
    off = Order(number=1, vm="a", on=False, against=True)
    assert intended({"a": True}, [off], now=3) == {"a": False}
    assert intended({"a": False}, [off], now=3) == {"a": False}


def test_an_override_that_the_declaration_ended_does_not_come_back() -> None:
    """That the newer was given against another declaration proves that it had changed after the older."""
    off, on = Order(number=1, vm="a", on=False, against=True), Order(number=2, vm="a", on=True, against=False)
    assert intended({"a": True}, [off, on], now=3) == {"a": True}


def test_the_larger_number_is_newer_whatever_the_clocks_say() -> None:
    said = [Order(number=2, at=1, vm="a", on=True), Order(number=1, at=2, vm="a", on=False)]
    assert intended({"a": False}, said, now=3) == {"a": True}


def test_one_that_is_over_does_not_hide_an_older_one() -> None:
    """Stopped for good, then started until ten: at twenty it is off."""
    said = [Order(number=1, vm="a", on=False, against=True), Order(number=2, vm="a", on=True, until=10, against=True)]
    assert [intended({"a": True}, said, now=now)["a"] for now in (5, 20)] == [True, False]


def test_a_controller_that_booted_in_1970_ignores_no_override() -> None:
    assert intended({"a": True}, [Order(number=1, vm="a", on=False)], now=0.0) == {"a": False}


def test_a_release_takes_back_all_before_it() -> None:
    said = [Order(number=1, vm="a", on=False), Order(number=2, vm="a", on=None)]
    assert intended({"a": True}, said, now=3) == {"a": True}
    assert intended({"a": True}, [*said, Order(number=3, vm="a", on=False)], now=3) == {"a": False}


def test_what_vms_carry_counts_where_the_store_does_not_know_it() -> None:
    stored = [Order(number=4, vm="a", on=None)]
    late, lost, other = (Order(number=n, vm=vm, on=False) for n, vm in ((4, "a"), (5, "a"), (1, "b")))
    assert newer(stored, [late, lost, other]) == [lost, other]
    assert newer([], [late]) == [late]


@given(declared, orders, st.lists(st.integers(0, 60), max_size=8), st.integers(0, 60), st.randoms())
def test_no_interleaving_of_ticks_changes_the_answer(said, given_orders, ticks, now, shuffle) -> None:
    expected = intended(said, given_orders, now)
    for tick in ticks:
        intended(said, given_orders, tick)
    replayed = list(given_orders)
    shuffle.shuffle(replayed)
    assert intended(said, replayed, now) == expected


STEPS = st.lists(
    st.tuples(st.sampled_from(["on", "off", "release", "declare on", "declare off", "wait"]), st.integers(1, 30)),
    max_size=10,
)


class Person:
    """What people mean, told step by step with nothing but a list of what is in force: the oracle of the law below."""

    def __init__(self) -> None:
        self.time, self.declared, self.force = 0, True, list[tuple[bool, float]]()

    def takes(self, step: str, until: float) -> None:
        if step.startswith("declare"):
            changed = self.declared != (step == "declare on")
            self.declared = step == "declare on"
            self.force = [] if changed else self.force
        elif step == "release":
            self.force = []
        elif step in ("on", "off"):
            self.force.append((step == "on", until))

    def means(self) -> bool:
        return next((on for on, until in reversed(self.force) if self.time < until), self.declared)


@given(STEPS, st.lists(st.floats(-1e9, 1e9), min_size=10, max_size=10), st.booleans())
def test_intent_is_what_people_mean_by_whatever_clocks(steps, clocks, ends) -> None:
    """Each override is given on a host with a clock of its own, which is on it nowhere; the declaration may change between."""
    person, said = Person(), list[Order]()
    for number, (step, length) in enumerate(steps):
        until = person.time + length if ends and length < 20 else math.inf
        if step in ("on", "off"):
            said.append(Order(number=number, vm="a", on=step == "on", until=until, against=person.declared))
        elif step == "release":
            said.append(Order(number=number, vm="a", on=None))
        elif step.startswith("declare") and (step == "declare on") != person.declared:
            # A run of the site saw it: what was given against the former declaration is released there.
            said.append(Order(number=number, vm="a", on=None))
        person.takes(step, until)
        person.time += length if step == "wait" else 1
        for now in (0.0 if not ends else float(person.time), float(person.time)):
            assert intended({"a": person.declared}, said, now)["a"] == person.means()
