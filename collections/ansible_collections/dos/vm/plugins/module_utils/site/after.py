# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine comes after: its start waits until others are ready."""

from __future__ import annotations

from ..model.declaration import declaration, option
from ..model.readiness import Readiness
from ..model.types import Name


@declaration
class After(Readiness):
    """Others that must be ready before a machine is started."""

    name: Name = option("A machine, or an instance for all its machines.")
