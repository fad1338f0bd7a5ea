# SPDX-License-Identifier: GPL-3.0-or-later
"""When a machine's seed is made, and which one its drive has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.domain import Domain
from ..model.seed import ROOT
from .action import Action, WriteSeed
from .plan import Observed

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def seeded(domain: Domain, declared: Element, observed: Observed | None) -> list[Action]:
    """What is to be done for the seed. A machine that keeps the one it has is declared to, in place."""
    seed = domain.seed
    if seed is None:
        return []
    path, has = seed.path(domain.name), "" if observed is None else observed.info.get("seed", "")
    same_kind = has.rpartition(".")[2] == path.rpartition(".")[2]
    if seed.on_change == "ignore" and has and same_kind:
        for source in declared.iterfind("devices/disk/source[@file]"):
            if source.get("file", "").startswith(f"{ROOT}/{domain.name}/"):
                source.set("file", has)
        return []
    if has == path:
        return []
    return [WriteSeed(address=Address("domain", domain.name), path=path, label=seed.label, files=dict(seed.files))]
