# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLAlchemy, imported in one place and guarded: documentation is built and modules are checked on machines without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MissingLibraryError

if TYPE_CHECKING:
    import sqlalchemy as sa
else:
    try:
        import sqlalchemy as sa
    except ImportError:
        sa = None


def require_sql() -> None:
    """Raise `MissingLibraryError` where the controller lacks what the store stands on."""
    if sa is None:
        raise MissingLibraryError(
            "the controller's Python lacks SQLAlchemy: install sqlalchemy, alembic and, for MariaDB, PyMySQL from PyPI, or"
            " write dos_store: none"
        )


__all__ = ["require_sql", "sa"]
