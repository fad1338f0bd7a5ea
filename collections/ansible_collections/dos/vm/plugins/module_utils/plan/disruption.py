# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a change disturbs, from nothing to lost data. What may be done is decided by comparing these."""

from __future__ import annotations

from enum import IntEnum


class Disruption(IntEnum):
    """Ordered: the disruption of a plan is the largest of its actions'."""

    NONE = 0  # nobody can tell
    LIVE = 1  # a running object changes, its guests go on
    HOTPLUG = 2  # a running guest sees a device come or go
    RESTART = 3  # a running object stops and starts
    MIGRATE = 4  # a running guest moves
    RECREATE = 5  # an object without data is removed and made anew
    DATA_LOSS = 6  # data goes

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def interrupts(self) -> bool:
        return self >= Disruption.RESTART
