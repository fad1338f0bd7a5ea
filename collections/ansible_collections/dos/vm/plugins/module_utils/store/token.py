# SPDX-License-Identifier: GPL-3.0-or-later
"""By what a writer recognises its own change after a connection that went away."""

from __future__ import annotations

import uuid


def token() -> str:
    """32 hex digits that nobody else has."""
    return uuid.uuid4().hex
