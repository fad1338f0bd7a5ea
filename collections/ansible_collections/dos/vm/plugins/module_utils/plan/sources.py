# SPDX-License-Identifier: GPL-3.0-or-later
"""One file, two spellings: a running disk that was copied live has the path of its file, a declared one the name of its volume."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.domain import Domain
from ..xml.explicit import explicit
from .plan import Context

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def spelled(live: Element | None, domain: Domain, context: Context) -> Element | None:
    """The running machine with each disk whose file is the declared volume's spelled as that volume.

    libvirt cannot copy onto a volume by its name, so after a copy the machine runs from the path until it is started anew.
    """
    if live is None:
        return None
    found = live
    named = all(disk.target for disk in domain.disks)
    for disk in domain.disks if named else explicit(domain).disks:
        source = found.find(f"devices/disk/target[@dev='{disk.target}']/../source[@file]")
        volume = context.observed.get(Address("volume", f"{disk.pool}/{disk.volume}"))
        if source is None or volume is None or source.get("file") != volume.info.get("path"):
            continue
        if found is live:
            found = deepcopy(live)
            source = found.find(f"devices/disk/target[@dev='{disk.target}']/../source[@file]")
            assert source is not None  # it is a copy of what had it
        del source.attrib["file"]
        source.set("pool", str(disk.pool))
        source.set("volume", str(disk.volume))
        parent = source.getparent()
        assert parent is not None
        parent.set("type", "volume")
    return found
