# SPDX-License-Identifier: GPL-3.0-or-later
"""Intent is a function of what was said and of the time, never of when it was asked (law 7)."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dosvm.intent.power import Order, intended

MACHINES = ["a", "b", "c"]
orders = st.lists(
    st.builds(
        Order,
        at=st.integers(0, 50),
        vm=st.sampled_from([*MACHINES, "gone"]),
        on=st.booleans(),
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
    off = Order(at=1, vm="a", on=False, against=True)
    assert intended({"a": True}, [off], now=3) == {"a": False}
    on = Order(at=1, vm="a", on=True, against=False)
    assert intended({"a": True}, [on, Order(at=0, vm="a", on=False, against=True)], now=3) == {"a": False}


def test_the_newest_order_wins() -> None:
    said = [Order(at=2, vm="a", on=True), Order(at=1, vm="a", on=False)]
    assert intended({"a": False}, said, now=3) == {"a": True}


@given(declared, orders, st.lists(st.integers(0, 60), max_size=8), st.integers(0, 60), st.randoms())
def test_no_interleaving_of_ticks_changes_the_answer(said, given_orders, ticks, now, shuffle) -> None:
    expected = intended(said, given_orders, now)
    for tick in ticks:
        intended(said, given_orders, tick)
    replayed = list(given_orders)
    shuffle.shuffle(replayed)
    assert intended(said, replayed, now) == expected
