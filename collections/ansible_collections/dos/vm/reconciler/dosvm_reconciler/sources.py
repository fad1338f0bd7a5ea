# SPDX-License-Identifier: GPL-3.0-or-later
"""Which declaration this is: one word that changes when the inventory does."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

STORE = ".dos-vm"  # beside an inventory, and changed by every play
LARGEST_FILE = 64 * 2**20  # bytes that are read of a file
SKIPPED = frozenset([".git", "__pycache__", STORE])


def digest(inventory: Path) -> str:
    """The commit of a clean git checkout, otherwise a digest of all that the folder (or file) holds."""
    commit = _commit(inventory)
    return f"git:{commit}" if commit else f"sha256:{_content(inventory)}"


def _commit(inventory: Path) -> str:
    """The last commit that touched the inventory; nothing, if files are there that no commit holds."""
    folder, what = (inventory, ".") if inventory.is_dir() else (inventory.parent, inventory.name)
    if _git(folder, "status", "--porcelain", "--ignored", "--", what, f":(exclude,glob)**/{STORE}/**") != "":
        return ""
    return _git(folder, "log", "-1", "--format=%H", "--", what) or ""


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None if it says no, or is not there."""
    # Without optional locks, looking never stands in the way of somebody who commits.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _content(inventory: Path) -> str:
    found = hashlib.sha256()
    for path in _files(inventory):
        found.update(f"{path.relative_to(inventory)}\0{_of_file(path)}\0".encode(errors="surrogateescape"))
    return found.hexdigest()


def _files(inventory: Path) -> Iterator[Path]:
    if not inventory.is_dir():
        yield inventory
    seen: set[tuple[int, int]] = set()
    _is_new(inventory, seen)
    for folder, folders, names in os.walk(inventory, followlinks=True):
        wanted = sorted(set(folders) - SKIPPED)
        folders[:] = [name for name in wanted if _is_new(Path(folder, name), seen)]
        # Of a folder that was walked already only where its link leads is part of the inventory.
        yield from (Path(folder, name) for name in sorted({*names, *wanted} - {*folders}))


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder was not walked yet; links may lead in a circle. A link to a folder is walked once as well."""
    try:
        state = folder.stat()
    except OSError:
        return False
    known = (state.st_dev, state.st_ino) in seen
    seen.add((state.st_dev, state.st_ino))
    return not known


def _of_file(path: Path) -> str:
    """A digest of the content; of a file that is too large for an inventory, of its size and time."""
    # An editor's temporary file may be gone by now, a link may lead nowhere: both are a state like any other.
    try:
        if not path.is_file():
            return os.readlink(path) if path.is_symlink() else ""
        state = path.stat()
        if state.st_size > LARGEST_FILE:
            return f"{state.st_size} {state.st_mtime_ns}"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
