# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to SQLite and MariaDB that behave alike: one writer at a time sees what it changes, and a lost one is tried again."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from ..errors import StoreError
from ._sql import sa
from .url import shown

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine

T = TypeVar("T")

ATTEMPTS = 8  # over some five seconds: a server that is started anew is back
CUT_OFF = 1047  # a node of Galera that has lost the others
PATIENCE = 30  # seconds that a writer waits for another
# What MariaDB and its driver say of something that may be over in a moment.
AGAIN = frozenset(
    [
        1205,  # a lock that was waited for too long
        1213,  # deadlock; also what a node of Galera says when another took the same row
        CUT_OFF,
        1040, 1053, 1317, 1927,  # too many connections, shutting down, interrupted, killed
        2003, 2006, 2013, 2055,  # cannot connect, has gone away, lost while asking
    ]
)  # fmt: skip


class Database:
    """A store's database. Every access is one transaction, `work(connection)`, which is done wholly or not at all."""

    def __init__(self, url: URL, *, write: bool = True) -> None:
        self.url, self._write = url, write
        self.name = shown(url)
        self._engine = _sqlite(url, write=write) if url.drivername == "sqlite" else _server(url)

    @property
    def is_file(self) -> bool:
        return self.url.drivername == "sqlite"

    def exists(self) -> bool:
        """Whether there is a file; a server's database is asked when it is used."""
        return not self.is_file or Path(str(self.url.database)).exists()

    def read(self, operation: str, work: Callable[[Connection], T]) -> T:
        """What `work` returns of one consistent state. Raises `StoreError`."""
        return self._attempted(operation, work, write=False)

    def write(self, operation: str, work: Callable[[Connection], T]) -> T:
        """What `work` returns, its changes kept. Raises `StoreError`.

        It is called again where the connection was lost or another writer was in the way. When the connection goes while the
        changes are being kept nobody can tell whether they were, so `work` must recognise its own changes.
        """
        return self._attempted(operation, work, write=True)

    @contextmanager
    def alone(self, operation: str, name: str, patience: int) -> Iterator[None]:
        """Nobody else who asks for the same name is at work meanwhile. For what is more than one transaction, as new tables
        are for MariaDB; SQLite's writers are alone anyway."""
        if self.is_file:
            yield
            return
        try:
            connection = self._engine.connect()
            got = connection.execute(sa.text("SELECT GET_LOCK(:name, :patience)"), {"name": name, "patience": patience})
            if got.scalar() != 1:
                text = f"somebody else has been at it for {patience} s"
                raise StoreError(f"{operation} in {self.name}", text, retryable=True)
        except sa.exc.DBAPIError as refused:
            raise StoreError(f"{operation} in {self.name}", _text(refused), retryable=_passes(refused)) from None
        try:
            yield
        finally:
            connection.invalidate()  # the lock goes with its connection, whatever state that is in
            connection.close()

    def close(self) -> None:
        self._engine.dispose()

    def _attempted(self, operation: str, work: Callable[[Connection], T], *, write: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._engine.connect().execution_options(dos_write=write) as connection, connection.begin():
                    return work(connection)
            except sa.exc.DBAPIError as refused:
                if attempt == ATTEMPTS or not _passes(refused):
                    raise StoreError(
                        f"{operation} in {self.name}", _text(refused), retryable=_passes(refused)
                    ) from None
            # By chance, so that two that met do not meet again.
            time.sleep(random.uniform(0.5, 1.0) * min(2.0, 0.05 * 2**attempt))
        raise AssertionError("the last attempt returns or raises")


def _passes(refused: sa.exc.DBAPIError) -> bool:
    """Whether the same may well work a moment later."""
    code = refused.orig.args[0] if refused.orig is not None and refused.orig.args else None
    return refused.connection_invalidated or code in AGAIN or "database is locked" in str(refused.orig)


def _text(refused: sa.exc.DBAPIError) -> str:
    """What the database said, without the statement and its values."""
    parts = refused.orig.args if refused.orig is not None else ()
    return str(parts[-1]) if parts else type(refused).__name__


def _sqlite(url: URL, *, write: bool) -> Engine:
    path = Path(str(url.database))
    if write:
        _make_file(path)
    else:
        url = url.set(database=f"file:{quote(str(path))}").update_query_dict({"mode": "ro", "uri": "true"})
    engine = sa.create_engine(url, connect_args={"timeout": PATIENCE}, poolclass=sa.pool.NullPool)

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        # Python's driver opens transactions when it thinks fit; we say when, below.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begins(connection: Connection) -> None:
        # A reader that turns writer may find another writer there and must give up; one that says so at once only waits.
        immediate = connection.get_execution_options().get("dos_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _make_file(path: Path) -> None:
    """An empty file that only its owner may read, in a folder that git leaves alone."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, mode=0o700)
            (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as refused:
        text = f"{refused.strerror}; write dos_store: sqlite:////PATH of a file that you may write, or dos_store: none"
        raise StoreError(f"make the store {path}", text) from None


def _server(url: URL) -> Engine:
    """MariaDB. Several hosts, `db1,db2`, are tried in this order: one is written to, the others stand by (Galera)."""
    hosts = (url.host or "").split(",")
    engine = sa.create_engine(
        url.set(host=hosts[0]),
        isolation_level="READ COMMITTED",
        pool_size=2,  # DMN-T1.8
        pool_pre_ping=True,
        pool_recycle=3600,
        connect_args={"connect_timeout": 10},
    )

    @sa.event.listens_for(engine, "do_connect")
    def connects(dialect: Any, record: object, arguments: list[Any], named: dict[str, Any]) -> Any:
        for host in hosts[:-1]:
            try:
                connection = dialect.connect(*arguments, **{**named, "host": host})
            except dialect.loaded_dbapi.OperationalError:
                continue
            if _serves(connection):
                return connection
            connection.close()
        return dialect.connect(*arguments, **{**named, "host": hosts[-1]})

    @sa.event.listens_for(engine, "handle_error")
    def refused(context: Any) -> None:
        # A node that has lost the others goes on answering; the next connection is to be another node's.
        if context.original_exception.args[:1] == (CUT_OFF,):
            context.is_disconnect = True

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        with connection.cursor() as cursor:
            # Of a local time with summer time one hour of the year is there twice, and the server's clock jumps (`clock`).
            cursor.execute("SET SESSION time_zone = '+00:00'")
            cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
            if (cursor.fetchone() or ("", "OFF"))[1] == "ON":
                # A node of Galera answers reads from what it has applied; this makes it catch up first.
                cursor.execute("SET SESSION wsrep_sync_wait = 1")

    return engine


def _serves(connection: Any) -> bool:
    """Whether a server may be asked: a node of Galera that is not of the majority answers, and refuses everything."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'wsrep_ready'")
        return bool((cursor.fetchone() or ("", "ON"))[1] == "ON")
