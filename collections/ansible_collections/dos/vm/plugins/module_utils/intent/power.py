# SPDX-License-Identifier: GPL-3.0-or-later
"""What should be on now: a function of the declaration, the power overrides given since, and the time. Nothing is remembered here."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """A power override: it outranks the declaration until `until` (seconds since 1970), or until a newer one.

    Of two for one VM the larger `number` is newer; no clock decides that. `against` is what was declared when it was given: the
    override ends when something else is declared. One without `on` takes back all before it. `at` is when it was given, by the
    store's clock, and always in force where no store told it.
    """

    vm: str
    on: bool | None
    at: float = -math.inf
    until: float = math.inf
    against: bool | None = None
    number: int = 0


def intended(declared: Mapping[str, bool], orders: Iterable[Order], now: float) -> dict[str, bool]:
    """Whether each VM should be on at `now`: by its newest override in force, else as declared.

    Only `now` and what was given count, never when or how often this was asked before (law 7), and not the sequence in which
    the overrides are handed over. One that is over does not hide an older one that is not.
    """
    by_vm: defaultdict[str, list[Order]] = defaultdict(list)
    for order in orders:
        if order.at <= now:
            by_vm[order.vm].append(order)
    return {vm: _on(value, sorted(by_vm[vm], key=_age, reverse=True), now) for vm, value in declared.items()}


def _on(declared: bool, newest_first: Iterable[Order], now: float) -> bool:
    for order in newest_first:
        if order.on is None or order.against not in (None, declared):
            return declared  # what was given before a release, or before the declaration changed, ended with that
        if now < order.until:
            return order.on
    return declared


def newer(stored: Iterable[Order], carried: Iterable[Order]) -> list[Order]:
    """Those that VMs carry and that the store does not know: given without it, or before it was lost."""
    last: dict[str, int] = {}
    for order in stored:
        last[order.vm] = max(order.number, last.get(order.vm, 0))
    return [order for order in carried if order.vm not in last or order.number > last[order.vm]]


def _age(order: Order) -> tuple[int, float, str, float, str]:
    return (order.number, order.at, str(order.on), order.until, str(order.against))
