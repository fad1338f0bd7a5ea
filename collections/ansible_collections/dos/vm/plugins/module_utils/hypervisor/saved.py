# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that libvirt has saved of a machine, as a file of the host."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .. import durable
from .ready import is_here

FOLDER = Path("/var/lib/libvirt/qemu/save")  # where libvirt of the system keeps it; no call tells


def saved_file(name: str, folder: Path = FOLDER) -> Path:
    """The file with the saved memory of a machine."""
    return folder / f"{name}.save"


def keep_saved(connection: Any, name: str, now: float, folder: Path = FOLDER) -> str:
    """Put aside what was saved before, under a dated name; the new name, or nothing where there is nothing (VM-25).

    libvirt removes the file when the memory is brought back, and overwrites one that it could not remove, or that somebody put there.
    """
    there = saved_file(name, folder)
    if not is_here(connection) or not there.exists():
        return ""
    kept = there.with_name(f"{name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}.saved")
    durable.move(there, kept)
    return str(kept)
