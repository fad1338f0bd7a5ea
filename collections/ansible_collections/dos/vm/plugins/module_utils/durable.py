# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a power cut leaves whole: the old content or the new, and the new once the call has returned.

A rename is in the folder, and a folder is a file: without its fsync the old name, or none, may be back after a power cut.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: Path, data: str | bytes, mode: int = 0o600, *, owner: tuple[int, int] | None = None) -> None:
    """Make `data` the content of `path`, whose folder exists. Never readable by others than `mode` says, not even meanwhile."""
    move(draft(path, data, mode, owner=owner), path)


def draft(path: Path, data: str | bytes, mode: int = 0o600, *, owner: tuple[int, int] | None = None) -> str:
    """A file beside `path` that only needs `move` to become it."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(handle, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(beside)
        raise
    return beside


def move(source: str | Path, target: str | Path) -> None:
    """Rename a file whose content is on the disk (`settle`), in place of what is there."""
    os.replace(source, target)
    for folder in dict.fromkeys((os.path.dirname(target), os.path.dirname(source))):
        settle(folder)


def settle(path: str | Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk before this returns."""
    handle = os.open(path or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and those above it; one that is there stays as it is."""
    if path.is_dir():
        return
    folder(path.parent, mode)
    path.mkdir(mode=mode, exist_ok=True)
    settle(path.parent)
