# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a file, by which an image is known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from ..model.types import Checksum
from .job import Report

BUFFER = 256 * 2**10  # stays in the processor's cache: larger ones are slower
ZEROS = bytes(BUFFER)
TOLD = 64 * 2**20  # bytes between two reports


def digest(path: str, step: str, report: Report, parts: Iterable[tuple[int, int]] | None = None) -> Checksum:
    """SHA-256 of a file, told as `step` while it is read.

    `parts` are those that hold data, from and to: the rest is hashed as zeros and not read. Without them all of it is read.
    """
    seen, done, told = hashlib.sha256(), 0, 0
    room = memoryview(bytearray(BUFFER))
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for start, end in (*(((0, size),) if parts is None else parts), (size, size)):
            while done < start:
                seen.update(ZEROS[: start - done])
                done += min(BUFFER, start - done)
            file.seek(start)
            while done < end and (count := file.readinto(room[: end - done])):
                seen.update(room[:count])
                done += count
                if done - told >= TOLD:
                    told = done
                    report(step, min(100 * done / max(size, 1), 99.9))
    return Checksum(f"sha256:{seen.hexdigest()}")
