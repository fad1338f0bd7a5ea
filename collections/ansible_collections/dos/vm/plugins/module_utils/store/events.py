# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened, when, and by whom: written once, read by time, actor and object, purged up to a date (AUD-02 … AUD-06)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ._sql import sa
from .engine import Database
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

PURGE = "purge"  # of this kind none is ever purged


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`kind` is one word; `object` what it happened to, `actor` who did it, `address` where from. Never a secret."""

    at: float
    kind: str
    object: str | None = None
    host: str | None = None
    actor: str | None = None
    address: str | None = None
    text: str = ""
    detail: Any = None
    token: str = field(default_factory=token)


def write_events(connection: Connection, tables: Tables, events: Iterable[Event]) -> None:
    """Write events inside the transaction of what they tell of."""
    rows = [asdict(event) for event in events]
    if rows:
        connection.execute(tables.events.insert(), rows)


class Events:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._tables, self._table = database, tables, tables.events

    def write(self, events: Iterable[Event]) -> None:
        """Write events, each once however often its connection goes."""
        held = list(events)

        def work(connection: Connection) -> None:
            tokens = [event.token for event in held]
            known = set(connection.scalars(sa.select(self._table.c.token).where(self._table.c.token.in_(tokens))))
            write_events(connection, self._tables, (event for event in held if event.token not in known))

        self._database.write("write down what happened", work)

    def read(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        actor: str | None = None,
        kind: str | None = None,
        object: str | None = None,
        limit: int = 1000,
    ) -> list[Event]:
        """The newest first. Filters combine with AND, `actor` and `object` match in part (AUD-04, IAC-07)."""
        held = self._table.c
        filters = [
            since is not None and held.at >= since,
            until is not None and held.at < until,
            actor is not None and held.actor.contains(actor, autoescape=True),
            object is not None and held.object.contains(object, autoescape=True),
            kind is not None and held.kind == kind,
        ]
        query = sa.select(self._table).where(*(one for one in filters if one is not False))
        query = query.order_by(held.at.desc(), held.id.desc()).limit(limit)
        rows = self._database.read("read what happened", lambda connection: list(connection.execute(query).mappings()))
        return [Event(**{name: value for name, value in row.items() if name != "id"}) for row in rows]

    def purge(self, before: float, *, at: float, actor: str, address: str | None = None) -> int:
        """Forget what happened before a time, and leave a record of that, which stays (AUD-05, AUD-06)."""
        mine = token()

        def work(connection: Connection) -> int:
            old = sa.and_(self._table.c.at < before, self._table.c.kind != PURGE)
            gone: int = connection.execute(self._table.delete().where(old)).rowcount
            known = connection.scalar(sa.select(self._table.c.id).where(self._table.c.token == mine))
            if known is None:
                text = f"{actor} purged {gone} events before {before:.0f}"
                detail = {"before": before, "events": gone}
                record = Event(at=at, kind=PURGE, actor=actor, address=address, text=text, detail=detail, token=mine)
                write_events(connection, self._tables, [record])
            return gone

        return self._database.write("purge events", work)
