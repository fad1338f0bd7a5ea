# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kinds share when they write and read XML: our mark, spellings, and the dropping of what was not said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._thirdparty import etree
from ..model.address import NAMESPACE, Mark
from .build import E
from .shape import Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

OBJECT = f"{{{NAMESPACE}}}object"
RECORD_NAMESPACE = "urn:dos:vm:devices:1"
RECORD = f"{{{RECORD_NAMESPACE}}}devices"  # see xml/device_record.py
NUMBERS = ("stop_timeout", "epoch", "created")
METADATA = shape(
    "metadata",
    shape(
        OBJECT,
        *(Attr(name) for name in ("site", "project", "origin", "stop_timeout", "image", "on_boot")),
        # A definition keeps those that it was made under.
        Attr("epoch", computed=True),
        Attr("created", computed=True),
        computed=True,
        field="mark",
    ),
    field=".",
)

BOOT = shape("boot", Attr("order", field="boot_order"), field=".")


def boot(order: int | None) -> Element | None:
    """When a device is booted from, if it is."""
    return E("boot", order=order) if order else None


def mark_element(mark: Mark | None) -> Element | None:
    """`<metadata>` with our mark, as domains and networks carry it."""
    if mark is None:
        return None
    held = etree.Element(OBJECT, nsmap={"dos": NAMESPACE})
    for name in ("site", "project", "origin", "image", "on_boot", *NUMBERS):
        if getattr(mark, name) is not None:
            held.set(name, str(getattr(mark, name)))
    return E("metadata", held)


def mark_of(element: Element) -> dict[str, Any] | None:
    """The mark of a domain or network, as `Mark` takes it; `None` if it has none."""
    held = element.find(f"metadata/{OBJECT}")
    if held is None:
        return None
    return {name: int(value) if name in NUMBERS else value for name, value in _texts(held).items()}


# What begins the name in the origin of a mark.
NAMED = {"domain": ".vms.", "network": "dos_networks."}


def marked_for(element: Element) -> str:
    """The VM or network that a mark was written for, where that is another one: this was copied, or renamed; else empty."""
    origin = (mark_of(element) or {}).get("origin", "")
    _, found, name = origin.rpartition(NAMED.get(str(element.tag), "\n"))
    return name if found and name != element.findtext("name") else ""


def is_of(site: str, element: Element) -> bool:
    """Whether a domain or network is the site's. A mark that came with a copy of another domain says nothing of this one."""
    return (mark_of(element) or {}).get("site") == site and not marked_for(element)


def not_of(site: str, element: Element) -> str:
    """Why a domain or network is not touched in the name of a site; empty where it is the site's."""
    found = (mark_of(element) or {}).get("site")
    if found == site and (vm := marked_for(element)):
        return f"has the ownership mark of {vm}, so it is a copy of that or was renamed outside dos.vm, and is never touched"
    if found == site:
        return ""
    if found is None:
        return "is unmanaged (it has no ownership mark), and is never touched"
    return f"is of site {found}, and this call is for site {site}: set site: {found}"


def _texts(element: Element) -> dict[str, str]:
    return {str(name): str(value) for name, value in element.attrib.items()}


def lower(text: str) -> str:
    """The spelling of MAC addresses and UUIDs that we compare."""
    return text.lower()


def flag(text: str | None) -> bool | None:
    """libvirt's `yes`/`no` and `on`/`off`; `None` when nothing was said."""
    return None if text is None else text in ("yes", "on")


def absent(element: Element | None, attribute: str) -> str | None:
    """The attribute, or nothing if even the element is missing."""
    return None if element is None else element.get(attribute)


def number(element: Element | None, attribute: str) -> int | None:
    """The attribute as a whole number, or nothing if even the element is missing."""
    value = absent(element, attribute)
    return None if value is None else int(value)


def pruned(**values: Any) -> dict[str, Any]:
    """The values that say something: not `None`, not an empty list."""
    return {name: value for name, value in values.items() if value is not None and value != []}


def stamped(element: Element, now: float) -> bool:
    """Whether the mark of a definition, in place, now says that it was made now; one without mark, or that knows when, is left."""
    held = element.find(f"metadata/{OBJECT}")
    if held is None or held.get("created") is not None:
        return False
    held.set("created", str(int(now)))
    return True
