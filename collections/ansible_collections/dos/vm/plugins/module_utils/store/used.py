# SPDX-License-Identifier: GPL-3.0-or-later
"""What projects used of their quotas when the site was last made so: who is over a limit that was lowered keeps that (QUOTA-06)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._sql import sa
from .engine import Database
from .tables import Tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


class Used:
    """The table of that name."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._table = database, tables.used

    def read(self) -> dict[tuple[str, str], int]:
        """Amounts by project and quota; bytes where it is a size."""
        query = sa.select(self._table.c.project, self._table.c.quota, self._table.c.amount)
        return self._database.read(
            "read what projects used",
            lambda connection: {(project, quota): int(amount) for project, quota, amount in connection.execute(query)},
        )

    def keep(self, used: Mapping[tuple[str, str], int], *, at: float) -> None:
        """Write down what is used now; of projects that are not in it nothing is kept."""
        rows = [
            {"project": project, "quota": quota, "amount": amount, "at": at}
            for (project, quota), amount in used.items()
        ]

        def work(connection: Connection) -> None:
            connection.execute(self._table.delete())
            if rows:
                connection.execute(self._table.insert(), rows)

        if used != self.read():
            self._database.write("write down what projects use", work)
