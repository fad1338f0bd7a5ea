# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that are devices: logical volumes, partitions, LUNs. What is different from files is here, the rest in volume.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.pool import KINDS
from ..model.types import ByteSize
from ..model.volume import Volume
from .action import Find
from .plan import Context, Observed, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

#: A device has whole extents, or sectors of its partition table, so it is a little larger or smaller than it was declared.
GRAIN = {"logical": ByteSize("4 MiB"), "disk": ByteSize("2 MiB")}
#: Their volumes are made by others, on a server; a pool finds them (POOL-13).
FOUND = ("iscsi",)


def pool_type(volume: Volume, context: Context) -> str:
    """The kind of pool that a volume is in, as it is declared or else as the host has it."""
    held = context.observed.get(Address("pool", volume.pool))
    return context.pool_types.get(volume.pool) or (held.xml.get("type") if held else None) or "dir"


def is_block(kind: str) -> bool:
    return kind in KINDS and KINDS[kind].block


def rounded(volume: Volume, observed: Observed | None, kind: str) -> Volume:
    """The volume with the size that the device has, when it is the declared one but for its grain."""
    found = ByteSize(int((observed.info.get("capacity") if observed else None) or 0))
    if volume.capacity is None or not found or abs(found - volume.capacity) >= GRAIN.get(kind, ByteSize(0)):
        return volume
    return replace(volume, capacity=found)


def as_device(declared: Element) -> Element:
    """The XML of a volume without what only a file has: its format is that of its content, which is the guest's."""
    target = declared.find("target")
    found = None if target is None else target.find("format")
    if target is not None and found is not None:
        target.remove(found)
    return declared


def found(address: Address, observed: Observed | None) -> Plan:
    """A volume that only its server can make: it is there, or it is looked for."""
    if observed is not None:
        return Plan(address=address, verdict="keep", reason="is there; its size is the server's affair")
    return Plan(address=address, verdict="create", actions=(Find(address=address),))
