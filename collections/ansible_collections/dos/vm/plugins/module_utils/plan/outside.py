# SPDX-License-Identifier: GPL-3.0-or-later
"""What was changed outside dos.vm, with virsh or another tool: each change that a plan leaves alone is a note of the plan.

The plan never takes away what it does not know. See docs/design/0066.
"""

from __future__ import annotations

from collections.abc import Iterator

from .plan import Observed


def notes(observed: Observed) -> Iterator[str]:
    """Sentences about a domain or network of ours as the host has it."""
    if not observed.persistent:
        yield "its definition was removed while it runs: the run writes it again, without an interruption"
