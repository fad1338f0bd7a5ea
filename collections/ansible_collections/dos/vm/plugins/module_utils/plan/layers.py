# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has which file: the machines that are defined with it, and the files that are layered over it.

Read once for a whole host, since every volume and every machine asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.domain import Disk, Domain
from ..model.overlay import image_of
from .plan import Context, Layers, Observed, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def layers(observed: Mapping[Address, Observed]) -> Layers:
    """What `Context.layers` holds, of everything on a host."""
    paths = {address.name: held.info.get("path", "") for address, held in observed.items() if address.kind == "volume"}
    over: dict[str, list[str]] = {}
    opened: dict[str, list[Address]] = {}
    named: dict[str, Address] = {}
    for address, held in observed.items():
        below = held.xml.findtext("backingStore/path") if address.kind == "volume" else None
        if below:
            over.setdefault(below, []).append(held.info.get("path", ""))
        if address.kind == "domain":
            for name in _named(held.xml):
                opened.setdefault(paths.get(name, name), []).append(address)
                opened.setdefault(name, []).append(address)
            for name in _anywhere(held):
                named.setdefault(name, address)
    return Layers(over=over, opened=opened, named=named)


def _named(domain: Element) -> Iterator[str]:
    """What the definition of a machine has for disks: files, and volumes as `pool/name`."""
    for source in domain.iterfind("devices/disk/source"):
        if source.get("volume"):
            yield f"{source.get('pool')}/{source.get('volume')}"
        elif source.get("file"):
            yield image_of(str(source.get("file")))


def _anywhere(domain: Observed) -> Iterator[str]:
    """The files and volumes that a domain has in its disks, also below layers: in its definition, and while it runs."""
    for tree in (domain.xml, domain.live):
        for source in () if tree is None else tree.iterfind("devices/disk//source"):
            if source.get("volume"):
                yield f"{source.get('pool')}/{source.get('volume')}"
            path = source.get("file") or source.get("dev") or ""
            yield from filter(None, {path, image_of(path)})


def refuse_writing_a_base(address: Address, domain: Domain, context: Context) -> Plan | None:
    """VSNP-03: what something is layered over is never written again, since every layer would be ruined by it.

    A layer that the machine itself has open is its own checkpoint and no harm.
    """
    for disk in domain.disks:
        path = _path(disk, context) if disk.device == "disk" and not (disk.read_only or disk.transient) else None
        for layer in context.layers.over.get(path, ()) if path else ():
            if address not in context.layers.opened.get(layer, ()):
                problem = (
                    f"{address} would write {path}, and {layer} is layered over it: write read_only: true, or use the "
                    f"layer, or merge it into a volume of its own (VSNP-03)"
                )
                return Plan(address=address, verdict="conflict", problem=problem)
    return None


def _path(disk: Disk, context: Context) -> str | None:
    if disk.volume is None:
        return disk.file
    held = context.observed.get(Address("volume", f"{disk.pool}/{disk.volume}"))
    return None if held is None else held.info.get("path")
