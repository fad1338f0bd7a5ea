# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that hosts share is proven to be one; each host is a view of this machine's files here."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dosvm.errors import ConflictError
from dosvm.image import shared

MARK = "0123456789abcdef"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system that only one of the hosts has mounted."""
    path = tmp_path / "shared"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "dosvm-test", path], check=True)
    yield path
    if path.is_mount():
        subprocess.run(["umount", path], check=True)


def test_a_note_is_found_by_who_shares_and_goes_again(tmp_path: Path) -> None:
    path = str(tmp_path / "vm" / "pool")  # no host has made it yet
    folder = shared.leave(path, MARK)
    assert folder == str(tmp_path)
    shared.find(path, MARK, folder)
    shared.leave(path, MARK)  # a run that is repeated
    shared.take_away(path, MARK)
    assert list(tmp_path.iterdir()) == []


def test_a_host_where_it_is_not_mounted_is_refused(mounted: Path) -> None:
    path = str(mounted / "pool")
    folder = shared.leave(path, MARK)
    subprocess.run(["umount", mounted], check=True)  # now we are the other host
    with pytest.raises(ConflictError, match=r"not seen here: mount the cluster file system.*POOL-20"):
        shared.find(path, MARK, folder)


def test_a_directory_that_is_full_or_read_only_is_said(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(ConflictError, match=r"nothing can be written to .*: Read-only file system"):
        shared.leave(str(mounted), MARK)
