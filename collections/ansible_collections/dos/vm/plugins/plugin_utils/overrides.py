# SPDX-License-Identifier: GPL-3.0-or-later
"""Power overrides in the store: noted before a host is asked, settled by what it answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.intent.power import Order
from ansible_collections.dos.vm.plugins.module_utils.model.types import Name
from ansible_collections.dos.vm.plugins.module_utils.plan.order import TABLE
from ansible_collections.dos.vm.plugins.plugin_utils.store import actor, opened, url_of

Settle = Callable[[Iterable[Mapping[str, Any]]], None]


def overrides(
    order: str, names: Iterable[str], declared: Mapping[str, Any], until: float | None = None
) -> Iterator[Order]:
    """What an operation asks for from now on; a release of what was asked for."""
    power = TABLE[order].power
    for vm in names:
        against = declared.get(vm)
        yield Order(
            vm=str(vm),
            on=None if power is None else power == "on",
            until=math.inf if until is None else float(until),
            against=None if against is None else against == "on",
        )


@contextmanager
def noted(
    templar: Any, variables: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Iterator[tuple[dict[str, int], Settle]]:
    """The numbers that the store gave, by VM; and what takes back those that the host refused."""
    names, declared = arguments.get("names") or (), arguments.get("declared") or {}
    site = Name(arguments.get("site") or "dos")
    given = list(overrides(str(arguments["order"]), names, declared, arguments.get("until")))
    with opened(url_of(templar, variables, site, variables["ansible_play_hosts_all"]), site, write=True) as store:
        rows = {} if store is None else store.orders.override(given, actor=actor(templar, variables))

        def settle(answers: Iterable[Mapping[str, Any]]) -> None:
            told = [(*rows[one["name"]], one["number"], one["refused"]) for one in answers if one["name"] in rows]
            numbers = {row.token: number for row, _, number, _ in told if number > (row.number or 0)}
            withdrawn = [row.token for row, new, number, refused in told if new and refused and not number]
            if store is not None and (numbers or withdrawn):
                store.orders.settle(numbers, withdrawn)

        yield {vm: row.number or 0 for vm, (row, _) in rows.items()}, settle
