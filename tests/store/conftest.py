# SPDX-License-Identifier: GPL-3.0-or-later
"""A fresh store on each engine, and an engine that can be mistreated."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mariadb import Server, server

from dosvm.store.store import Store, open_store

ENGINES = ("sqlite", "mariadb")


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("mariadb")) as held:
        yield held


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store of its own may be made, on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite"
    held: Server = request.getfixturevalue("mariadb")
    return held.database(f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the store, as often as one likes: each time it is another controller's."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(open_store(url, site="lab")))


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()
