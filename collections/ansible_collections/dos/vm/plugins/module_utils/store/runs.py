# SPDX-License-Identifier: GPL-3.0-or-later
"""How long machines ran with how many processors, from samples (QUOTA-05): what was seen running at both ends of a gap ran in it."""

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

AHEAD = 2 * 86_400.0  # by more than that no clock was wrong before: it is wrong now, and nothing is corrected by it
GAP = 900.0  # seconds between two samples that count as one run when nothing else says whether it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A machine that was seen running. `run` is a word that changes with every start, where the host can tell one."""

    vm: str
    project: str
    host: str
    vcpus: int
    memory: int
    run: str | None = None


class Runs:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._table, self._meta = database, tables.runs, tables.meta

    def sample(self, running: Iterable[Running], hosts: Iterable[str], *, at: float, gap: float = GAP) -> None:
        """Add what is running on the hosts that answered. Samples may come from anywhere, twice, and late.

        None counts later than the database's time, so no clock of a controller adds time that has not passed. What was seen in
        the future, before the clock was set right, is corrected by the next sample.
        """
        seen, answered = {held.vm: held for held in running}, frozenset(hosts)

        def work(connection: Connection) -> None:
            here = now(connection)
            at_ = min(at, here)
            # Writers take turns by this row, whichever engine it is.
            turn = self._meta.update().where(self._meta.c.name == "metered").values(value=repr(at_))
            connection.execute(turn)
            held = self._table.c
            open_runs = held.ended.is_(None)
            ahead = sa.and_(open_runs, held.seen > here, held.started <= here + AHEAD)
            begun = sa.case((held.started > here, here), else_=held.started)
            connection.execute(self._table.update().where(ahead).values(started=begun, seen=here))
            open_ = {
                row["vm"]: dict(row) for row in connection.execute(sa.select(self._table).where(open_runs)).mappings()
            }
            new, longer, over = _sorted_out(seen, open_, answered, at_, gap)
            for ids, values in ((longer, {"seen": at_}), (over, {"ended": self._table.c.seen})):
                if ids:
                    mine = self._table.c.id == sa.bindparam("run_id")
                    connection.execute(
                        self._table.update().where(mine).values(values), [{"run_id": one} for one in ids]
                    )
            if new:
                connection.execute(self._table.insert(), new)

        self._database.write("meter what runs", work)

    def vcpu_seconds(self) -> dict[str, float]:
        """Processor seconds by project, over all runs, as far as they have passed by the database's time."""
        held = self._table.c

        def work(connection: Connection) -> dict[str, float]:
            here = now(connection)
            until = sa.case((held.seen > here, here), else_=held.seen)
            query = sa.select(held.project, sa.func.sum(held.vcpus * (until - held.started)))
            rows = connection.execute(query.where(held.started <= here).group_by(held.project))
            return {project: float(seconds) for project, seconds in rows}

        return self._database.read("add up what ran", work)


def _sorted_out(
    seen: Mapping[str, Running], open_: Mapping[str, Mapping[str, Any]], answered: frozenset[str], at: float, gap: float
) -> tuple[list[dict[str, Any]], list[int], list[int]]:
    """Runs that begin, go on, and have ended. One on a host that did not answer is left open: nobody knows."""
    new: list[dict[str, Any]] = []
    longer: list[int] = []
    over: list[int] = []
    for vm, row in open_.items():
        now = seen.get(vm)
        if now is not None and _same(now, row, at, gap):
            longer += [row["id"]] if at > row["seen"] else []
        elif now is not None or row["host"] in answered:
            over.append(row["id"])
    ended = set(over)
    for vm, now in seen.items():
        if vm not in open_ or open_[vm]["id"] in ended:
            new.append(
                {
                    "vm": vm,
                    "project": now.project,
                    "host": now.host,
                    "vcpus": now.vcpus,
                    "memory": now.memory,
                    "run": now.run,
                    "started": at,
                    "seen": at,
                    "ended": None,
                }
            )
    return new, longer, over


def _same(now: Running, row: Mapping[str, Any], at: float, gap: float) -> bool:
    """Whether a machine went on running as it was. A run's own word bridges any gap."""
    as_was = all(getattr(now, name) == row[name] for name in ("host", "vcpus", "memory", "project", "run"))
    return as_was and (now.run is not None or at - row["seen"] <= gap)
