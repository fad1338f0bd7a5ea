# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a checkpoint, and what one would lose: looked at before libvirt is asked, every reason at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from ..model.overlay import image_of

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def targets(domain: Element) -> dict[str, Element]:
    """The disks that a guest writes to, by target."""
    found: dict[str, Element] = {}
    for disk in domain.iterfind("devices/disk"):
        target = disk.find("target")
        if target is not None and disk.get("device", "disk") == "disk" and disk.find("readonly") is None:
            found[target.get("dev", "")] = disk
    return found


def refusals(
    domain: Element, state: str, wanted: Collection[str] | None, *, inside: bool = True, memory: bool = True
) -> Iterator[str]:
    """Why a machine can have no checkpoint now. `wanted` are the disks that were chosen, `None` for all; `inside` the disks it
    would be, or in files of its own."""
    if state != "running" and (memory or state != "shut off"):
        yield f"it is {state}: start it first (VM-T2)"
    disks = targets(domain)
    yield from (f"it has no disk {name} that it writes to" for name in wanted or () if name not in disks)
    for name, disk in disks.items():
        if wanted is None or name in wanted:
            yield from (f"disk {name} {why}" for why in (*_of_disk(disk), *_of_place(disk, inside)))
    if not inside and not disks:
        yield "it has no disk that it writes to"
    if wanted is not None and set(wanted) < set(disks):
        rest = ", ".join(name for name in disks if name not in wanted)
        # Memory that goes back while a disk does not is a torn file system; and the next checkpoint would have less below it.
        yield f"{rest} would not go back with the rest: name every disk that the guest writes to (CKPT-07)"
    if domain.find("devices/hostdev") is not None:
        yield "a device of the host is passed through, whose state nobody can capture"
    if domain.find("devices/filesystem") is not None:
        yield "a directory of the host is shared with it, which would not go back"
    if domain.find("os/loader[@type='pflash']") is not None:
        yield "its firmware is UEFI, whose variables libvirt does not capture inside qcow2"


def _of_place(disk: Element, inside: bool) -> Iterator[str]:
    driver = disk.find("driver")
    form = "raw" if driver is None else driver.get("type", "raw")
    if inside and form != "qcow2" and disk.find("transient") is None:
        yield f"is {form}: a checkpoint lies inside the disk, which only qcow2 can; write stored: external"
    if not inside and disk.find("source/encryption") is not None:
        yield "is encrypted, and what is written to the new file would not be"
    if not inside and disk.get("type") not in ("file", "block", "volume"):
        yield f"is of type {disk.get('type')}: a new file goes over a file or a block device"


def _of_disk(disk: Element) -> Iterator[str]:
    driver = disk.find("driver")
    if disk.find("transient") is not None:
        yield "forgets what is written to it: there is nothing to go back to"
    if driver is not None and driver.get("copy_on_read") == "on":
        yield "copies what it reads: turn copy_on_read off (CKPT-06)"
    if disk.find("shareable") is not None:
        yield "is written to by others as well"


def losses(domain: Element, captured: Element) -> Iterator[str]:
    """What a machine has now and a checkpoint does not (CKPT-09)."""
    before = targets(captured)
    for name, disk in targets(domain).items():
        if name not in before:
            yield f"disk {name} is not in the checkpoint, and goes from the machine"
        elif _source(disk) != _source(before[name]):
            yield f"disk {name} was another one then"


def _source(disk: Element) -> tuple[str, ...]:
    source = disk.find("source")
    if source is None:
        return ()
    return (image_of(source.get("file", "")), *(source.get(name, "") for name in ("pool", "volume", "dev")))


def descendants(parents: Mapping[str, str | None], name: str) -> list[str]:
    """Every checkpoint below one, by the parent of each; leaves last."""
    found = [child for child, parent in parents.items() if parent == name]
    return [held for child in found for held in (child, *descendants(parents, child))]
