# SPDX-License-Identifier: GPL-3.0-or-later
"""How long machines ran with how many processors, from samples (QUOTA-05): what was seen running at both ends of a gap ran in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._sql import sa
from .engine import Database
from .tables import Tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

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
        """Add what is running on the hosts that answered. Samples may come from anywhere, twice, and late."""
        seen, answered = {held.vm: held for held in running}, frozenset(hosts)

        def work(connection: Connection) -> None:
            # Writers take turns by this row, whichever engine it is.
            turn = self._meta.update().where(self._meta.c.name == "metered").values(value=repr(at))
            connection.execute(turn)
            open_ = {
                row["vm"]: dict(row)
                for row in connection.execute(sa.select(self._table).where(self._table.c.ended.is_(None))).mappings()
            }
            new, longer, over = _sorted_out(seen, open_, answered, at, gap)
            for ids, values in ((longer, {"seen": at}), (over, {"ended": self._table.c.seen})):
                if ids:
                    mine = self._table.c.id == sa.bindparam("run_id")
                    connection.execute(
                        self._table.update().where(mine).values(values), [{"run_id": one} for one in ids]
                    )
            if new:
                connection.execute(self._table.insert(), new)

        self._database.write("meter what runs", work)

    def vcpu_seconds(self) -> dict[str, float]:
        """Processor seconds by project, over all runs."""
        held = self._table.c
        query = sa.select(held.project, sa.func.sum(held.vcpus * (held.seen - held.started))).group_by(held.project)
        return self._database.read(
            "add up what ran", lambda connection: {project: float(sum_) for project, sum_ in connection.execute(query)}
        )


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
