# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab for the tests of this folder, up once; and a second one for those who want to see two. Neither is there afterwards."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from namespaces import faults, ready
from namespaces.group import TREE, name_of_mine, orphans
from namespaces.host import Host
from namespaces.lab import FOLDERS, Lab, names_up

GUEST = TREE / ".cache" / "guest"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    reasons = ready.missing(FOLDERS) if here else ()
    for item in here:
        item.add_marker("lab")
        if reasons:
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure of a test in a lab comes with what its hosts have to say."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and "lab" in getattr(item, "fixturenames", ()):
        text: list[str] = []
        with contextlib.suppress(Exception):  # whatever is wrong with the lab, the failure itself must be seen
            item.funcargs["lab"].collect(text.append)
        report.sections.append(("lab", "\n".join(text)))


@contextlib.contextmanager
def _up(name: str, count: int) -> Iterator[Lab]:
    lab = Lab(name)
    try:
        lab.down()  # of a test that failed before: else the next would stand in its ruins
        lab.up(count)
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts."""
    for name in orphans(names_up()):
        Lab(name).down()
    with _up(name_of_mine("t"), 3) as made:
        yield made


@pytest.fixture
def other_lab() -> Iterator[Lab]:
    """Another lab with one host, beside the first."""
    with _up(name_of_mine("u"), 1) as made:
        yield made


@pytest.fixture
def hosts(lab: Lab) -> Iterator[dict[str, Host]]:
    """The hosts by name, all of them well; and well again afterwards, whatever the test did to them."""
    yield {host.name: host for host in lab.hosts()}
    for host in lab.hosts():
        faults.heal(host)
    lab.boot(*(host.name for host in lab.hosts()))


@pytest.fixture(scope="session")
def image(lab: Lab) -> Path:
    """The small guest's disk, where every host sees it."""
    subprocess.run([sys.executable, str(TREE / "tools" / "guest_image.py")], check=True, stdout=subprocess.DEVNULL)
    lab.share([GUEST / "busybox.qcow2"])
    return lab.shared / "images" / "busybox.qcow2"


@pytest.fixture(scope="session")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of inventories/lab, on the hosts of this lab."""
    from namespaces.inventory import render

    folder = tmp_path_factory.mktemp("inventory")
    shutil.copytree(TREE / "inventories" / "lab", folder, dirs_exist_ok=True)
    (folder / "hosts.yml").write_text(render(lab, 3))
    return folder
