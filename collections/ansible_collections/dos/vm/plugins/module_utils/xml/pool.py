# SPDX-License-Identifier: GPL-3.0-or-later
"""`<pool>`: see https://libvirt.org/formatstorage.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.pool import Permissions, Pool
from .build import E, maybe
from .common import pruned
from .merge import laid_over
from .shape import Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def render(pool: Pool) -> Element:
    """The XML of a declared pool."""
    element = E(
        "pool",
        E("name", pool.name),
        E("target", E("path", pool.path), permissions(pool.permissions)),
        type=pool.type,
    )
    return laid_over(element, pool.xml, SHAPE)


def permissions(held: Permissions | None) -> Element | None:
    """Owner and mode, of a pool's directory or of a volume."""
    if held is None:
        return None
    return maybe(
        "permissions",
        held.mode and E("mode", held.mode),
        None if held.owner is None else E("owner", held.owner),
        None if held.group is None else E("group", held.group),
        held.label and E("label", held.label),
    )


def octal(text: str) -> str:
    """A mode as four digits."""
    return text.lstrip("0").rjust(3, "0").rjust(4, "0")


# What a directory has when we are silent is its own affair, and what a running guest's file has is libvirt's.
PERMISSIONS = shape(
    "permissions",
    shape("mode", computed=True, canon=octal),
    shape("owner", computed=True),
    shape("group", computed=True),
    shape("label", computed=True),
)

SHAPE = shape(
    "pool",
    Attr("type"),
    shape("name"),
    shape("uuid", computed=True),
    *(shape(tag, Attr("unit"), text=True, computed=True) for tag in ("capacity", "allocation", "available")),
    shape("source", computed=True),
    shape("target", shape("path"), PERMISSIONS, field="."),
)


def parse(element: Element) -> dict[str, Any]:
    """What a `Pool` must declare to render like the normalised `element`."""
    return pruned(
        name=element.findtext("name"),
        type=element.get("type"),
        path=element.findtext("target/path"),
        permissions=read_permissions(element.find("target/permissions")),
    )


def read_permissions(element: Element | None) -> dict[str, Any] | None:
    """Owner and mode, as `Permissions` takes them."""
    if element is None:
        return None
    owner, group = element.findtext("owner"), element.findtext("group")
    return pruned(
        mode=element.findtext("mode"),
        owner=None if owner in (None, "-1") else int(owner),
        group=None if group in (None, "-1") else int(group),
        label=element.findtext("label"),
    )
