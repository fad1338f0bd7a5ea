# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host knows of machines that were given to another one: a file, read and written under the lock of the host's runs.

A controller that decided earlier and comes later finds it there, whatever its store or its memory say (law 8).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import HypervisorError

FENCES = Path("/var/lib/dos-vm/fences.json")


def fences(noted: Path = FENCES) -> dict[str, int]:
    """The epochs by machine. Raises `HypervisorError` for a file that cannot be read: what it forbids is not known."""
    try:
        held = json.loads(noted.read_text(encoding="utf-8"))
        return {str(vm): int(epoch) for vm, epoch in held.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as broken:
        raise HypervisorError("read which machines were given to other hosts", f"{noted}: {broken}") from broken


def raise_fences(epochs: Mapping[str, int], noted: Path = FENCES, *, dry_run: bool = False) -> bool:
    """Note the epochs, none lower than before; whether that changed anything. Whole or not at all, and on disk."""
    before = fences(noted)
    after = before | {vm: max(epoch, before.get(vm, 0)) for vm, epoch in epochs.items()}
    if after == before or dry_run:
        return after != before
    noted.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    beside = noted.with_suffix(".new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(after, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(noted)
    return True
