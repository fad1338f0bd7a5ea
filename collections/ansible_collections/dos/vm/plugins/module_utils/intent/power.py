# SPDX-License-Identifier: GPL-3.0-or-later
"""What should be on now: a function of the declaration, the orders given since, and the time. Nothing is remembered here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """Somebody's word that outranks the declaration: from `at` (seconds since 1970) until `until`, or until the next one.

    `against` is what was declared when it was given: whoever declares something else since then has the last word.
    """

    at: float
    vm: str
    on: bool
    until: float = math.inf
    against: bool | None = None


def intended(declared: Mapping[str, bool], orders: Iterable[Order], now: float) -> dict[str, bool]:
    """Whether each machine should be on at `now`: by its newest order in force, else as declared.

    Only `now` and what was said count, never when or how often this was asked before (law 7). Two orders of the same moment
    are settled by their own order, so the sequence they are handed over in does not matter.
    """
    intent = dict(declared)
    for order in sorted(orders, key=_age):
        if order.vm in intent and order.at <= now and order.against in (None, declared[order.vm]):
            intent[order.vm] = order.on if now < order.until else declared[order.vm]
    return intent


def _age(order: Order) -> tuple[float, str, bool, float, bool]:
    return (order.at, order.vm, order.on, order.until, bool(order.against))
