# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains whose volumes are still the old ones, since their replacement is blocked: what a definition says of a disk changes
with the disk, and not before. That is the format it is opened with, and the image in the ownership mark."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.domain import Disk, Domain
from ..model.overlay import layered
from ..model.types import Name
from ..xml.common import absent, mark_of
from .action import ReplaceVolume
from .disk_files import stack
from .plan import Context, Observed, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def is_outdated(plan: Plan) -> bool:
    """Whether an object is a volume whose replacement is blocked."""
    return any(isinstance(action, ReplaceVolume) for action in plan.withheld)


def with_old_disks(domain: Domain, observed: Observed, context: Context) -> Domain:
    """The domain as declared, but for what it says of volumes that are not replaced yet."""
    old = [disk for disk in domain.disks if _is_outdated(disk, context)]
    if not old:
        return domain
    disks = tuple(_as_it_is(disk, observed, context) if disk in old else disk for disk in domain.disks)
    mark, image = domain.mark, (mark_of(observed.xml) or {}).get("image")
    if mark is not None and next(disk for disk in domain.disks if disk.device == "disk") in old:
        mark = replace(mark, image=None if image is None else Name(image))
    return replace(domain, disks=disks, mark=mark)


def needs_new_disk(domain: Domain, observed: Observed | None, context: Context) -> list[Address]:
    """The volumes that are not replaced yet and that the definition on the host does not have."""
    old = [disk for disk in domain.disks if _is_outdated(disk, context)]
    return [_volume(disk) for disk in old if observed is None or _found(disk, observed, context) is None]


def _is_outdated(disk: Disk, context: Context) -> bool:
    return disk.volume is not None and _volume(disk) in context.outdated


def _volume(disk: Disk) -> Address:
    return Address("volume", f"{disk.pool}/{disk.volume}")


def _as_it_is(disk: Disk, observed: Observed, context: Context) -> Disk:
    found = _found(disk, observed, context)
    format_ = None if found is None else absent(found.find("driver"), "type")
    return disk if format_ is None or _source_is_layer(found) else replace(disk, format=format_)  # type: ignore[arg-type]


def _source_is_layer(disk: Element | None) -> bool:
    return disk is not None and layered(absent(disk.find("source"), "file") or "") is not None


def _found(disk: Disk, observed: Observed, context: Context) -> Element | None:
    """The disk of a definition that is on a volume, by its name or its path, or on a layer over it."""
    volume = context.observed[_volume(disk)]
    for source in observed.xml.iterfind("devices/disk/source"):
        named = (source.get("pool"), source.get("volume")) == (disk.pool, disk.volume)
        found = source.getparent()
        if found is not None and (named or volume.info.get("path") in stack(found, context)):
            return found
    return None
