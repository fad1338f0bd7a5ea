# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy hosts were, from samples: one a period and host, read by host and time, forgotten up to a time (HOST-06 … HOST-08)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from ._sql import sa
from .engine import Database
from .events import PURGE, Event, write_events
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

DAY = 86_400.0  # what is older says nothing of now
MOST = 10_000  # rows of one answer, as MON-06 has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A host at a moment: percents, and the bytes that its network cards have carried since its boot."""

    host: str
    at: float
    cpu: int
    memory: int
    disk: int | None = None  # nothing where it has no pool
    traffic: int | None = None
    boot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A load with what its network cards carried since the sample before, in bytes a second; nothing for the first of a boot."""

    load: Load
    network: float | None = None


class Loads:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._tables, self._table = database, tables, tables.loads

    def sample(self, loads: Iterable[Load], *, every: float) -> None:
        """Add how busy hosts are, where the last sample of a host is older than a period of seconds (SYS-T1.4)."""
        new = {load.host: load for load in loads}

        def work(connection: Connection) -> None:
            # Only what is young: there may be years of it.
            young = self._table.c.at > _oldest(new.values()) - every
            last = {host: at for host, at in connection.execute(_newest(self._table).where(young))}
            rows = [asdict(load) for host, load in sorted(new.items()) if load.at >= last.get(host, -every) + every]
            if rows:
                connection.execute(self._table.insert(), rows)

        if new:
            self._database.write("write down how busy hosts are", work)

    def read(self, *, host: str | None = None, since: float | None = None, until: float | None = None) -> list[Moment]:
        """By host and time, the newest `MOST` at most. Nothing: the host did not run then, or it was forgotten (HOST-07)."""
        held = self._table.c
        filters = [
            host is not None and held.host == host,
            since is not None and held.at >= since,
            until is not None and held.at < until,
        ]
        query = sa.select(self._table).where(*(one for one in filters if one is not False))
        query = query.order_by(held.at.desc(), held.host).limit(MOST)
        rows = self._database.read(
            "read how busy hosts were", lambda connection: list(connection.execute(query).mappings())
        )
        loads = sorted((Load(**row) for row in rows), key=lambda load: (load.host, load.at))
        return [moment for _, held_ in groupby(loads, key=lambda load: load.host) for moment in _rated(list(held_))]

    def boots(self) -> dict[str, str]:
        """The last boot that is known of each host."""
        newest = _newest(self._table).subquery()
        held = self._table.c
        query = sa.select(held.host, held.boot).join(
            newest, sa.and_(held.host == newest.c.host, held.at == newest.c.at)
        )
        rows = self._database.read("read the boots of hosts", lambda connection: list(connection.execute(query)))
        return {host: boot for host, boot in rows if boot}

    def since_last(self, now: Iterable[Load]) -> dict[str, Moment]:
        """What hosts carry now, by host: measured from the last sample before."""
        held, now = self._table.c, list(now)
        before = sa.and_(held.at < _oldest(now), held.at > _oldest(now) - DAY)
        newest = _newest(self._table).where(before).subquery()
        query = sa.select(self._table).join(newest, sa.and_(held.host == newest.c.host, held.at == newest.c.at))
        rows = self._database.read(
            "read how busy hosts were", lambda connection: list(connection.execute(query).mappings())
        )
        last = {row["host"]: Load(**row) for row in rows}
        return {load.host: list(_rated([last[load.host], load]))[-1] for load in now if load.host in last}

    def purge(self, before: float, *, at: float, actor: str) -> int:
        """Forget what was before a time, and leave a record of that (HOST-08)."""
        mine = token()

        def work(connection: Connection) -> int:
            gone: int = connection.execute(self._table.delete().where(self._table.c.at < before)).rowcount
            events = self._tables.events
            if connection.scalar(sa.select(events.c.id).where(events.c.token == mine)) is None:
                text = f"{actor} purged {gone} loads of hosts before {before:.0f}"
                write_events(connection, self._tables, [Event(at=at, kind=PURGE, actor=actor, text=text, token=mine)])
            return gone

        return self._database.write("forget how busy hosts were", work)


def _newest(table: Any) -> Any:
    """The time of each host's last sample."""
    return sa.select(table.c.host, sa.func.max(table.c.at).label("at")).group_by(table.c.host)


def _oldest(loads: Iterable[Load]) -> float:
    return min((load.at for load in loads), default=0.0)


def _rated(loads: list[Load]) -> Iterator[Moment]:
    if loads:
        yield Moment(load=loads[0])
    for before, now in pairwise(loads):
        counts = before.traffic is not None and now.traffic is not None and before.boot == now.boot
        carried = (now.traffic or 0) - (before.traffic or 0)
        yield Moment(load=now, network=carried / (now.at - before.at) if counts and carried >= 0 else None)
