# SPDX-License-Identifier: GPL-3.0-or-later
"""A libvirt secret, as a host holds it. The value is never part of a declaration (SECO-01, SECO-08)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .types import Name

UsageType = Literal["volume", "iscsi", "ceph", "tls", "vtpm", "netfs"]
#: Where mount(8) finds the values of those for `netfs`, each in a file of the secret's name: libvirt has no place for them.
CREDENTIALS = "/var/lib/dos-vm/credentials"


@declaration
class Secret:
    """A named secret that volumes, pools and consoles refer to; see https://libvirt.org/formatsecret.html."""

    name: Name = option("Name by which other objects refer to the secret.", spec="SECO-T1.2")
    usage_type: UsageType = option("What the secret unlocks.", spec="SECO-T1.3", default="volume")
    usage: str | None = option(
        "What libvirt finds the secret by; the name when not given.", spec="SECO-T1.4", default=None, low=1, high=128
    )
    description: str | None = option("Free text.", spec="SECO-T1.6", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_usage(self.usage_type, self.usage)


def check_usage(usage_type: str, usage: str | None) -> Iterator[tuple[str, str]]:
    """What libvirt does not hand to anybody, it does not look for."""
    if usage_type == "netfs" and usage is not None:
        yield "usage", "is not for secrets of usage_type netfs, which are found by their name: leave it out"
