# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that outrank the declaration: a machine on or off, a cluster of so many. Written once and never changed (law 7)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..intent.power import Order as PowerOrder
from ._sql import sa
from .engine import Database
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

POWER = "power"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """From `at` until `until`, or until the next one of its kind for its object; `value` is plain data."""

    kind: str
    object: str
    value: Any
    at: float
    until: float | None = None
    number: int | None = None
    against: Any = None
    actor: str | None = None
    reason: str | None = None
    token: str = field(default_factory=token)


class Orders:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._table = database, tables.orders

    def give(self, orders: Iterable[Order]) -> None:
        """Write orders, each once however often its connection goes."""
        held = list(orders)
        names = ("kind", "object", "number", "value", "against", "at", "until", "actor", "reason", "token")

        def work(connection: Connection) -> None:
            tokens = [order.token for order in held]
            known = set(connection.scalars(sa.select(self._table.c.token).where(self._table.c.token.in_(tokens))))
            rows = [{name: getattr(order, name) for name in names} for order in held if order.token not in known]
            if rows:
                connection.execute(self._table.insert(), rows)

        self._database.write("give an order", work)

    def read(self, kind: str | None = None) -> list[Order]:
        """All that were given, the oldest first."""
        query = sa.select(self._table).order_by(self._table.c.at, self._table.c.id)
        query = query if kind is None else query.where(self._table.c.kind == kind)
        rows = self._database.read("read the orders", lambda connection: list(connection.execute(query).mappings()))
        return [Order(**{name: value for name, value in row.items() if name != "id"}) for row in rows]

    def power(self) -> list[PowerOrder]:
        """The orders about machines, as intent takes them."""
        return [
            PowerOrder(at=held.at, vm=held.object, on=bool(held.value), until=_until(held)) for held in self.read(POWER)
        ]


def _until(order: Order) -> float:
    return math.inf if order.until is None else order.until
