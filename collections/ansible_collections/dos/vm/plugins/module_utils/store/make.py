# SPDX-License-Identifier: GPL-3.0-or-later
"""The database that a store is to be in, with a user for it: made on a MariaDB server by its administrator (DB-01 … DB-03)."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from ..errors import DeclarationError, StoreError
from ._sql import require_sql, sa
from .url import SERVERS, shown

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

ADMINISTRATOR = "dos_store_administrator"
EXAMPLE = "mysql+pymysql://root:PASSWORD@HOST/"


def administrator(text: str) -> URL:
    """Who may make databases, by URL. Raises `DeclarationError`; the message never quotes it."""
    require_sql()
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise DeclarationError.at(
            ADMINISTRATOR, f"is not a URL, write {EXAMPLE} (what is there is not shown)"
        ) from None
    if url.drivername not in SERVERS or not url.host:
        raise DeclarationError.at(ADMINISTRATOR, f"is not a server, write {EXAMPLE}")
    return url.update_query_dict({"charset": "utf8mb4"})


def make_database(by: URL, wanted: URL, *, clients: str = "%", dry_run: bool = False) -> list[str]:
    """Make what is missing of the database, its user and the user's rights; sentences that say what was, or would be, done.

    A user that is there is used as it is, whatever its password. `clients` are the addresses it may come from, as MariaDB
    writes them. Raises `StoreError` for a server that does not answer, or that refuses.
    """
    name, user, password = str(wanted.database), str(wanted.username or ""), str(wanted.password or "")
    if not user:
        raise DeclarationError.at("dos_store", "names no user, write mysql+pymysql://USER:PASSWORD@HOST/DATABASE")
    engine = sa.create_engine(by.set(database=None), connect_args={"connect_timeout": 10}, hide_parameters=True)
    try:
        with closing(engine.connect()) as connection:
            return [
                sentence
                for sentence, missing, statements in _steps(connection, name, user, password, clients)
                if missing and (dry_run or _done(connection, statements))
            ]
    except sa.exc.DBAPIError as refused:
        parts = refused.orig.args if refused.orig is not None else ()
        text = str(parts[-1] if parts else type(refused).__name__)
        raise StoreError(
            f"make {shown(wanted)} by {shown(by)}", text.replace(password, "***") if password else text
        ) from None
    finally:
        engine.dispose()


Step = tuple[str, bool, list[tuple[str, dict[str, str]]]]


def _steps(connection: Connection, name: str, user: str, password: str, clients: str) -> list[Step]:
    who = {"user": user, "clients": clients}
    # An underscore in what is granted stands for any letter.
    database, granted = f"`{name.replace('`', '``')}`", f"`{name.replace('`', '``').replace('_', chr(92) + '_')}`"
    there = "SELECT 1 FROM information_schema.schemata WHERE schema_name = :name"
    known = "SELECT 1 FROM mysql.user WHERE user = :user AND host = :clients"
    allowed = "SELECT 1 FROM mysql.db WHERE user = :user AND host = :clients AND replace(db, :escape, '') = :name AND create_priv = 'Y'"
    return [
        (
            f"database {name} has been made",
            not _found(connection, there, {"name": name}),
            [(f"CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4", {})],
        ),
        (
            f"user {user}@{clients} has been made",
            not _found(connection, known, who),
            [("CREATE USER IF NOT EXISTS :user@:clients IDENTIFIED BY :password", {**who, "password": password})],
        ),
        (
            f"user {user}@{clients} has been granted database {name}",
            not _found(connection, allowed, {**who, "name": name, "escape": "\\"}),
            [(f"GRANT ALL ON {granted}.* TO :user@:clients", who)],
        ),
    ]


def _found(connection: Connection, query: str, values: dict[str, str]) -> bool:
    return connection.execute(sa.text(query), values).scalar() is not None


def _done(connection: Connection, statements: list[tuple[str, dict[str, Any]]]) -> bool:
    for statement, values in statements:
        connection.execute(sa.text(statement), values)
    connection.commit()
    return True
