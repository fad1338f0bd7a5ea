# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy hosts were, from samples: one a period and host, read by host and time, forgotten up to a time (HOST-06 … HOST-08)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from ._sql import sa
from .clock import now
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


class History(list[Moment]):
    """Moments by host and time. `cut` is whether older ones are left out, for there are more than `MOST`."""

    cut = False


class Loads:
    """The table of that name. Samples are at the database's time at the latest: no clock of a controller writes into the future."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._tables, self._table = database, tables, tables.loads

    def sample(self, loads: Iterable[Load], *, every: float) -> None:
        """Add how busy hosts are, where a host has no other sample within a period of seconds (SYS-T1.4)."""
        given, held = {load.host: load for load in loads}, self._table.c

        def work(connection: Connection) -> None:
            at = now(connection)
            new = {host: replace(load, at=min(load.at, at)) for host, load in given.items()}
            # Only what is near: there may be years of it. What is in the future, of a clock that was wrong, is not near.
            near = held.at.between(_oldest(new.values()) - every, max(load.at for load in new.values()) + every)
            known: defaultdict[str, list[float]] = defaultdict(list)
            for host, found in connection.execute(sa.select(held.host, held.at).where(near)):
                known[host].append(found)
            rows = [
                asdict(load)
                for host, load in sorted(new.items())
                if all(abs(load.at - other) >= every for other in known[host])
            ]
            if rows:
                connection.execute(self._table.insert(), rows)

        if given:
            self._database.write("write down how busy hosts are", work)

    def read(
        self, *, host: str | None = None, name: str = "", since: float | None = None, until: float | None = None
    ) -> History:
        """By host and time, the newest `MOST` at most, of one host or of those with `name` in their name.

        Nothing: the host did not run then, or it was forgotten (HOST-07). What is in the future is left out.
        """
        held = self._table.c
        filters = [
            host is not None and held.host == host,
            bool(name) and sa.func.instr(held.host, name) > 0,
            since is not None and held.at >= since,
            until is not None and held.at < until,
        ]
        query = sa.select(self._table).where(*(one for one in filters if one is not False))
        query = query.order_by(held.at.desc(), held.host).limit(MOST + 1)

        def work(connection: Connection) -> list[Load]:
            return [Load(**row) for row in connection.execute(query.where(held.at <= now(connection))).mappings()]

        found = self._database.read("read how busy hosts were", work)
        loads = sorted(found[:MOST], key=lambda load: (load.host, load.at))
        history = History(one for _, of in groupby(loads, key=lambda load: load.host) for one in _rated(list(of)))
        history.cut = len(found) > MOST
        return history

    def boots(self) -> dict[str, str]:
        """The last boot that is known of each host."""
        held = self._table.c

        def work(connection: Connection) -> dict[str, str]:
            newest = _newest(self._table).where(held.at <= now(connection)).subquery()
            same = sa.and_(held.host == newest.c.host, held.at == newest.c.at)
            query = sa.select(held.host, held.boot).join(newest, same)
            return {host: boot for host, boot in connection.execute(query) if boot}

        return self._database.read("read the boots of hosts", work)

    def since_last(self, loads: Iterable[Load]) -> dict[str, Moment]:
        """What hosts carry now, by host: measured from the last sample before."""
        held, given = self._table.c, list(loads)

        def work(connection: Connection) -> dict[str, Moment]:
            at = now(connection)
            new = [replace(load, at=min(load.at, at)) for load in given]
            before = sa.and_(held.at < _oldest(new), held.at > _oldest(new) - DAY)
            newest = _newest(self._table).where(before).subquery()
            query = sa.select(self._table).join(newest, sa.and_(held.host == newest.c.host, held.at == newest.c.at))
            last = {row["host"]: Load(**row) for row in connection.execute(query).mappings()}
            return {load.host: list(_rated([last[load.host], load]))[-1] for load in new if load.host in last}

        return self._database.read("read how busy hosts were", work)

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
    for before, after in pairwise(loads):
        counts = before.traffic is not None and after.traffic is not None and before.boot == after.boot
        carried = (after.traffic or 0) - (before.traffic or 0)
        yield Moment(load=after, network=carried / (after.at - before.at) if counts and carried >= 0 else None)
