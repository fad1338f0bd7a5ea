# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices of the host that are given to a machine whole (HOT-07): what the host itself still has on them.

libvirt takes a device from its driver whatever hangs on it: a file system that is mounted is then gone under its files, and a
card under the connection that asked for it. Read from sysfs, where all that a device has made lies below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..xml.hardware import host_device
from .devices import uses
from .links import links

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

SYS = Path("/sys")
# What the name of one of several ways to an NVMe disk has more than that of the disk.
PATHS = re.compile(r"c\d+(?=n\d+$)")


def refused(devices: Iterable[Element]) -> Iterator[str]:
    """Every one of these devices of a machine that is one of the host's, and that the host has not, or uses, and for what."""
    for held in devices:
        match host_device(held):
            case ("pci", name):
                yield from _reasons(name, _on_pci(name), "lspci -D")
            case ("usb", name):
                found = _on_usb(name.split(":"))
                # With a policy libvirt is told whether it must be there.
                if found or held.find("source[@startupPolicy]") is None:
                    yield from _reasons(name, found, "lsusb")


def _reasons(name: str, places: list[Path], lists: str) -> Iterator[str]:
    if not places:
        yield f"there is no device {name} on this host, write one that {lists} shows"
    if found := [use for place in places for use in (*_disks(place), *_cards(place))]:
        yield f"device {name} is in use by the host, let it go first: {', '.join(found)}"


def _on_pci(name: str) -> list[Path]:
    place = SYS / "bus/pci/devices" / name
    return [place.resolve()] if place.exists() else []


def _on_usb(wanted: list[str]) -> list[Path]:
    found = []
    for place in sorted((SYS / "bus/usb/devices").glob("*")):
        with suppress(OSError):  # an interface of a device, or one that was pulled out
            if [(place / file).read_text().strip() for file in ("idVendor", "idProduct")] == wanted:
                found.append(place.resolve())
    return found


def _disks(place: Path) -> Iterator[str]:
    """lsblk tells of the partitions of a disk, and of what stands on them."""
    below = [disk for disk in (SYS / "class/block").glob("*") if place in disk.resolve().parents]
    for name in sorted({PATHS.sub("", disk.name) for disk in below if not (disk / "partition").exists()}):
        yield from uses(f"/dev/{name}")


def _cards(place: Path) -> Iterator[str]:
    carried = links()
    for card in sorted((SYS / "class/net").glob("*")):
        if place in card.resolve().parents:
            held = carried.get(card.name)
            yield from (f"{card.name} has address {address}" for address in (held.addresses if held else ()))
            yield from (f"{card.name} is part of {upper.name.removeprefix('upper_')}" for upper in card.glob("upper_*"))
