# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of the machine the module runs on becomes an image there: copied inside the kernel while it is hashed, holes left out.

The digest is of the source, which must not change meanwhile; the kernel copies it, or lets both share their blocks where the
file system can. To hash takes longer than to copy, so both go on at once.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ..errors import HypervisorError
from ..sparse import extents
from .digest import digest
from .job import Report

STEP = 64 * 2**20  # copied by one call
FICLONE = 0x40049409  # ioctl_ficlone(2): the same blocks under another name


def receive(source: str, part: str, report: Report) -> Mapping[str, Any]:
    """Make `part` what `source` is. `digest` is of what is in it; a source that changes meanwhile is a `HypervisorError`."""
    with (
        open(source, "rb", buffering=0) as read,
        open(part, "wb", buffering=0) as write,
        ThreadPoolExecutor(1) as beside,
    ):
        before = os.fstat(read.fileno())
        # The same parts for both: were one of them missed, the digest would tell.
        parts = list(extents(read.fileno(), size=before.st_size))
        hashed = beside.submit(digest, source, "copy", report, parts)
        shared = _share(read.fileno(), write.fileno())
        if not shared:
            os.ftruncate(write.fileno(), before.st_size)
            for start, end in parts:
                _copy(read.fileno(), write.fileno(), start, end)
            os.fsync(write.fileno())
        found = hashed.result()
        now = os.fstat(read.fileno())
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise HypervisorError("copy", f"{source} was changed meanwhile: run again when it is whole")
    return {"digest": found, "shared": shared}


def _share(read: int, write: int) -> bool:
    with suppress(OSError):  # another file system, or one that cannot
        fcntl.ioctl(write, FICLONE, read)
        return True
    return False


def _copy(read: int, write: int, start: int, end: int) -> None:
    """One extent, by the kernel; between file systems of different kinds older kernels only know the second way."""
    while start < end:
        try:
            done = os.copy_file_range(read, write, min(STEP, end - start), start, start)
        except OSError:
            os.lseek(write, start, os.SEEK_SET)
            done = os.sendfile(write, read, start, min(STEP, end - start))
        if not done:
            return  # it became shorter, which is seen at the end
        start += done
