# SPDX-License-Identifier: GPL-3.0-or-later
"""The database and its user are made by their administrator, once, and used as they are after that (DB-01 … DB-03)."""

from __future__ import annotations

import json
import subprocess
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from mariadb import QUOTED, Server

from dosvm.errors import DeclarationError, StoreError
from dosvm.store.make import administrator, make_database
from dosvm.store.store import open_store
from dosvm.store.url import parse

TREE = Path(__file__).parents[2]


@pytest.fixture
def by(mariadb: Server) -> str:
    return f"mysql+pymysql://root@localhost/?unix_socket={mariadb.folder / 'socket'}"


@pytest.fixture
def wanted(mariadb: Server) -> str:
    """A database with a letter that is a pattern in a grant, and a user that nobody has made."""
    name = f"t_{uuid.uuid4().hex[:10]}"
    return f"mysql+pymysql://u{name[2:]}:{QUOTED}@127.0.0.1:{mariadb.port}/{name}"


def test_all_that_is_missing_is_made_and_nothing_the_second_time(by: str, wanted: str) -> None:
    root, url = administrator(by), parse(wanted)
    sentences = [
        f"database {url.database} has been made",
        f"user {url.username}@% has been made",
        f"user {url.username}@% has been granted database {url.database}",
    ]
    assert make_database(root, url, dry_run=True) == sentences
    with pytest.raises(StoreError, match="Access denied"):
        open_store(wanted, site="lab")
    assert make_database(root, url) == sentences
    assert make_database(root, url) == []
    with closing(open_store(wanted, site="lab")) as store:
        assert store.site() == "lab"
    other = parse(wanted.replace("/t_", "/tx"))
    with pytest.raises(StoreError, match="denied"):
        open_store(other.render_as_string(hide_password=False), site="lab")


def test_a_user_that_is_there_is_used_as_it_is(by: str, wanted: str, mariadb: Server) -> None:
    url = parse(wanted)
    with mariadb.root() as root, root.cursor() as cursor:
        cursor.execute(f"CREATE USER '{url.username}'@'%' IDENTIFIED BY 'another'")
    assert len(make_database(administrator(by), url)) == 2
    with pytest.raises(StoreError, match="Access denied"):
        open_store(wanted, site="lab")
    with closing(open_store(wanted.replace(QUOTED, "another"), site="lab")) as store:
        assert store.site() == "lab"


def test_a_server_that_does_not_answer_is_named_and_no_password_is(wanted: str) -> None:
    away = administrator("mysql+pymysql://root:t0psecret@127.0.0.1:1/")
    with pytest.raises(StoreError) as refused:
        make_database(away, parse(wanted))
    assert "127.0.0.1:1" in str(refused.value)
    assert "t0psecret" not in str(refused.value)
    assert "s3cret" not in str(refused.value)
    for text in ("sqlite:////x", "nonsense:t0psecret", "mysql+pymysql:///x"):
        with pytest.raises(DeclarationError) as said:
            administrator(text)
        assert "t0psecret" not in str(said.value)


def play(folder: Path, *flags: str, **variables: Any) -> tuple[int, str]:
    command = [TREE / ".venv" / "bin" / "ansible-playbook", "-i", folder, "dos.vm.store", "-e", json.dumps(variables)]
    done = subprocess.run(
        [*map(str, command), *flags], cwd=TREE, capture_output=True, text=True, timeout=300, check=False
    )
    assert "s3cret" not in done.stdout + done.stderr, "the password was shown"
    return done.returncode, done.stdout


def test_the_playbook_asks_before_it_makes_anything(by: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"dos_hosts": {"hosts": {"h1": {}}}}))
    name = parse(wanted).database
    given = {"dos_site": "lab", "dos_store": wanted, "dos_store_administrator": by}
    status, told = play(tmp_path, **given)
    assert status == 2
    assert f"confirm with -e dos_confirm={name}" in told
    status, told = play(tmp_path, "--check", **given)
    assert (status, f"database {name} has been made" in told) == (0, True)
    status, told = play(tmp_path, **given, dos_confirm=name)
    assert status == 0, told
    assert f"database {name} has been made" in told
    assert "its tables have been made" in told
    status, told = play(tmp_path, dos_site="lab", dos_store=wanted)
    assert (status, "is there, with tables of version" in told) == (0, True)
    status, told = play(tmp_path, dos_site="other", dos_store=wanted)
    assert (status, "it is the store of site lab, not of other" in told) == (2, True)
