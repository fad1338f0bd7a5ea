# SPDX-License-Identifier: GPL-3.0-or-later
"""The database's time, which is one for all who use it; those of hosts and controllers may differ.

On MariaDB a session is in UTC (`engine`). An SQLite file has the time of the controller that opens it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._sql import sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

CLOCKS = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
    "mariadb": "SELECT UNIX_TIMESTAMP(NOW(6))",
}


def now(connection: Connection) -> float:
    """Seconds since 1970."""
    return float(connection.execute(sa.text(CLOCKS[connection.dialect.name])).scalar_one())
