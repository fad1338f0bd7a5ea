# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host knows of machines that were given to another one: a file, read and written under the lock of the host's runs.

A controller that decided earlier and comes later finds it there, whatever its store or its memory say (law 8).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .. import durable
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
    """Note the epochs, none lower than before; whether that changed anything. Whole or not at all, and on the disk with its folder."""
    before = fences(noted)
    after = before | {vm: max(epoch, before.get(vm, 0)) for vm, epoch in epochs.items()}
    if after == before or dry_run:
        return after != before
    durable.folder(noted.parent, 0o711)
    durable.write(noted, json.dumps(after, indent=1, sort_keys=True), 0o644)
    return True
