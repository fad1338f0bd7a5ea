# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks that a migration copies: made empty at the target, filled by QEMU, and then only one of the two stays.

Beside a volume that is being filled there is another, `NAME.incoming`, from before the first byte until the machine runs
there. So whoever comes after a failure, of whatever, can tell half a copy from data: only what has such a neighbour is ever
deleted without being named.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import HypervisorError
from ..plan.migration import Disk
from ..xml.build import E, parse, to_text
from .connection import saying
from .sides import INCOMING, marker, volume_of

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def prepare(source: Any, target: Any, domain: Any, disks: Iterable[Disk], to: str) -> bool:
    """Make a volume at the target for each disk; whether every one stands on the same backing file as here.

    Where the target lacks a backing file, or is refused it, the copy of that disk will hold all of it.
    """
    same = True
    for disk in disks:
        with saying(f"make room for {disk.name} on {to}"):
            mark(source, target, disk)
            remove(target, disk)
            same &= _make(source, target, domain, disk)
    return same


def mark(source: Any, target: Any, disk: Disk) -> None:
    pool = target.storagePoolLookupByName(disk.pool)
    if marker(target, disk) is None:
        name = f"{disk.volume}{INCOMING}"
        empty = E("volume", E("name", name), E("capacity", 512, unit="bytes"), E("target", E("format", type="raw")))
        pool.createXML(to_text(empty))
    source.storagePoolLookupByName(disk.pool).refresh()
    if marker(source, disk) is not None:
        discard(target, [disk], volumes=False)
        text = "both hosts see the same files there, and a disk copied onto itself is lost; write storage: shared"
        raise HypervisorError(f"copy {disk.name}", text)


def _make(source: Any, target: Any, domain: Any, disk: Disk) -> bool:
    """Whether the new volume stands on what the old one stands on."""
    held = volume_of(source, disk.pool, disk.volume)
    xml = parse(held.XMLDesc())
    below = xml.find("backingStore")
    target_xml = xml.find("target")
    made = E(
        "volume",
        E("name", disk.volume),
        E("capacity", domain.blockInfo(disk.target)[0], unit="bytes"),  # the volume's own may be from before it grew
        E("allocation", 0, unit="bytes"),
        E(
            "target",
            E("format", type="raw" if target_xml is None else _format(target_xml)),
            *(part for part in (xml.find("target/compat"), xml.find("target/features")) if part is not None),
        ),
    )
    if below is None:
        target.storagePoolLookupByName(disk.pool).createXML(to_text(made))
        return True
    layered = parse(to_text(made))
    layered.append(E("backingStore", E("path", below.findtext("path")), E("format", type=_format(below))))
    try:
        target.storagePoolLookupByName(disk.pool).createXML(to_text(layered))
    except libvirt.libvirtError:
        target.storagePoolLookupByName(disk.pool).createXML(to_text(made))
        return False
    return True


def _format(element: Element) -> str:
    held = element.find("format")
    return "raw" if held is None else held.get("type", "raw")


def remove(connection: Any, disk: Disk) -> None:
    held = volume_of(connection, disk.pool, disk.volume)
    if held is not None:
        held.delete()


def discard(target: Any, disks: Iterable[Disk], *, volumes: bool = True) -> None:
    """Take away what a migration that came to nothing has left: each marked copy, then its mark."""
    for disk in disks:
        mark = marker(target, disk)
        if mark is not None:
            if volumes:
                remove(target, disk)
            mark.delete()


def settle(source: Any, target: Any, disks: Iterable[Disk], *, keep: bool) -> list[Disk]:
    """The machine runs at the target: the copies are the disks now. Returns those that were removed here.

    Only a disk whose copy is marked is removed, so that one that both hosts see never is.
    """
    gone = []
    for disk in disks:
        mark = marker(target, disk)
        if mark is None:
            continue
        held = volume_of(source, disk.pool, disk.volume)
        if not keep and held is not None and marker(source, disk) is None:
            held.delete()
            gone.append(disk)
        mark.delete()
    return gone
