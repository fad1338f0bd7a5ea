# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are about to be opened: while a host looks who has one open, no other start opens it.

A byte of one file stands for each disk, and is locked by the kernel. Locks of open file descriptions exclude threads as well as
processes, leave nothing behind, and end with the process; see fcntl(2).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import HypervisorError

FOLDERS = (Path("/run/lock"), Path(tempfile.gettempdir()))  # the second where the first is not there, or not for us
NAME = "dos-vm-disks.lock"
FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, process


@contextmanager
def claimed(disks: Mapping[str, str], operation: str) -> Iterator[None]:
    """Nothing else starts with one of these disks meanwhile. `disks` has a path by each mark of what it leads to."""
    descriptor = _opened()
    try:
        for mark in sorted(disks):
            if not _lock(descriptor, _byte(mark)):
                text = f"{disks[mark]} is being opened by another start at this moment: wait for its end (VM-08)"
                raise HypervisorError(operation, text)
        yield
    finally:
        os.close(descriptor)


def _opened() -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(FOLDERS[0] / NAME, flags, 0o644)
    except OSError:
        return os.open(FOLDERS[1] / NAME, flags, 0o644)


def _byte(mark: str) -> int:
    return int.from_bytes(hashlib.sha256(mark.encode()).digest()[:7], "big")


def _lock(descriptor: int, byte: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    except OSError:
        return False
    return True
