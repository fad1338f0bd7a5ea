# SPDX-License-Identifier: GPL-3.0-or-later
"""Why VMs of a host may be started elsewhere. That a host is unreachable is no evidence; these are (section 6 of the architecture).

Evidence is about one installed system, by its identity. It counts until that system answers again, and never for another
system that has the same name since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ._sql import sa
from .engine import Database
from .hosts import HostRecord, host_records
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Kind = Literal["lease_expired", "power_off", "confirmation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A host runs nothing: its storage lease ran out, its power was read back off, or a person confirmed it.

    `at` is the database's time, `boot` the last boot that is known of the system.
    """

    host: str
    kind: Kind
    at: float
    identity: str | None = None
    boot: str | None = None
    actor: str | None = None
    detail: Any = None
    token: str = field(default_factory=token)


def dead(evidence: Iterable[Evidence], records: Iterable[HostRecord]) -> dict[str, Evidence]:
    """The evidence that counts, by the name that its host has now: newer than the last sign of life of the same system.

    Pure. A system without a record has not answered since; then the name must not have become another's.
    """
    by_identity: Mapping[str, HostRecord] = {record.uuid: record for record in records}
    names = {record.name for record in by_identity.values()}
    found: dict[str, Evidence] = {}
    for held in sorted(evidence, key=lambda held: held.at):
        record = by_identity.get(held.identity or "")
        if record is not None and (record.answered is None or record.answered < held.at):
            found[record.name] = held
        elif record is None and held.host not in names:
            found[held.host] = held
    return found


def dead_hosts(connection: Connection, tables: Tables) -> dict[str, Evidence]:
    """The same, of a store as it is inside a transaction."""
    rows = connection.execute(sa.select(tables.evidence)).mappings()
    return dead(map(_evidence, rows), host_records(connection, tables))


def write_evidence(connection: Connection, tables: Tables, evidence: Evidence) -> None:
    """Write evidence inside the transaction of what rests on it, once however often that is tried."""
    known = connection.scalar(sa.select(tables.evidence.c.id).where(tables.evidence.c.token == evidence.token))
    if known is None:
        connection.execute(tables.evidence.insert(), asdict(evidence))


class Proofs:
    """The table `evidence`."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._tables, self._table = database, tables, tables.evidence

    def write(self, evidence: Evidence) -> None:
        self._database.write(
            "write down evidence", lambda connection: write_evidence(connection, self._tables, evidence)
        )

    def dead(self) -> dict[str, Evidence]:
        """The hosts that run nothing, as far as evidence says, with the newest."""
        return self._database.read("read the evidence", lambda connection: dead_hosts(connection, self._tables))

    def of(self, host: str, since: float = 0.0) -> list[Evidence]:
        """The evidence about a host from a time on, the newest first."""
        held = self._table.c
        query = (
            sa.select(self._table).where(held.host == host, held.at >= since).order_by(held.at.desc(), held.id.desc())
        )
        rows = self._database.read("read the evidence", lambda connection: list(connection.execute(query).mappings()))
        return [_evidence(row) for row in rows]


def _evidence(row: Any) -> Evidence:
    return Evidence(**{name: value for name, value in row.items() if name != "id"})
