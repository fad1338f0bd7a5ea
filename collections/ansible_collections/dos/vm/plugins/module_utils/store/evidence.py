# SPDX-License-Identifier: GPL-3.0-or-later
"""Why machines of a host may be started elsewhere. Silence is no proof; these are (section 6 of the architecture)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ._sql import sa
from .engine import Database
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Kind = Literal["lease_expired", "power_off", "word"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Proof that a host runs nothing: its storage lease ran out, its power was read back off, or a person signed for it."""

    host: str
    kind: Kind
    at: float
    actor: str | None = None
    detail: Any = None
    token: str = field(default_factory=token)


class Proofs:
    """The table `evidence`."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._table = database, tables.evidence

    def write(self, evidence: Evidence) -> None:
        def work(connection: Connection) -> None:
            mine = self._table.c.token == evidence.token
            if connection.scalar(sa.select(self._table.c.id).where(mine)) is None:
                connection.execute(self._table.insert(), asdict(evidence))

        self._database.write("write down a proof", work)

    def of(self, host: str, since: float = 0.0) -> list[Evidence]:
        """The proofs about a host from a time on, the newest first."""
        held = self._table.c
        query = (
            sa.select(self._table).where(held.host == host, held.at >= since).order_by(held.at.desc(), held.id.desc())
        )
        rows = self._database.read("read the proofs", lambda connection: list(connection.execute(query).mappings()))
        return [Evidence(**{name: value for name, value in row.items() if name != "id"}) for row in rows]
