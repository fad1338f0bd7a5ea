# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of a file hold data: for whoever writes over it, copies it or sends it, and leaves its holes out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator


def extents(descriptor: int, at: int = 0, size: int | None = None) -> Iterator[tuple[int, int]]:
    """The parts of a file that hold data, from and to, those after `at`. Of a device, which cannot tell, it is all one part."""
    size, end = os.fstat(descriptor).st_size if size is None else size, at
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as refused:
            if refused.errno == errno.EINVAL:
                yield end, size
            return  # ENXIO: only a hole is left
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
