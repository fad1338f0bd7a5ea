# SPDX-License-Identifier: GPL-3.0-or-later
"""What should be on now: a function of the declaration, the orders given since, and the time. Nothing is remembered here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """Somebody's word that outranks the declaration: from `at` (seconds since 1970) until `until`, or until the next one."""

    at: float
    vm: str
    on: bool
    until: float = math.inf


def intended(declared: Mapping[str, bool], orders: Iterable[Order], now: float) -> dict[str, bool]:
    """Whether each machine should be on at `now`: by its newest order in force, else as declared.

    Only `now` and what was said count, never when or how often this was asked before (law 7). Two orders of the same moment
    are settled by their own order, so the sequence they are handed over in does not matter.
    """
    intent = dict(declared)
    for order in sorted(orders):
        if order.vm in intent and order.at <= now:
            intent[order.vm] = order.on if now < order.until else declared[order.vm]
    return intent
