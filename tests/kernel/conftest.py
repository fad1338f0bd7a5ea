# SPDX-License-Identifier: GPL-3.0-or-later
"""Two kernels for the tests of this folder, up once; tests in `inside/` run in them, and are reported from here. Those that are
marked `emulated` run in a third, which is always of that kind.

To a test in `inside/` this file is nothing: it is collected on the machine, sent with the others of its file to a kernel, and run
there by a pytest of its own, with fixtures of its own (`inside/conftest.py`). Everything else runs on the machine.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "lab"))
from kernels import forward, ready
from kernels.kernel import Kernel
from kernels.kinds import wanted
from kernels.lab import Kernels, names_up
from kernels.tcg import Emulated
from namespaces.errors import LabError
from namespaces.group import name_of_mine, orphans

HERE = Path(__file__).parent
INSIDE = HERE / "inside"
GUEST_IMAGE = HERE.parents[1] / "tools" / "guest_image.py"
HELD = pytest.StashKey[dict[type[Kernel], "Held"]]()


class Held:
    """The session's kernels of a kind: booted for the first test that wants them, gone when the session ends."""

    def __init__(self, name: str, kind: type[Kernel], count: int) -> None:
        self.kernels, self.count = Kernels(name_of_mine(name), kind), count
        self.is_up = False
        self.inside: forward.Inside | None = None

    def up(self) -> Kernels:
        if not self.is_up:
            for name in orphans(names_up()):
                Kernels(name).down()
            self.is_up = True
            # A kernel sees this tree and cannot write to it: what its guests boot from must be there before.
            subprocess.run([sys.executable, str(GUEST_IMAGE)], check=True, stdout=subprocess.DEVNULL)
            self.kernels.up(self.count)
        self.wait()
        return self.kernels

    def wait(self) -> None:
        """Until no test runs in them."""
        if self.inside is not None:
            self.inside.wait()

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        if self.inside is None:
            mine = [each for each in item.session.items if _is_sent(each) and _kind(each) is _kind(item)]
            self.inside = forward.Inside(self.up(), mine)
        return self.inside.reports(item)

    def down(self) -> None:
        if self.inside is not None:
            self.inside.stop()
        if self.is_up:
            self.kernels.down()


def _is_sent(item: pytest.Item) -> bool:
    """Whether a test runs in a kernel."""
    return item.path.is_relative_to(INSIDE) and item.get_closest_marker("skip") is None


def _kind(item: pytest.Item) -> type[Kernel]:
    """The kind of kernel that a test runs in, or has on the other side."""
    return Emulated if item.get_closest_marker("emulated") else wanted()


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[HELD] = {Emulated: Held("e", Emulated, 1), wanted(): Held("t", wanted(), 2)}
    except LabError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_unconfigure(config: pytest.Config) -> None:
    for held in config.stash.get(HELD, {}).values():
        held.down()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(HERE)]
    for item in here:
        item.add_marker("kernel")
        if forward.is_inside():
            continue
        if reasons := ready.missing(_kind(item)):
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))
        for unfit in item.iter_markers("not_emulated"):
            if _kind(item) is Emulated:
                item.add_marker(pytest.mark.skip(reason=f"LAB=tcg: {unfit.args[0]}"))


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    if forward.is_inside() or not _is_sent(item):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    kinds = item.config.stash[HELD]
    # An emulated machine takes what processors there are, and guests in kernels of the other kind would wait for it.
    for kind in kinds.keys() - {_kind(item)}:
        kinds[kind].wait()
    for report in kinds[_kind(item)].reports(item):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Inside, a report goes home; on the machine, a failure comes with the kernels' last words."""
    outcome = yield
    report = outcome.get_result()
    if forward.is_inside():
        forward.send(item.config, report)
    elif report.failed and "kernels" in getattr(item, "fixturenames", ()):
        text: list[str] = []
        with contextlib.suppress(Exception):
            item.funcargs["kernels"].collect(text.append)
        report.sections.append(("kernels", "\n".join(text)))


@pytest.fixture(scope="session")
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """k1 and k2 on one bridge, their two blank disks, a folder that they share with the machine."""
    held: Kernels = request.config.stash[HELD][wanted()].up()
    return held


@pytest.fixture
def other_kernels() -> Iterator[Kernels]:
    """Another group, of one, beside the first."""
    made = Kernels(name_of_mine("u"))
    try:
        made.up(1)
        yield made
    finally:
        made.down()
