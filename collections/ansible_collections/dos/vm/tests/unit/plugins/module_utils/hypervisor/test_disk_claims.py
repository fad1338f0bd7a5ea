# SPDX-License-Identifier: GPL-3.0-or-later
"""Of two starts that look at one moment whether a disk is open, one goes on."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor import disk_claims
from dosvm.hypervisor.disk_claims import claimed

DISK = {"inode 1:2": "/srv/a"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_claims, "FOLDERS", (tmp_path, tmp_path))


def is_refused() -> bool:
    """Whether a start of this disk is refused now."""
    with suppress(HypervisorError), claimed(DISK, "start domain second"):
        return False
    return True


def test_a_thread_does_not_open_what_another_is_about_to() -> None:
    found: list[bool] = []
    with claimed({**DISK, "inode 1:3": "/srv/b"}, "start domain first"):
        thread = threading.Thread(target=lambda: found.append(is_refused()))
        thread.start()
        thread.join()
        with claimed({"inode 1:4": "/srv/c"}, "start domain third"):
            pass
        with (
            pytest.raises(HypervisorError, match=r"start domain second: /srv/a is being opened by another start"),
            claimed(DISK, "start domain second"),
        ):
            pass
    assert found == [True]
    assert not is_refused()


def test_a_process_does_not_either_and_leaves_nothing_when_it_dies() -> None:
    with claimed(DISK, "start domain first"):
        child = os.fork()
        if child == 0:
            os._exit(0 if is_refused() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    child = os.fork()
    if child == 0:
        claimed(DISK, "start domain first").__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_refused()
