# SPDX-License-Identifier: GPL-3.0-or-later
"""Who decides now: one of several daemons, by the database's clock. It saves double work; no disk's safety rests on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ._sql import sa
from .clock import now
from .engine import Database
from .tables import Tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Held until a time of the database's clock. The epoch grows with every new holder."""

    name: str
    holder: str
    epoch: int
    until: float


class Leases:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._table = database, tables.leases

    def acquire(self, name: str, holder: str, seconds: float) -> Lease | None:
        """The lease, if nobody else holds it. Its holder gets it again, for longer and under the same epoch."""

        def work(connection: Connection) -> Lease | None:
            at = now(connection)
            held = connection.execute(sa.select(self._table).where(self._table.c.name == name)).mappings().first()
            if held is None:
                lease = Lease(name=name, holder=holder, epoch=1, until=at + seconds)
                row = {"name": name, "holder": holder, "epoch": 1, "until": lease.until}
                try:
                    connection.execute(self._table.insert(), row)
                except sa.exc.IntegrityError:
                    return None
                return lease
            mine = held["holder"] == holder
            if not mine and held["until"] > at:
                return None
            lease = Lease(name=name, holder=holder, epoch=held["epoch"] + (not mine), until=at + seconds)
            was = sa.and_(
                self._table.c.name == name,
                self._table.c.epoch == held["epoch"],
                self._table.c.until == held["until"],
            )
            changed = {"holder": holder, "epoch": lease.epoch, "until": lease.until}
            done = connection.execute(self._table.update().where(was).values(changed)).rowcount
            return lease if done == 1 else None

        return self._database.write(f"take the lease {name}", work)

    def release(self, lease: Lease) -> None:
        """Give it back, if it is still held."""
        held = self._table.c
        mine = sa.and_(held.name == lease.name, held.holder == lease.holder, held.epoch == lease.epoch)
        given = replace(lease, until=0.0)
        query = self._table.update().where(mine).values(until=given.until)
        self._database.write(f"give back the lease {lease.name}", lambda connection: connection.execute(query))
