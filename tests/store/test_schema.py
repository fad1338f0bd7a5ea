# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables come from any version to today's, and those of tomorrow are left alone."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from mariadb import Server

from dosvm.errors import DeclarationError, StoreError
from dosvm.store import schema
from dosvm.store.engine import Database
from dosvm.store.store import open_store, read_store
from dosvm.store.tables import Tables
from dosvm.store.url import beside, parse, shown

PASSWORD = "hunter22"


def test_the_code_knows_the_files() -> None:
    scripts = ScriptDirectory(str(schema.FOLDER))
    assert [held.revision for held in scripts.walk_revisions()][::-1] == list(schema.REVISIONS)


def test_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    with closing(open_store(url, site="lab")):
        pass
    database = Database(parse(url))

    def differences(connection: Any) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [found for found in compare_metadata(context, Tables().metadata) if "alembic_version" not in str(found)]

    assert database.read("compare", differences) == []
    database.close()


@pytest.mark.parametrize("old", schema.REVISIONS[:-1])
def test_an_older_store_is_upgraded_and_keeps_what_it_has(url: str, old: str) -> None:
    database = Database(parse(url))
    assert schema.upgrade(database, "lab", to=old)
    database.write(
        "fill",
        lambda connection: [
            connection.exec_driver_sql("INSERT INTO hosts (uuid, name, registered) VALUES ('u1', 'h1', 1.5)"),
            connection.exec_driver_sql(
                "INSERT INTO placements (vm, host, epoch, state, since, token) VALUES ('web-1', 'h1', 7, 'seen', 1.5, 't')"
            ),
        ],
    )
    database.close()
    with pytest.raises(StoreError, match=f"are of version {old} and this dos.vm wants {schema.HEAD}"):
        read_store(url, site="lab")
    with closing(open_store(url, site="lab")) as store:
        assert store.placements.all()["web-1"].epoch == 7
        assert [(host.name, host.hardware) for host in store.hosts.all()] == [("h1", None)]
        store.hosts.beat("h1")


def test_an_upgrade_that_was_killed_is_completed(mariadb: Server) -> None:
    """MariaDB keeps every table at once, and the version only at the end."""
    url = mariadb.database(f"t{uuid.uuid4().hex[:12]}")
    database = Database(parse(url))
    schema.upgrade(database, "lab")
    database.write(
        "forget", lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num='r0001'")
    )
    database.write("lose", lambda connection: connection.exec_driver_sql("DROP TABLE evidence"))
    database.close()
    with closing(open_store(url, site="lab")) as store:
        assert store.proofs.of("h1") == []


def test_a_store_from_the_future_is_refused_and_left_alone(url: str) -> None:
    with closing(open_store(url, site="lab")):
        pass
    database = Database(parse(url))
    query = sa.text("UPDATE alembic_version SET version_num = 'r9999'")
    database.write("age", lambda connection: connection.execute(query))
    for attempt in (open_store, read_store):
        with pytest.raises(
            StoreError, match=rf"of version r9999, and this dos\.vm knows {schema.HEAD} and older: .*upgrade this one"
        ):
            attempt(url, site="lab")
    database.close()


def test_many_who_open_a_new_store_make_it_once(url: str) -> None:
    def opened(number: int) -> str | None:
        with closing(open_store(url, site="lab")) as store:
            return store.site()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == ["lab"] * 4


def test_the_store_of_another_site_is_refused(url: str) -> None:
    with closing(open_store(url, site="lab")):
        pass
    with pytest.raises(StoreError, match="it is the store of site lab, not of shop"):
        open_store(url, site="shop")


def test_reading_makes_nothing(tmp_path: Path) -> None:
    assert read_store(f"sqlite:///{tmp_path}/none/store.sqlite", site="lab") is None
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.sqlite"
    with closing(open_store(url, site="lab")):
        pass
    store = read_store(url, site="lab")
    assert store is not None
    with closing(store), pytest.raises(StoreError, match="readonly"):
        store.hosts.beat("h1")


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    url = beside(tmp_path / "50% of it, really? #1", "lab")
    with closing(open_store(url, site="lab")) as store:
        store.hosts.beat("h1")
    found = read_store(url, site="lab")
    assert found is not None
    with closing(found) as store:
        assert set(store.hosts.heartbeats()) == {"h1"}
    assert [path.name for path in tmp_path.iterdir()] == ["50% of it, really? #1"]


def test_the_file_is_its_owners_alone_and_git_does_not_see_it(tmp_path: Path) -> None:
    url = beside(tmp_path, "lab")
    with closing(open_store(url, site="lab")):
        pass
    assert (tmp_path / ".dos-vm" / "lab.sqlite").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".dos-vm").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".dos-vm" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"mysql//dos:{PASSWORD}@db/x", "is not a URL"),
        (f"postgresql://dos:{PASSWORD}@db/x", "postgresql is not an engine of the store"),
        (f"mysql+pymysql://dos:{PASSWORD}@db", "needs a host and a database"),
        (f"mysql+pymysql://dos:{PASSWORD}@db:port/x", "is not a URL"),
        ("sqlite:///relative.sqlite", "needs a file by its absolute path"),
        ("sqlite://", "needs a file by its absolute path"),
    ],
)
def test_a_wrong_url_is_explained_and_never_quoted(text: str, said: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_url_is_shown_without_what_it_hides() -> None:
    url = parse(f"mysql+pymysql://dos:{PASSWORD}@db1,db2:3307/x?ssl_key=/k&passwd={PASSWORD}")
    assert shown(url) == "mysql+pymysql://dos:***@db1,db2:3307/x"
