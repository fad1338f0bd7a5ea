# SPDX-License-Identifier: GPL-3.0-or-later
"""A libvirt secret, as a host holds it. The value is never part of a declaration (SECO-01, SECO-08)."""

from __future__ import annotations

from typing import Literal

from .declaration import declaration, option
from .types import Name


@declaration
class Secret:
    """A named secret that volumes, pools and consoles refer to; see https://libvirt.org/formatsecret.html."""

    name: Name = option("Name by which other objects refer to the secret.", spec="SECO-T1.2")
    usage_type: Literal["volume", "iscsi", "ceph", "tls", "vtpm"] = option(
        "What the secret unlocks.", spec="SECO-T1.3", default="volume"
    )
    usage: str | None = option(
        "What libvirt finds the secret by; the name when not given.", spec="SECO-T1.4", default=None, low=1, high=128
    )
    description: str | None = option("Free text.", spec="SECO-T1.6", default=None)
