# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a migration is, and what it came to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .._thirdparty import libvirt


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is. Bytes; `seconds` since it began."""

    sent: int = 0
    left: int = 0
    seconds: float = 0.0

    @property
    def percent(self) -> int:
        return int(100 * self.sent / max(1, self.sent + self.left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a call came to. `reasons` say why it cannot be; `remaining` that it is under way, and then `awake` that it ran and
    `saved` that its memory was saved when it began; `figures` are libvirt's own.
    """

    changed: bool = False
    performed: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    remaining: bool = False
    awake: bool = False
    saved: bool = False
    progress: Progress = Progress()
    figures: dict[str, int] = field(default_factory=dict)


def figures_of(domain: Any) -> dict[str, int]:
    """What the target's libvirt says of the migration that brought the machine: milliseconds and bytes."""
    names = {
        "time_elapsed": "total_ms",
        "downtime": "downtime_ms",
        "memory_processed": "memory",
        "disk_processed": "disk",
    }
    with suppress(libvirt.libvirtError):
        held = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        return {ours: int(held[theirs]) for theirs, ours in names.items() if theirs in held}
    return {}
