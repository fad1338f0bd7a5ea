# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as they told of themselves, by identity; and the signs of life of their daemons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._sql import sa
from .clock import now
from .engine import Database
from .tables import Tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRecord:
    """A host. `registered`, `answered` and `surveyed` are times; `hardware` is a digest of what the machine is made of."""

    uuid: str
    name: str
    hardware: str | None = None
    facts: Mapping[str, Any] | None = None
    registered: float
    answered: float | None = None
    surveyed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The last sign of life of a host's daemon, by the database's clock, and how long ago that was."""

    host: str
    at: float
    age: float
    boot: str | None = None
    load: Any = None


def host_records(connection: Connection, tables: Tables) -> list[HostRecord]:
    """Every host that ever registered, by name, inside a transaction."""
    rows = connection.execute(sa.select(tables.hosts).order_by(tables.hosts.c.name)).mappings()
    return [HostRecord(**row) for row in rows]


class Hosts:
    """The tables `hosts` and `heartbeats`."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._tables, self._table, self._beats = database, tables, tables.hosts, tables.heartbeats

    def all(self) -> list[HostRecord]:
        """Every host that ever registered, by name."""
        return self._database.read("read the hosts", lambda connection: host_records(connection, self._tables))

    def register(self, records: Iterable[HostRecord]) -> None:
        """Write hosts as they are now, found by their identity; a name may have moved on to another (HOST-01)."""
        held = {record.uuid: record for record in records}
        names = ("uuid", "name", "hardware", "facts", "registered", "answered", "surveyed")

        def work(connection: Connection) -> None:
            known = set(connection.scalars(sa.select(self._table.c.uuid)))
            # A name that two have for a moment, while hosts swap theirs, would be refused.
            aside = (
                self._table.update().where(self._table.c.uuid == sa.bindparam("of")).values(name=sa.bindparam("aside"))
            )
            old = [{"of": uuid, "aside": uuid} for uuid in held if uuid in known]
            if old:
                connection.execute(aside, old)
            for uuid, record in sorted(held.items()):
                row = {name: getattr(record, name) for name in names}
                if uuid in known:
                    row.pop("registered")
                    connection.execute(self._table.update().where(self._table.c.uuid == uuid).values(row))
                else:
                    connection.execute(self._table.insert(), row)

        self._database.write("register hosts", work)

    def forget(self, uuids: Iterable[str]) -> None:
        """Remove records; a host that answers again registers again (HOST-12)."""
        query = self._table.delete().where(self._table.c.uuid.in_(list(uuids)))
        self._database.write("forget a host", lambda connection: connection.execute(query))

    def beat(self, host: str, *, boot: str | None = None, load: Any = None) -> None:
        """A sign of life, now by the database's clock."""

        def work(connection: Connection) -> None:
            values = {"at": now(connection), "boot": boot, "load": load}
            mine = self._beats.c.host == host
            if connection.execute(self._beats.update().where(mine).values(values)).rowcount == 0:
                connection.execute(self._beats.insert(), {"host": host, **values})

        self._database.write("give a sign of life", work)

    def heartbeats(self) -> dict[str, Heartbeat]:
        """The last sign of life of every host."""

        def work(connection: Connection) -> dict[str, Heartbeat]:
            at = now(connection)
            rows = connection.execute(sa.select(self._beats)).mappings()
            return {row["host"]: Heartbeat(age=max(0.0, at - row["at"]), **row) for row in rows}

        return self._database.read("read the signs of life", work)
