# SPDX-License-Identifier: GPL-3.0-or-later
"""When a machine's disk is written into: before the machine is defined for the first time, and so before it starts."""

from __future__ import annotations

from ..model.address import Address
from ..model.domain import Domain
from .action import Action, Inject
from .plan import Observed


def injected(domain: Domain, observed: Observed | None) -> list[Action]:
    """What is to be written into a machine's disk. One that is defined has it; one that was elsewhere says so itself."""
    held = domain.injection
    if held is None or held.empty or observed is not None:
        return []
    disk = next(disk for disk in domain.disks if disk.target == held.disk)
    return [
        Inject(
            address=Address("domain", domain.name),
            volume=Address("volume", f"{disk.pool}/{disk.volume}"),
            format=str(disk.format),
            injection=held,
        )
    ]
