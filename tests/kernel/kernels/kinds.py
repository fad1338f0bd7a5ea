# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of kernel, and which one is wanted: `LAB=tcg` in the environment asks for emulated machines."""

from __future__ import annotations

import os

from namespaces.errors import LabError

from .kernel import Kernel
from .tcg import Emulated
from .uml import UserMode

KINDS: dict[str, type[Kernel]] = {"uml": UserMode, "tcg": Emulated}
DEFAULT = "uml"


def chosen() -> str | None:
    """What the environment says; `None` when it says nothing."""
    name = os.environ.get("LAB") or None
    if name is not None and name not in KINDS:
        raise LabError(f"LAB={name} is no kind of kernel; there are {', '.join(KINDS)}")
    return name


def wanted() -> type[Kernel]:
    return KINDS[chosen() or DEFAULT]
