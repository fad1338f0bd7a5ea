# SPDX-License-Identifier: GPL-3.0-or-later
"""Where machines are: read as a whole, changed by compare-and-set, so that of two who place one machine exactly one does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..compile.memory import Placement
from ..errors import StoreError
from ._sql import sa
from .engine import Database
from .events import Event, write_events
from .evidence import Evidence, dead_hosts, write_evidence
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

MANY = 500  # names in one query
STATES = {False: "claimed", True: "seen"}
Lost = Mapping[str, Placement | None]


class _Overtaken(Exception):
    """Somebody else changed a row between our look and our write; the transaction is undone."""


class Placements:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._tables, self._table = database, tables, tables.placements
        self._left = tables.left_disks

    def all(self) -> dict[str, Placement]:
        """Every machine that was ever placed, by name."""
        query, left = sa.select(self._table), sa.select(self._left.c.vm, self._left.c.host)
        return self._database.read(
            "read the placements",
            lambda connection: dict(_placements(connection, query, dict(map(tuple, connection.execute(left))))),
        )

    def generation(self) -> int:
        """That of `Memory`, without reading them all."""
        query = sa.select(sa.func.sum(self._table.c.epoch))
        return self._database.read(
            "look how far placements have come", lambda connection: int(connection.scalar(query) or 0)
        )

    def claim(
        self,
        before: Mapping[str, Placement | None],
        after: Iterable[Placement],
        *,
        at: float,
        actor: str | None = None,
        evidence: Evidence | None = None,
        unreachable: Collection[str] = (),
    ) -> Lost:
        """Change placements from what they were `before` to what they shall be: all of them, or none.

        Returns those that are not as they were before, with what they are now; when there are any, nothing was changed.
        `evidence` is written with the change. A VM that was on one of the `unreachable` hosts and is not seen elsewhere goes
        away from there by evidence alone. Raises `StoreError` where there is none.
        """
        wanted = sorted(after, key=lambda placement: placement.vm)  # one order for all writers: no deadlock
        if not wanted and evidence is None:
            return {}
        mine = token()

        def work(connection: Connection) -> Lost:
            held = self._held(connection, [placement.vm for placement in wanted])
            if held and all(placement.vm in held and held[placement.vm][1] == mine for placement in wanted):
                return {}  # kept by an attempt whose connection went before it could say so
            lost = {
                placement.vm: held[placement.vm][0] if placement.vm in held else None
                for placement in wanted
                if _epoch(before.get(placement.vm)) != (held[placement.vm][0].epoch if placement.vm in held else 0)
            }
            if not lost:
                if evidence is not None:
                    write_evidence(connection, self._tables, evidence)
                self._demand_evidence(connection, before, wanted, unreachable)
                rows = [_row(placement, at, actor, mine) for placement in wanted]
                self._write(connection, rows, before)
                self._write_left(connection, wanted, before)
                write_events(connection, self._tables, _events(before, wanted, at, actor, mine))
            return lost

        while True:
            try:
                return self._database.write("change placements", work)
            except _Overtaken:
                continue  # the next look sees who was faster

    def _demand_evidence(
        self,
        connection: Connection,
        before: Mapping[str, Placement | None],
        wanted: Iterable[Placement],
        unreachable: Collection[str],
    ) -> None:
        left = {
            placement.vm: str(was.host)
            for placement in wanted
            if (was := before.get(placement.vm)) is not None
            and was.host in unreachable
            and placement.host != was.host
            and not placement.seen
        }
        known = dead_hosts(connection, self._tables) if left else {}
        listed = [f"{vm} is on {host}" for vm, host in left.items() if host not in known]
        if listed:
            text = f"{', '.join(listed)}, which is unreachable, and nothing is evidence that it runs nothing"
            raise StoreError("change placements", text)

    def _held(self, connection: Connection, names: Sequence[str]) -> dict[str, tuple[Placement, str]]:
        found: dict[str, tuple[Placement, str]] = {}
        rest = iter(names)
        while chunk := list(islice(rest, MANY)):
            rows = connection.execute(sa.select(self._table).where(self._table.c.vm.in_(chunk))).mappings()
            found.update({row["vm"]: (_placement(row), row["token"]) for row in rows})
        return found

    def _write(
        self, connection: Connection, rows: list[dict[str, Any]], before: Mapping[str, Placement | None]
    ) -> None:
        new = [row for row in rows if before.get(row["vm"]) is None]
        try:
            if new:
                connection.execute(self._table.insert(), new)
        except sa.exc.IntegrityError:
            raise _Overtaken from None
        changed = [{**row, "of": row["vm"], "was": held.epoch} for row in rows if (held := before.get(row["vm"]))]
        if changed:
            # One statement for all of them: the driver adds up the rows it found.
            was = sa.and_(self._table.c.vm == sa.bindparam("of"), self._table.c.epoch == sa.bindparam("was"))
            statement = self._table.update().where(was).values({name: sa.bindparam(name) for name in rows[0]})
            if connection.execute(statement, changed).rowcount != len(changed):
                raise _Overtaken

    def _write_left(
        self, connection: Connection, wanted: Iterable[Placement], before: Mapping[str, Placement | None]
    ) -> None:
        """Where VMs left their disks, of those of which that changes."""
        was = {vm: held.left for vm, held in before.items() if held is not None}
        changed = {placement.vm: placement.left for placement in wanted if placement.left != was.get(placement.vm)}
        if changed:
            connection.execute(self._left.delete().where(self._left.c.vm.in_(list(changed))))
        if rows := [{"vm": vm, "host": host} for vm, host in changed.items() if host is not None]:
            connection.execute(self._left.insert(), rows)


def _placements(connection: Connection, query: Any, left: Mapping[str, str]) -> Iterator[tuple[str, Placement]]:
    for row in connection.execute(query).mappings():
        yield row["vm"], _placement(row, left.get(row["vm"]))


def _placement(row: Any, left: str | None = None) -> Placement:
    return Placement(
        vm=row["vm"],
        host=row["host"],
        epoch=row["epoch"],
        seen=row["state"] == STATES[True],
        project=row["project"],
        left=left,
    )


def _row(placement: Placement, at: float, actor: str | None, mine: str) -> dict[str, Any]:
    return {
        "vm": placement.vm,
        "host": placement.host,
        "epoch": placement.epoch,
        "state": STATES[placement.seen],
        "project": placement.project,
        "since": at,
        "actor": actor,
        "token": mine,
    }


def _epoch(placement: Placement | None) -> int:
    return 0 if placement is None else placement.epoch


def _events(
    before: Mapping[str, Placement | None], wanted: Iterable[Placement], at: float, actor: str | None, mine: str
) -> Iterator[Event]:
    """What is worth telling: a machine that has another host than before."""
    for number, placement in enumerate(wanted):
        held = before.get(placement.vm)
        was = held.host if held is not None else None
        if was != placement.host:
            text = f"{placement.vm}: {was or 'nowhere'} → {placement.host or 'nowhere'}, epoch {placement.epoch}"
            yield Event(
                at=at, kind="placed", object=placement.vm, host=placement.host, actor=actor, text=text,
                token=f"{mine[:24]}{number:08x}",
            )  # fmt: skip
