# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret: named here, its value kept out of every message."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.declaration import declaration, option
from ..model.secret import Secret as HostSecret
from ..model.secret import UsageType, check_usage
from ..model.types import Name


@declaration
class Secret:
    """A password or key that pools, volumes and consoles refer to by name."""

    usage_type: UsageType = option("What it unlocks.", spec="SECO-T1.3", default="volume")
    usage: str | None = option(
        "What libvirt finds it by; the name when not given.", spec="SECO-T1.4", default=None, low=1, high=128
    )
    value: str = option("The password or key; keep it in a vault.", spec="SECO-T1.7", secret=True)
    project: Name | None = option("Project it belongs to.", spec="SECO-T1.5", default=None)
    label: str | None = option("Label in any script.", spec="SECO-T1.1", default=None)
    description: str | None = option("Free text.", spec="SECO-T1.6", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_usage(self.usage_type, self.usage)

    def as_declared(self, name: Name) -> HostSecret:
        """What a host holds of it, without the value."""
        return HostSecret(name=name, usage_type=self.usage_type, usage=self.usage, description=self.description)
