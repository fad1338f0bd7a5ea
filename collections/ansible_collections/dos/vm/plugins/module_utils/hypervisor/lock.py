# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a host: a file lock that names who has it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..errors import HypervisorError


@contextmanager
def lock_file(uri: str) -> Iterator[TextIO]:
    """The file that runs on the host of `uri` lock, opened; it stays, for removing it would let two runs hold it."""
    name = f"dos-vm-{hashlib.sha256(uri.encode()).hexdigest()[:12]}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(Path("/run/lock", name), flags, 0o644)
    except OSError:  # no such directory, or not for us
        descriptor = os.open(Path(tempfile.gettempdir(), name), flags, 0o644)
    with os.fdopen(descriptor, "r+") as held:
        yield held


def wait_for(held: TextIO, deadline: float, step: float) -> None:
    """Lock it, or raise `HypervisorError` with who has it when `deadline` (monotonic seconds) has passed."""
    while True:
        try:
            return fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                held.seek(0)
                holder = held.read().strip() or "unknown"
                text = f"another run of dos.vm holds it (process {holder}); wait for its end, or end it"
                raise HypervisorError("lock the host", text) from None
        time.sleep(step)


@contextmanager
def noted(held: TextIO) -> Iterator[bool]:
    """Our process in the locked file, for as long as it lasts. Yields whether one is still there: that run was killed."""
    held.seek(0)
    killed = bool(held.read().strip())
    _write(held, str(os.getpid()))
    try:
        yield killed
    finally:
        _write(held, "")


def _write(held: TextIO, text: str) -> None:
    held.seek(0)
    held.truncate()
    held.write(text)
    held.flush()
