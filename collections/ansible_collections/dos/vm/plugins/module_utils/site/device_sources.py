# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks and host devices that a fragment of XML adds to a VM, as far as they say which thing they are on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ..model.types import PciAddress, UsbId

LUN = re.compile(r"unit:0:0:(\d+)")


class Source(NamedTuple):
    """The source of a disk: a path, a volume of a pool, or what a protocol calls it on `servers`."""

    name: str
    pool: str = ""
    protocol: str = ""
    servers: tuple[str, ...] = ()
    format: str = ""
    writable: bool = True
    shareable: bool = False
    target: str = ""

    def __str__(self) -> str:
        """As a message names it."""
        return f"disk {self.pool}/{self.name} of xml" if self.pool else f"disk {self.name} of xml"

    @property
    def lun(self) -> int | None:
        """Which LUN of its pool's target it is."""
        found = LUN.fullmatch(self.name)
        return int(found[1]) if found else None


@lru_cache(maxsize=1024)  # all VMs of an instance have its fragments
def disk_sources(fragment: str) -> tuple[Source, ...]:
    """The sources of the disks of a fragment, and its firmware's files that a guest writes.

    Text that is no XML has none: another rule refuses it.
    """
    disks = _devices(fragment, "disk")
    found = (_source(disk, source) for disk in disks if (source := disk.find("source")) is not None)
    return (*found, *_firmware(fragment))


def _firmware(fragment: str) -> Iterator[Source]:
    """A file of UEFI variables, and firmware that is not read-only."""
    root = _root(fragment) if "<os" in fragment else None
    if root is None or root.tag != "domain":
        return
    for element in (*root.iterfind("os/nvram"), *root.iterfind("os/loader[@readonly='no']")):
        source = element.find("source")
        name = (element.text or "").strip() or ("" if source is None else source.get("file") or source.get("dev") or "")
        if name:
            yield Source(name=name, format="raw")


def _source(disk: Element, source: Element) -> Source:
    driver, target = disk.find("driver"), disk.find("target")
    optical, read_only = disk.get("device") == "cdrom", disk.find("readonly") is not None
    return Source(
        name=next((text for name in ("file", "dev", "volume", "name") if (text := source.get(name))), ""),
        pool=source.get("pool", ""),
        protocol=source.get("protocol", ""),
        servers=tuple(host.get("name", "") for host in source.iterfind("host")),
        format="" if driver is None else driver.get("type", ""),
        writable=not (optical or read_only or disk.find("transient") is not None),
        shareable=disk.find("shareable") is not None,
        target="" if target is None else target.get("dev", ""),
    )


def host_devices(fragment: str) -> Iterator[str]:
    """The PCI functions and USB devices of the host in a fragment, spelled as a declaration spells them."""
    for device in (*_devices(fragment, "hostdev"), *_devices(fragment, "interface")):
        source = device.find("source")
        kind = "pci" if device.tag == "interface" and device.get("type") == "hostdev" else device.get("type")
        if source is not None and kind in ("pci", "usb"):
            with suppress(ValueError):  # libvirt refuses what is no address
                yield _pci(source) if kind == "pci" else _usb(source)


def _pci(source: Element) -> str:
    found = source.find("address")
    domain, bus, slot, function = (
        int("0" if found is None else found.get(name, "0"), 0) for name in ("domain", "bus", "slot", "function")
    )
    return PciAddress(f"{domain:04x}:{bus:02x}:{slot:02x}.{function}")


def _usb(source: Element) -> str:
    vendor, product = source.find("vendor"), source.find("product")
    if vendor is None or product is None:
        raise ValueError("a USB device without vendor and product")
    return UsbId(f"{int(vendor.get('id', ''), 0):04x}:{int(product.get('id', ''), 0):04x}")


def _devices(fragment: str, tag: str) -> list[Element]:
    if f"<{tag}" not in fragment:
        return []
    root = _root(fragment)
    return [] if root is None else root.findall(f"devices/{tag}" if root.tag == "domain" else tag)


def _root(fragment: str) -> Element | None:
    with suppress(ElementTree.ParseError):
        return ElementTree.fromstring(fragment)
    return None
