# SPDX-License-Identifier: GPL-3.0-or-later
"""What outranks the declaration: power overrides of VMs, the size of a cluster. Intent is a function of it (law 7).

Of one VM the larger number is newer, on hosts and here, so no clock decides which override counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..intent.power import Order as PowerOrder
from ..intent.power import newer
from ._sql import sa
from .clock import now
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
        return [_order(row) for row in rows]

    def power(self) -> list[PowerOrder]:
        """The power overrides, as intent takes them."""
        return [_power(held) for held in self.read(POWER)]

    def override(self, given: Iterable[PowerOrder], *, actor: str | None = None) -> dict[str, tuple[Order, bool]]:
        """Give power overrides, each under the next number of its VM and with the database's time; by VM the row, and whether
        it is a new one.

        One that is in force already keeps its row, and a release of nothing makes none. Of what an older one hides for good
        only the newest stays.
        """
        wanted = {order.vm: (order, token()) for order in given}

        def work(connection: Connection) -> dict[str, tuple[Order, bool]]:
            at, found = now(connection), {}
            for vm, (order, mine) in sorted(wanted.items()):
                rows = self._of(connection, vm)
                row = _next(rows, order, at, actor, mine)
                if row is not None and row.token == mine and all(held.token != mine for held in rows):
                    connection.execute(self._table.insert(), asdict(row))
                    self._forget_hidden(connection, rows)
                if row is not None:
                    found[vm] = (row, row.token == mine)
            return found

        return self._database.write("give a power override", work)

    def settle(self, numbers: Mapping[str, int], withdrawn: Iterable[str]) -> None:
        """What hosts made of overrides: by token, the number that one has there, and those that were refused."""

        def work(connection: Connection) -> None:
            held = self._table.c
            for mine, number in numbers.items():
                connection.execute(self._table.update().where(held.token == mine).values(number=number))
            connection.execute(self._table.delete().where(held.token.in_(list(withdrawn))))

        self._database.write("settle power overrides", work)

    def learn(self, carried: Iterable[PowerOrder]) -> None:
        """Keep overrides that VMs carry and the store does not know, under their numbers: given without it, or before it was lost."""
        listed = list(carried)

        def work(connection: Connection) -> None:
            at = now(connection)
            for order in newer(map(_power, self._all(connection)), listed):
                row = _row(order, order.number, at, None, token())
                connection.execute(self._table.insert(), asdict(row))

        if listed:
            self._database.write("learn power overrides", work)

    def forget(self, vms: Iterable[str]) -> None:
        """Remove what was given for VMs that are gone."""
        held, names = self._table.c, list(vms)
        gone = sa.and_(held.kind == POWER, held.object.in_(names))
        if names:
            self._database.write(
                "forget overrides", lambda connection: connection.execute(self._table.delete().where(gone))
            )

    def _all(self, connection: Connection) -> list[Order]:
        return [
            _order(row)
            for row in connection.execute(sa.select(self._table).where(self._table.c.kind == POWER)).mappings()
        ]

    def _of(self, connection: Connection, vm: str) -> list[Order]:
        """Those of a VM, the oldest first."""
        held = self._table.c
        query = sa.select(self._table).where(held.kind == POWER, held.object == vm).order_by(held.number, held.id)
        return [_order(row) for row in connection.execute(query).mappings()]

    def _forget_hidden(self, connection: Connection, rows: list[Order]) -> None:
        last = next((place for place in reversed(range(len(rows))) if rows[place].until is None), 0)
        hidden = [row.token for row in rows[:last]]
        if hidden:
            connection.execute(self._table.delete().where(self._table.c.token.in_(hidden)))


def _next(rows: list[Order], order: PowerOrder, at: float, actor: str | None, mine: str) -> Order | None:
    """The row of an override; the one there is where it says the same, nothing where there is nothing to release."""
    newest = rows[-1] if rows else None
    if newest is not None and newest.token == mine:
        return newest  # kept by an attempt whose connection went before it could say so
    forever = order.until == math.inf
    released = order.on is None or (forever and order.on == order.against)
    on = None if released else order.on
    if newest is None and released:
        return None
    if newest is not None and (newest.value, _until(newest), newest.against) == (on, order.until, order.against):
        return newest
    if newest is not None and released and newest.value is None:
        return newest
    last = 0 if newest is None else newest.number or 0
    at = at if newest is None else max(at, newest.at)  # the clocks of a cluster's nodes differ
    return _row(replace(order, on=on), last + 1, at, actor, mine)


def _row(order: PowerOrder, number: int, at: float, actor: str | None, mine: str) -> Order:
    until = None if order.until == math.inf else order.until
    return Order(
        kind=POWER, object=order.vm, value=order.on, at=at, until=until, number=number, against=order.against,
        actor=actor, token=mine,
    )  # fmt: skip


def _order(row: Any) -> Order:
    return Order(**{name: value for name, value in row.items() if name != "id"})


def _power(held: Order) -> PowerOrder:
    return PowerOrder(
        vm=held.object,
        on=None if held.value is None else bool(held.value),
        at=held.at,
        until=_until(held),
        against=held.against,
        number=held.number or 0,
    )


def _until(order: Order) -> float:
    return math.inf if order.until is None else order.until
