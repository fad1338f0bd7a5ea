# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be plugged into a running guest: by its bus, and by the room that its board has left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# Devices that come and go under a running guest, in the operator's word.
PLUGGABLE = {"disk": "disk", "interface": "card"}
# The buses that let a disk come and go; ide never did, and QEMU has no hot plug for sata.
DISK_BUSES = ("virtio", "scsi", "usb")
ROOT_PORT = "pcie-root-port"


def pluggable(element: Element) -> bool:
    """Whether QEMU plugs such a device, and libvirt finds it again: a card without MAC is none that it could find."""
    if element.tag == "interface":
        return element.find("mac") is not None
    target = element.find("target")
    by_bus = target is not None and target.get("bus") in DISK_BUSES
    # An optical drive is part of the machine, only its medium changes; an overlay is made when the machine starts.
    return by_bus and element.get("device", "disk") == "disk" and element.find("transient") is None


class Room:
    """The slots a running guest has free. Boards with PCI Express have one for each root port, others enough."""

    def __init__(self, domain: Element | None, gone: Iterable[Element]) -> None:
        """`gone` are the devices that are taken out first."""
        self._free: int | None = None
        self._scsi = domain is not None and domain.find("devices/controller[@type='scsi']") is not None
        if domain is not None and domain.find("devices/controller[@model='pcie-root']") is not None:
            self._free = _free_ports(domain, gone)

    def takes(self, element: Element) -> bool:
        """Whether one more such device fits; it is counted then."""
        target = element.find("target")
        bus = None if target is None else target.get("bus")
        if self._free is None or bus == "usb" or (bus == "scsi" and self._scsi):
            return True
        self._free -= 1
        return self._free >= 0


def _free_ports(domain: Element, gone: Iterable[Element]) -> int:
    ports = {held.get("index") for held in domain.iterfind(f"devices/controller[@model='{ROOT_PORT}']")}
    freed = {_bus(address) for held in gone for address in held.iterfind("address[@type='pci']")}
    taken = {_bus(held) for held in domain.iterfind("devices/*/address[@type='pci']")}
    return len(ports - (taken - freed))


def _bus(address: Element) -> str:
    return str(int(address.get("bus", "0"), 16))
