# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file a disk is, whatever a definition calls it, and what that file is layered over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.overlay import layered
from ..xml.common import absent
from .plan import Context

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

WITH_DATA = ("disk", "lun")
WITHOUT = ("readonly", "transient")


def disks(domain: Element | None) -> Iterator[tuple[str, Element]]:
    """The disks and drives of a domain, each with its target."""
    for disk in () if domain is None else domain.iterfind("devices/disk"):
        yield target_of(disk), disk


def target_of(disk: Element) -> str:
    """The name that the guest's board has for it."""
    return absent(disk.find("target"), "dev") or ""


def has_data(disk: Element) -> bool:
    """Whether the guest may have written something that stays."""
    lost = any(disk.find(tag) is not None for tag in WITHOUT)
    return disk.get("device", "disk") in WITH_DATA and not lost


def file_of(disk: Element, context: Context) -> str:
    """The one path of what a disk names, whatever it is called by; empty for a drive without a medium."""
    source = disk.find("source")
    if source is None:
        return ""
    if source.get("volume"):
        return file_of_volume(source.get("pool", ""), source.get("volume", ""), context)
    path = source.get("file") or source.get("dev")
    if path:
        return context.layers.names.get(path, path)
    return " ".join(filter(None, (source.get("protocol"), source.get("name"), *_hosts(source))))


def file_of_volume(pool: str, name: str, context: Context) -> str:
    """The file of a volume, also where it is missing."""
    held = context.observed.get(Address("volume", f"{pool}/{name}"))
    if held is not None and held.info.get("path"):
        return held.info["path"]
    found = context.observed.get(Address("pool", pool))
    directory = context.pool_paths.get(pool) or (found.xml.findtext("target/path") if found else "")
    return f"{directory}/{name}" if directory else f"{pool}/{name}"


def file_named(source: str, context: Context) -> str:
    """The file of a disk that is written as `pool/volume`, or as a path."""
    if source.startswith("/"):
        return context.layers.names.get(source, source)
    pool, _, name = source.partition("/")
    return file_of_volume(pool, name, context)


def _hosts(source: Element) -> Iterable[str]:
    return (f"{host.get('name')}:{host.get('port', '')}" for host in source.iterfind("host"))


def stack(disk: Element, context: Context) -> tuple[str, ...]:
    """The file of a disk and all that it is layered over, top first; nothing for a drive without a medium.

    The path of a layer of our own checkpoints names its disk, also where the host has not read it.
    """
    file = file_of(disk, context)
    if not file:
        return ()
    found = context.layers.stack(file)
    own = layered(file)
    return (*found, *context.layers.stack(own.file)) if own is not None and len(found) == 1 else found


def name_of(disk: Element, domain: str, context: Context) -> str:
    """What a disk's data is called in `data_loss`."""
    return _volume_of(disk, context) or f"domain {domain} disk {target_of(disk)}"


def called(disk: Element, context: Context) -> str:
    """What a disk is, in a sentence."""
    return _volume_of(disk, context) or file_of(disk, context)


def _volume_of(disk: Element, context: Context) -> str:
    """The volume that a disk is, as its address; empty for another file."""
    source = disk.find("source")
    if source is not None and source.get("volume"):
        return f"volume {source.get('pool')}/{source.get('volume')}"
    file = file_of(disk, context)
    named = context.layers.volumes.get(file)
    return f"volume {named}" if named else ""
