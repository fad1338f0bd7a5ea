# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store this is, and how far it has come: by that hosts recognise one that was restored from an old backup.

The identity is made once. The generation grows with every change of a VM's host, and by a recovery past all that hosts noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..model.host import StoreState
from ._sql import sa
from .engine import Database
from .schema import IDENTITY
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

RAISED = "raised"  # a row of `meta`, beside the identity
Notes = Iterable[tuple[str, StoreState]]  # hosts, and what each noted of the store of this site


class Lineage:
    """The rows of `meta` that say so, and the sum of the epochs."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database, self._meta = database, tables.meta
        self._placements, self._hosts = tables.placements, tables.hosts

    def read(self) -> StoreState | None:
        """The state now; nothing of a store that has no identity yet."""
        return self._database.read("look how far the store has come", self._state)

    def known(self) -> StoreState:
        """The state now; the store gets its identity where it has none."""

        def work(connection: Connection) -> StoreState | None:
            if (found := self._state(connection)) is None:
                connection.execute(self._meta.insert(), {"name": IDENTITY, "value": token()})
            return found or self._state(connection)

        try:
            found = self.read() or self._database.write("give the store its identity", work)
        except sa.exc.IntegrityError:  # another controller was faster
            found = self.read()
        assert found is not None
        return found

    def raise_above(self, notes: Notes) -> bool:
        """Come further than all that hosts noted of this store; whether it was behind.

        If so, no host counts as compared with the placements any more: the placements are older than that comparison may be.
        """

        def work(connection: Connection) -> bool:
            found = self._state(connection)
            highest = max((state.generation for _, state in _ahead(found, notes_)), default=None)
            if highest is None:
                return False
            if found is None:
                connection.execute(self._meta.insert(), {"name": IDENTITY, "value": token()})
                found = StoreState(id="", generation=0)
            raised = self._rows(connection).get(RAISED)
            value = int(raised or 0) + highest + 1 - found.generation
            mine = self._meta.c.name == RAISED
            if raised is None:
                connection.execute(self._meta.insert(), {"name": RAISED, "value": str(value)})
            else:
                connection.execute(self._meta.update().where(mine).values(value=str(value)))
            connection.execute(self._hosts.update().values(surveyed=None))
            return True

        notes_ = list(notes)
        return self._database.write("come further than the hosts noted", work)

    def _rows(self, connection: Connection) -> Mapping[str, str]:
        rows = connection.execute(sa.select(self._meta).where(self._meta.c.name.in_([IDENTITY, RAISED])))
        return {name: value for name, value in rows}

    def _state(self, connection: Connection) -> StoreState | None:
        rows = self._rows(connection)
        if IDENTITY not in rows:
            return None
        come = connection.scalar(sa.select(sa.func.sum(self._placements.c.epoch)))
        return StoreState(id=rows[IDENTITY], generation=int(come or 0) + int(rows.get(RAISED) or 0))


def refuse_older(name: str, state: StoreState | None, notes: Notes) -> None:
    """Raises `StoreError` where a host has seen this store further than it is: what was placed since is not in it."""
    for host, seen in _ahead(state, notes):
        here = "without a generation" if state is None else f"generation {state.generation}"
        text = (
            f"it is older than what host {host} has seen of it ({here}, and {seen.generation} there):"
            " it was restored from a backup, and VMs that were placed since are not in it; run dos.vm.recover, then this again"
        )
        raise StoreError(f"use the store {name}", text)


def _ahead(state: StoreState | None, notes: Notes) -> list[tuple[str, StoreState]]:
    """The notes that are further. A store without an identity is of a time before hosts noted any: every note is."""
    if state is None:
        return list(notes)
    return [(host, seen) for host, seen in notes if seen.id == state.id and seen.generation > state.generation]
