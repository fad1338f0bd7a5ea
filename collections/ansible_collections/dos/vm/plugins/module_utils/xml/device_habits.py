# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's habits with devices: what it chose and may keep, and one spelling for what it writes in several.

The shapes in `devices` name these; see https://libvirt.org/formatdomain.html#devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.domain import Domain
from ..model.overlay import SUFFIX
from .build import E
from .common import absent

if TYPE_CHECKING:
    from lxml.etree import _Element as Element
# --- what libvirt chose, and where it may stay -------------------------------------------------------------------------


def whole(kib: int) -> int:
    """KiB as QEMU rounds them: up to whole MiB, so that a definition and what runs are the same."""
    return -(-kib // 1024) * 1024


def card_model(domain: Domain) -> Any:
    """The card of a guest that has a driver for it (DOMX-07)."""
    if domain.guest != "windows":
        return "virtio"
    return "e1000" if family(domain.machine) == "pc" else "e1000e"


def is_live(element: Element) -> bool:
    """Whether the element belongs to the XML of a running domain: only that has a number."""
    return _top(element).get("id") is not None


def _top(element: Element) -> Element:
    # Not the root of its tree: an element that lxml made for another's document believes in the other's root.
    while (above := element.getparent()) is not None:
        element = above
    return element


def live(observed: Element, declared: Element) -> bool:
    return is_live(observed)


def board(element: Element) -> str:
    """The family of the board that the element is plugged into, `q35`; empty when it stands alone."""
    machine = _top(element).find("os/type")
    return "" if machine is None else family(machine.get("machine", ""))


def family(machine: str) -> str:
    """`q35` of `pc-q35-7.2`, `pc` of `pc-i440fx-7.2`, `virt` of `virt-7.2`."""
    if machine.startswith("pc-i440fx"):
        return "pc"
    return machine.removeprefix("pc-").split("-")[0]


def same_board(observed: Element, declared: Element) -> bool:
    """Controllers and addresses of one board mean nothing on another."""
    wanted = board(declared)
    return not wanted or wanted == board(observed)


# Where a device is plugged in depends on these: another bus, another place.
PLACED_BY = {"disk": ("target", "bus"), "interface": ("model", "type"), "video": ("model", "type")}


def in_place(address: Element, declared: Element) -> bool:
    device = address.getparent()
    if device is None or not same_board(address, declared):
        return False
    tag, attribute = PLACED_BY.get(str(device.tag), ("", ""))
    return not tag or absent(device.find(tag), attribute) == absent(declared.find(tag), attribute)


def cache_of_shared(driver: Element, declared: Element) -> bool:
    # libvirt starts a disk that several machines write without the host's cache, and says so only in the live XML.
    return is_live(driver) and driver.get("cache") == "none" and driver.find("../shareable") is not None


# Where the data of a disk is, whatever its type.
PLACES = ("file", "dev", "pool", "volume", "protocol", "name")


def same_source(backing: Element, declared: Element) -> bool:
    before, after = backing.find("../source"), declared.find("source")
    return before is not None and after is not None and all(before.get(name) == after.get(name) for name in PLACES)


def same_type(observed: Element, declared: Element) -> bool:
    return observed.get("type") == declared.get("type")


def rounded(declared: str, observed: str) -> bool:
    # libvirt gives a video card its memory in powers of two.
    return declared.isdigit() and observed == str(1 << max(int(declared) - 1, 0).bit_length())


def of_network(source: Element, declared: Element) -> bool:
    # The bridge of the network it is plugged into, in the live XML.
    return source.get("network") is not None and declared.get("network") is not None


def always_there(device: Element, declared: Element) -> bool:
    return device.get("type") in ("mouse", "keyboard")


# --- spellings -----------------------------------------------------------------------------------------------------------


def tidy_disk(disk: Element) -> None:
    source, driver = disk.find("source"), disk.find("driver")
    if source is not None and driver is not None and disk.find("transient") is not None:
        _see_through_overlay(disk, source, driver)
    names = [] if source is None else [name for name in source.attrib if name not in ("index", "startupPolicy")]
    if driver is not None and not names:
        # libvirt gives a format to a drive without a medium, and takes it away while the machine runs.
        driver.attrib.pop("type", None)


def _see_through_overlay(disk: Element, source: Element, driver: Element) -> None:
    """While it runs, a transient disk's source is an overlay; what was declared is the overlay's backing."""
    backing = disk.find("backingStore")
    below = None if backing is None else backing.find("source")
    if backing is None or below is None or SUFFIX not in source.get("file", ""):
        return
    policy = source.get("startupPolicy")
    disk.replace(source, below)
    if policy is not None:
        below.set("startupPolicy", policy)
    disk.set("type", backing.get("type", "file"))
    driver.set("type", absent(backing.find("format"), "type") or "raw")
    disk.remove(backing)


def tidy_interface(interface: Element) -> None:
    """While it runs, a card on a bridged network has the type of what it is plugged into, and says where."""
    source = interface.find("source")
    if source is not None and source.get("network") is not None:
        interface.set("type", "network")
        for name in ("dev", "mode"):
            source.attrib.pop(name, None)


def tidy_graphics(graphics: Element) -> None:
    if graphics.get("autoport") == "yes" or graphics.get("port") == "-1":
        for name in ("port", "tlsPort"):
            graphics.attrib.pop(name, None)
    # libvirt writes the address twice; the attribute is from before there could be several.
    listen = graphics.attrib.pop("listen", None)
    if listen is not None and graphics.find("listen") is None:
        graphics.append(E("listen", type="address", address=listen))


def tidy_controller(controller: Element) -> None:
    if controller.get("index") is None:
        controller.set("index", "0")
