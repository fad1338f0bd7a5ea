# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a file has data: what is copied, sent and wiped stands on it."""

from __future__ import annotations

import os
from pathlib import Path

from dosvm.sparse import extents

MIB = 2**20


def test_holes_are_left_out_and_a_part_begins_where_it_is_asked_from(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        for at in (MIB, 4 * MIB):
            file.seek(at)
            file.write(b"x" * MIB)
        file.truncate(8 * MIB)
        file.flush()
        assert list(extents(file.fileno())) == [(MIB, 2 * MIB), (4 * MIB, 5 * MIB)]
        assert list(extents(file.fileno(), 4 * MIB + 4096)) == [(4 * MIB + 4096, 5 * MIB)]
        assert list(extents(file.fileno(), 5 * MIB)) == []
        assert list(extents(file.fileno(), size=0)) == []


def test_what_cannot_tell_is_all_one_part() -> None:
    descriptor = os.open("/proc/version", os.O_RDONLY)  # answers like a block device that holes are nothing it knows
    try:
        assert list(extents(descriptor, 512, MIB)) == [(512, MIB)]
    finally:
        os.close(descriptor)
