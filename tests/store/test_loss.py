# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection that goes in the middle of a change: the change is made once, or not at all."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mariadb import PATIENCE, Server

from dosvm.compile.memory import Placement
from dosvm.errors import StoreError
from dosvm.store.engine import Database
from dosvm.store.events import Event
from dosvm.store.store import Store, open_store

WEB = Placement(vm="web-1", host="h1", epoch=1)


@pytest.fixture
def server_url(mariadb: Server) -> str:
    return mariadb.database(f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
def held(server_url: str) -> Iterator[Store]:
    with closing(open_store(server_url, site="lab")) as store:
        yield store


class Cut:
    """Ends the connection of a transaction at its n-th statement, or while it is being kept."""

    def __init__(self, mariadb: Server, monkeypatch: pytest.MonkeyPatch, at: int | str) -> None:
        self._mariadb, self._at, self.statements, self.cuts = mariadb, at, 0, 0
        real = Database.write

        def write(database: Database, operation: str, work: Callable[[Any], Any]) -> Any:
            return real(database, operation, lambda connection: self._work(connection, work))

        monkeypatch.setattr(Database, "write", write)

    def _work(self, connection: Any, work: Callable[[Any], Any]) -> Any:
        import sqlalchemy as sa

        mine = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()

        def before(*given: object) -> None:
            self.statements += 1
            if self.statements == self._at:
                self._kill(mine)

        sa.event.listen(connection, "before_cursor_execute", before)
        found = work(connection)
        if self._at == "commit" and not self.cuts:
            # The server keeps the change and its answer is lost: only the database knows.
            connection.exec_driver_sql("COMMIT")
            self._kill(mine)
        return found

    def _kill(self, connection: int) -> None:
        self.cuts += 1
        with self._mariadb.root() as root, root.cursor() as cursor:
            cursor.execute(f"KILL HARD CONNECTION {connection}")


@pytest.mark.parametrize("at", [1, 2, 3, "commit"])
def test_a_claim_is_made_once_whenever_the_connection_goes(
    held: Store, mariadb: Server, monkeypatch: pytest.MonkeyPatch, at: int | str
) -> None:
    cut = Cut(mariadb, monkeypatch, at)
    assert held.placements.claim({}, [WEB], at=1.0) == {}, "the writer took its own change for somebody else's"
    assert cut.cuts == 1, "the connection was never cut"
    assert held.placements.all() == {"web-1": WEB}
    assert len(held.events.read()) == 1


@pytest.mark.parametrize("at", [1, 2, "commit"])
def test_an_event_is_written_once_whenever_the_connection_goes(
    held: Store, mariadb: Server, monkeypatch: pytest.MonkeyPatch, at: int | str
) -> None:
    cut = Cut(mariadb, monkeypatch, at)
    held.events.write([Event(at=1.0, kind="login", actor="ada")])
    assert cut.cuts == 1
    assert [event.actor for event in held.events.read()] == ["ada"]


def test_two_writers_that_wait_for_each_other_both_come_through(server_url: str, held: Store) -> None:
    """InnoDB ends the wait by refusing one with 1213, which is also what Galera says to who was second; it is tried again."""
    from sqlalchemy import text

    from dosvm.store.url import parse

    held.placements.claim({}, [WEB, Placement(vm="web-2", host="h1", epoch=1)], at=1.0)
    both = threading.Barrier(2)
    refusals: list[int] = []

    def writer(order: list[str]) -> int:
        attempts = 0

        def work(connection: Any) -> None:
            nonlocal attempts
            attempts += 1
            for vm in order:
                try:
                    add = text("UPDATE placements SET epoch = epoch + 1 WHERE vm = :vm")
                    connection.execute(add, {"vm": vm})
                except Exception as refused:
                    refusals.append(refused.orig.args[0])
                    raise
                if attempts == 1 and vm == order[0]:
                    both.wait(timeout=PATIENCE)  # each has the row that the other one wants next

        with closing(Database(parse(server_url))) as database:
            database.write("change placements", work)
        return attempts

    with ThreadPoolExecutor(2) as pool:
        attempts = list(pool.map(writer, [["web-1", "web-2"], ["web-2", "web-1"]]))
    assert refusals == [1213]
    assert sorted(attempts) == [1, 2]
    assert {vm: one.epoch for vm, one in held.placements.all().items()} == {"web-1": 3, "web-2": 3}


def test_what_a_writer_did_before_its_connection_went_is_undone(held: Store, mariadb: Server) -> None:
    """Without trying again: half a transaction is nothing."""
    import pymysql

    url = held._database.url
    half = pymysql.connect(
        host=url.host, port=url.port, user=url.username, password=url.password, database=url.database
    )
    with half.cursor() as cursor:
        cursor.execute(
            "INSERT INTO placements (vm, host, epoch, state, since, token) VALUES ('x', 'h1', 1, 'seen', 0, '')"
        )
    half._force_close()
    assert held.placements.claim({}, [Placement(vm="x", host="h2", epoch=1)], at=1.0) == {}
    assert held.placements.all()["x"].host == "h2"


def test_a_server_that_comes_back_is_written_to_and_one_that_does_not_is_named(
    mariadb: Server, server_url: str, held: Store
) -> None:
    mariadb.stop(kill=True)
    back = threading.Timer(0.3, mariadb.start)
    back.start()
    try:
        assert held.placements.claim({}, [WEB], at=1.0) == {}
    finally:
        back.join()
    assert held.placements.all() == {"web-1": WEB}


def test_a_server_that_is_not_there_is_named_without_its_password(mariadb: Server) -> None:
    url = mariadb.url("nowhere").replace(f":{mariadb.port}/", ":1/")
    with pytest.raises(StoreError) as refused:
        open_store(url, site="lab")
    assert "127.0.0.1:1/nowhere" in str(refused.value)
    assert "onnect" in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert refused.value.retryable


def test_the_next_host_is_used_when_the_first_is_not_there(mariadb: Server, server_url: str) -> None:
    several = server_url.replace("@127.0.0.1:", "@127.0.0.9,127.0.0.1:")
    with closing(open_store(several, site="lab")) as store:
        store.placements.claim({}, [WEB], at=1.0)
    with closing(open_store(server_url, site="lab")) as store:
        assert store.placements.all() == {"web-1": WEB}


def test_a_file_nobody_may_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="write dos_store: sqlite"):
        open_store(f"sqlite:///{tmp_path}/file/store.sqlite", site="lab")


def test_a_writer_that_dies_leaves_a_file_that_can_be_used(tmp_path: Path) -> None:
    """Killed between its write and its commit: the next writer finds nothing of it."""
    import subprocess
    import sys

    url = f"sqlite:///{tmp_path}/store.sqlite"
    with closing(open_store(url, site="lab")):
        pass
    program = (
        "import os, signal, sys\n"
        "from dosvm.store.engine import Database\n"
        "from dosvm.store.url import parse\n"
        "def work(connection):\n"
        "    connection.exec_driver_sql(\"INSERT INTO placements VALUES ('web-1', 'h9', 1, 'seen', NULL, 0, NULL, '')\")\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Database(parse({url!r})).write('x', work)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with closing(open_store(url, site="lab")) as store:
        assert store.placements.claim({}, [WEB], at=1.0) == {}
        assert store.placements.all() == {"web-1": WEB}
