# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as people read them in reasons and tables."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.types import ByteSize

GIB = 2**30
FEW = 3


def size(number: int) -> str:
    """Bytes: exact where that is short, else in GiB with one digit. `size(2**31)` is `2 GiB`."""
    if number < 0:
        return f"-{size(-number)}"
    exact = str(ByteSize(number))
    return exact if len(exact) <= 8 or number < GIB // 10 else f"{number / GIB:.1f} GiB"


def listed(names: Iterable[str]) -> str:
    """The first few names of a set, in order."""
    found = sorted(names)
    return ", ".join(found) if len(found) <= FEW else f"{', '.join(found[:FEW])} and {len(found) - FEW} more"
