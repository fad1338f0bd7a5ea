# SPDX-License-Identifier: GPL-3.0-or-later
"""Two clocks that are to agree on when something ends: the controller's and the host's."""

from __future__ import annotations

from ..errors import HypervisorError

MOST = 30.0  # seconds that they may differ


def refuse_clocks(until: float | None, controller: float | None, host: float) -> None:
    """Raises `HypervisorError` where a power override has an end and the clocks do not agree on when that is."""
    if until is not None and controller is not None and abs(host - controller) > MOST:
        text = f"its clock differs from the controller's by {abs(host - controller):.0f} s: set the wrong one, or leave out until"
        raise HypervisorError("give a power override with an end on this host", text)
