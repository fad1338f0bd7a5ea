# SPDX-License-Identifier: GPL-3.0-or-later
"""The plays with a store on MariaDB: what they remember is there, and the password in its URL is nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import operators
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "store"))

from mariadb import QUOTED, Server, server

from dosvm.store.store import open_store


class Operator(operators.Operator):
    """Somebody whose inventory names a store."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, {})
        self.url = url

    def play(self, name: str, *arguments: str, succeeds: bool = True, url: str = "") -> str:
        vms = {"sq-1": {"power": "off"}, "sq-2": {"power": "off"}}
        self.site = {
            "dos_site": "sq",
            "dos_store": (url or self.url).replace(QUOTED, "{{ store_password }}"),
            "store_password": QUOTED,
            "dos_projects": {"sq": {}},
            "dos_instances": {"sq": {"project": "sq", "memory": "16 MiB", "vms": vms}},
        }
        output = super().play(name, "-vv", *arguments, succeeds=succeeds)
        assert "s3cret" not in output, "the password of the store was shown"
        return output


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("mariadb")) as held:
        yield held


@pytest.fixture(scope="module")
def operator(database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    held = Operator(tmp_path_factory.mktemp("inventory"), database.database("sq"))
    yield held
    held.play("destroy", "-e", "dos_confirm=sq")


def test_placements_are_in_the_database_and_the_second_run_changes_nothing(operator: Operator) -> None:
    assert "Plan: 2 to create" in operator.play("plan")
    operator.play("site")
    assert "Plan: 0 to create, 0 to change, 0 to remove" in operator.play("site")
    with closing(open_store(operator.url, site="sq")) as store:
        held = store.placements.all()
        assert {vm: (one.host, one.epoch, one.seen) for vm, one in held.items()} == {
            "sq-1": ("here", 1, True),
            "sq-2": ("here", 1, True),
        }
        assert [host.name for host in store.hosts.all()] == ["here"]
    assert not (operator.folder / ".dos-vm").exists()


def test_a_database_that_is_not_there_is_named_and_no_host_is_changed(operator: Operator, database: Server) -> None:
    away = operator.url.replace(f":{database.port}/", ":1/")
    told = operator.play("site", succeeds=False, url=away)
    assert "mysql+pymysql://dos:***@127.0.0.1:1/sq" in told
    assert "Connection refused" in told
    assert "TASK [Make each host so]" not in told
    assert "is not a URL" in operator.play("site", succeeds=False, url=f"mysql//dos:{QUOTED}@db/x")
