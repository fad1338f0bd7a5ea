# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock of a MariaDB whose own time zone has summer time: seconds since 1970 neither jump nor come twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from mariadb import Server, server

from dosvm.store._sql import sa
from dosvm.store.clock import now
from dosvm.store.store import Store, open_store

ENDS, BEGINS = 1_792_890_000, 1_774_746_000  # of summer time in Berlin: 2026-10-25 01:00 UTC, 2026-03-29 01:00 UTC


# What mariadb-tzinfo-to-sql, which Debian has in another package, would say of that year.
ZONE = f"""
INSERT INTO time_zone VALUES (1, 'N');
INSERT INTO time_zone_name VALUES ('Europe/Berlin', 1);
INSERT INTO time_zone_transition VALUES (1, 0, 0), (1, {BEGINS}, 1), (1, {ENDS}, 0);
INSERT INTO time_zone_transition_type VALUES (1, 0, 3600, 0, 'CET'), (1, 1, 7200, 1, 'CEST');
"""


@pytest.fixture(scope="module")
def berlin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("berlin")) as held:
        with held.root() as connection, connection.cursor() as cursor:
            for statement in ("USE mysql", *filter(str.strip, ZONE.split(";"))):
                cursor.execute(statement)
        held.stop()
        held.start("--default-time-zone=Europe/Berlin")
        yield held


@pytest.fixture
def store(berlin: Server) -> Iterator[Store]:
    with closing(open_store(berlin.database(f"t{uuid.uuid4().hex[:12]}"), site="lab")) as held:
        yield held


@pytest.mark.parametrize("change", [ENDS, BEGINS])
def test_the_stores_clock_goes_on_when_summer_time_begins_and_ends(berlin: Server, store: Store, change: int) -> None:
    moments = [change + minutes * 60 + 0.25 for minutes in range(-90, 91, 15)]

    def read(connection: sa.engine.Connection, at: float) -> float:
        connection.exec_driver_sql(f"SET @@timestamp = {at}")
        try:
            return now(connection)
        finally:
            connection.exec_driver_sql("SET @@timestamp = DEFAULT")

    found = [store._database.read("read the clock", lambda connection, at=at: read(connection, at)) for at in moments]
    assert found == moments
    with berlin.root() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@time_zone")
        assert cursor.fetchone() == ("Europe/Berlin",)


def test_every_connection_of_a_store_is_in_utc(store: Store) -> None:
    for _ in range(3):
        zone = store._database.read("ask", lambda connection: connection.exec_driver_sql("SELECT @@time_zone").scalar())
        assert zone == "+00:00"
        store._database._engine.dispose()
