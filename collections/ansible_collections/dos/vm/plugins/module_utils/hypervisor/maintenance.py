# SPDX-License-Identifier: GPL-3.0-or-later
"""The note of a host in maintenance: what `dos.vm.drain` leaves there, so that it is known without a store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import durable

MAINTENANCE = Path("/var/lib/dos-vm/maintenance.json")


def maintenance(noted: Path = MAINTENANCE) -> str | None:
    """Why the host is in maintenance, as noted on it; `None` when it is in service."""
    try:
        return str(json.loads(noted.read_text(encoding="utf-8"))["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as broken:
        return f"{noted} cannot be read: {broken}"  # whoever wrote it meant something by it


def read(path: Path = MAINTENANCE) -> dict[str, Any] | None:
    """What is noted; nothing in a note that cannot be read, for the host is in maintenance all the same."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return held if isinstance(held, dict) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}


def write(note: Mapping[str, Any], path: Path = MAINTENANCE) -> None:
    """Whole or not at all, and on the disk with its folder."""
    durable.folder(path.parent, 0o711)
    durable.write(path, json.dumps(note, indent=2), 0o644)
