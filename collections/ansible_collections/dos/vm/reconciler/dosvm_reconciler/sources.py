# SPDX-License-Identifier: GPL-3.0-or-later
"""Which declaration this is: one word that changes when the inventory does."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

STORE = ".dos-vm"  # beside an inventory, and changed by every play
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
        content = _read(path)
        found.update(f"{path.relative_to(inventory)}\0{len(content)}\0".encode(errors="surrogateescape"))
        found.update(content)
    return found.hexdigest()


def _files(inventory: Path) -> Iterator[Path]:
    if not inventory.is_dir():
        yield inventory
    for folder, folders, names in os.walk(inventory, followlinks=True):
        folders[:] = sorted(set(folders) - SKIPPED)
        yield from (Path(folder, name) for name in sorted(names))


def _read(path: Path) -> bytes:
    # An editor's temporary file may be gone by now, a link may lead nowhere: both are a state like any other.
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""
