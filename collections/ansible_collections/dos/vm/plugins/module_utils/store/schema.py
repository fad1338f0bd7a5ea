# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version a store's tables have, and bringing them to the one this code wants.

The version is looked up by a query of our own: Alembic costs a fifth of a second to import, and is needed once in a store's
life with each version of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MissingLibraryError, StoreError
from ._sql import sa
from .engine import Database
from .tables import Tables
from .token import token

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

REVISIONS = (
    "r0001",
    "r0002",
    "r0003",
    "r0004",
    "r0005",
    "r0006",
    "r0007",
)  # oldest first; a test holds them to the files in migrations/
HEAD = REVISIONS[-1]
FOLDER = Path(__file__).with_name("migrations")
IDENTITY = "identity"  # the row of `meta` that says which store this is
LOCK = "dos.vm store"
PATIENCE = 60  # seconds to wait for another that upgrades


def version(database: Database) -> str | None:
    """The version of the tables; `None` where there are none. Raises `StoreError` for one from the future."""
    if not database.exists():
        return None
    found = database.read("look up the version of the tables", _version)
    if found is not None and found not in REVISIONS:
        raise StoreError(
            f"use the store {database.name}",
            f"its tables are of version {found}, and this dos.vm knows {HEAD} and older: it was upgraded by a newer dos.vm;"
            " upgrade this one, or use the newer",
        )
    return found


def upgrade(database: Database, site: str, *, to: str = HEAD) -> bool:
    """Make the tables, or bring them up to date; whether anything was to be done. One at a time does it, whoever asks."""
    if version(database) == to:
        return False
    operation = "bring the tables up to date"
    with database.alone(operation, LOCK, PATIENCE):
        database.write(operation, lambda connection: _upgrade(connection, site, to))
    return True


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection, site: str, to: str) -> None:
    try:
        from alembic.migration import MigrationContext
        from alembic.operations import Operations
        from alembic.script import ScriptDirectory
    except ImportError:
        raise MissingLibraryError("the controller's Python lacks Alembic: install alembic from PyPI") from None
    scripts = ScriptDirectory(str(FOLDER))
    context = MigrationContext.configure(
        connection, opts={"fn": lambda revision, context: scripts._upgrade_revs(to, revision)}
    )
    with Operations.context(context):
        context.run_migrations()
        _signed(connection, site)


def _signed(connection: Connection, site: str) -> None:
    """Write down whose store it is, and which, once. One that was made before stores had an identity gets it later."""
    meta = Tables().meta
    if connection.execute(sa.select(meta.c.value).where(meta.c.name == "site")).scalar() is None:
        rows = {"site": site, "metered": None, IDENTITY: token()}
        connection.execute(meta.insert(), [{"name": name, "value": value} for name, value in rows.items()])
