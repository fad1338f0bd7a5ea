# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a directory is the same on every host that says so: one host leaves a note, the others look for it (POOL-20).

Numbers of file systems and of files prove nothing, since hosts made from one image have the same. A note with a name that
nobody has asked for before cannot be missed for a cache either.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConflictError

NOTE = ".dos-vm-{}"


def note(path: str, mark: str) -> Path:
    """Where a note goes: into the directory, or the nearest one above it that exists, since a pool makes its own."""
    folder = Path(path)
    while not folder.is_dir():
        folder = folder.parent
    return folder / NOTE.format(mark)


def leave(path: str, mark: str) -> str:
    """Leave a note; returns the directory it is in. Raises `ConflictError` where nobody may write."""
    found = note(path, mark)
    try:
        with open(found, "x") as file:
            file.write(mark)
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    except OSError as refused:
        raise ConflictError(
            f"{path} is declared shared, and nothing can be written to {found.parent}: {refused.strerror}"
        ) from None
    return str(found.parent)


def find(path: str, mark: str, folder: str) -> None:
    """Raise `ConflictError` where the note that was left in `folder` by another host is not there."""
    try:
        told = (Path(folder) / NOTE.format(mark)).read_text()
    except OSError:
        told = ""
    if told != mark:
        raise ConflictError(
            f"{path} is declared shared, and what another host writes to {folder} is not seen here: mount the cluster file system "
            f"at the same path on every host of the pool, or write shared: false (POOL-20)"
        )


def take_away(path: str, mark: str) -> None:
    """Remove the note."""
    note(path, mark).unlink(missing_ok=True)
