# SPDX-License-Identifier: GPL-3.0-or-later
"""A file has one digest, whether its holes are read or not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dosvm.image.digest import BUFFER, TOLD, digest
from dosvm.sparse import extents

LAYOUTS = {
    "empty": (0, []),
    "only a hole": (3 * BUFFER + 17, []),
    "a hole before": (4 * BUFFER, [(2 * BUFFER, b"data")]),
    "a hole behind": (4 * BUFFER + 1, [(0, b"data")]),
    "data, hole, data": (7 * BUFFER + 5, [(0, b"a" * 5000), (5 * BUFFER, b"b" * (2 * BUFFER + 5))]),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_holes_are_the_zeros_that_a_reader_sees(tmp_path: Path, layout: tuple[int, list[tuple[int, bytes]]]) -> None:
    path, (size, written) = tmp_path / "image", layout
    with path.open("wb") as file:
        for at, data in written:
            file.seek(at)
            file.write(data)
        file.truncate(size)
    with path.open("rb") as file:
        parts = list(extents(file.fileno()))
    expected = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert digest(str(path), "read", lambda *_: None) == expected
    assert digest(str(path), "read", lambda *_: None, parts) == expected


def test_data_that_nobody_named_is_missed_by_the_digest(tmp_path: Path) -> None:
    """Who copies by parts copies what the digest is of: a part that was overlooked does not go unseen."""
    path = tmp_path / "image"
    path.write_bytes(b"data" * BUFFER)
    assert digest(str(path), "read", lambda *_: None, [(0, BUFFER)]) != digest(str(path), "read", lambda *_: None)


def test_progress_is_told_in_percent_of_the_whole(tmp_path: Path) -> None:
    path, told = tmp_path / "image", []
    with path.open("wb") as file:
        file.truncate(4 * TOLD)
    digest(str(path), "copy", lambda step, percent: told.append((step, percent)))
    assert told == [("copy", 25.0), ("copy", 50.0), ("copy", 75.0), ("copy", 99.9)]
