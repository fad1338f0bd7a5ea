# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a store is (DB-04): checked, and shown without its password."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DeclarationError
from ._sql import require_sql, sa

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PATH = "dos_store"
SERVERS = frozenset(["mysql+pymysql", "mariadb+pymysql"])
EXAMPLES = "sqlite:////var/lib/dos-vm/store.sqlite or mysql+pymysql://USER:PASSWORD@HOST/DATABASE"
FOLDER = ".dos-vm"  # beside an inventory; Ansible does not look into folders that begin with a dot


def parse(text: str) -> URL:
    """The URL of a store. Raises `DeclarationError` for one that is none of ours; the message never quotes it."""
    require_sql()
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise DeclarationError.at(PATH, f"is not a URL, write {EXAMPLES} (what is there is not shown)") from None
    if url.drivername == "sqlite":
        if not Path(url.database or "").is_absolute():
            raise DeclarationError.at(
                PATH, "needs a file by its absolute path, write sqlite:////PATH, with four slashes"
            )
        return url
    if url.drivername not in SERVERS:
        raise DeclarationError.at(PATH, f"{url.drivername} is not an engine of the store, write {EXAMPLES}")
    if not url.host or not url.database:
        raise DeclarationError.at(
            PATH, "needs a host and a database, write mysql+pymysql://USER:PASSWORD@HOST/DATABASE"
        )
    return url.update_query_dict({"charset": "utf8mb4"})


def shown(url: URL) -> str:
    """The URL as it may be read by anybody: no password, and nothing of the query, which may hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


def beside(inventory: Path, site: str) -> str:
    """The store of a site that names none: an SQLite file beside its inventory."""
    require_sql()
    path = inventory.resolve() / FOLDER / f"{site}.sqlite"
    return sa.URL.create("sqlite", database=str(path)).render_as_string()
