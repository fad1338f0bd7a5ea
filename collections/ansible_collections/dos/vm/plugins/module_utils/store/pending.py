# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that are to be on and have no host: since when, and why by the last decision (SCHED-13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._sql import sa
from .engine import Database
from .tables import Tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


class Pending:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._table = database, tables.pending

    def since(self) -> dict[str, float]:
        """Since when each has been waiting."""
        query = sa.select(self._table.c.vm, self._table.c.since)
        return self._database.read(
            "read which machines wait",
            lambda connection: {vm: float(since) for vm, since in connection.execute(query)},
        )

    def keep(
        self, reasons: Mapping[str, str], *, at: float, untouched: frozenset[str] = frozenset()
    ) -> dict[str, float]:
        """Write down which machines wait now, and why; since when each of them has been waiting.

        Who waits no longer is forgotten, and begins anew the next time; `untouched` are VMs of which nothing is known now.
        """

        def work(connection: Connection) -> dict[str, float]:
            held = {
                row["vm"]: (float(row["since"]), row["reason"])
                for row in connection.execute(sa.select(self._table)).mappings()
            }
            over = [{"of": vm} for vm in held if vm not in reasons and vm not in untouched]
            changed = [{"of": vm, "why": why} for vm, why in reasons.items() if vm in held and held[vm][1] != why]
            mine = self._table.c.vm == sa.bindparam("of")
            if over:
                connection.execute(self._table.delete().where(mine), over)
            if changed:
                connection.execute(self._table.update().where(mine).values(reason=sa.bindparam("why")), changed)
            new = [{"vm": vm, "since": at, "reason": why} for vm, why in sorted(reasons.items()) if vm not in held]
            if new:
                connection.execute(self._table.insert(), new)
            return {vm: held[vm][0] if vm in held else at for vm in reasons}

        if not reasons and not self.since():
            return {}
        return self._database.write("write down which machines wait", work)
