# SPDX-License-Identifier: GPL-3.0-or-later
"""What the generic steps must know of an element, as a table: identity, what libvirt computes, units, defaults.

A `Shape` says how one element is compared, an `Attr` how one attribute is; together they mirror the tree of a kind. What no
row names is *foreign*: kept when we define an object anew, reported, never changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

Canon = Callable[[str], str]
# Whether libvirt chose this, where it depends: on the observed element, and on the declared one around it (for a `Shape`) or
# beside it (for an `Attr`).
Chosen = Callable[["Element", "Element"], bool]
Show = Callable[[str], str]
INDEX = "#"  # the key of siblings that have no identity but their position
SILENT = "#"  # begins the identity of an element that should have a key and has none


@dataclass(frozen=True, slots=True)
class Attr:
    """One attribute.

    `field` is the operator's word for it, when it differs from `name`. `computed`: libvirt may choose when we are silent, always
    or where a function of what was observed and declared says so.
    `default`: what libvirt writes when we are silent, and means the same. `canon` brings a spelling to the one we compare.
    `settles(declared, observed)`: libvirt makes the declared value more exact (`q35` → `pc-q35-7.2`), and then we keep its.
    `show` makes of a value the text a change is shown with.
    """

    name: str
    field: str = ""
    computed: bool | Chosen = False
    default: str | None = None
    canon: Canon | None = None
    settles: Callable[[str, str], bool] | None = None
    secret: bool = False
    show: Show | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """One element.

    `key` names what tells siblings of this tag apart: `@attribute`, `child`, `child/@attribute`, `.` for the text, the first
    of several that is there (`@mac|@name`), or `INDEX`; without a key there is at most one. `computed`: an observed one is kept
    when we are silent. `flag`: being there is the meaning, so an empty one counts. `default`: the text that means the same as
    no element. `tidy` rewrites the element in place before anything else, for what no row can say (a netmask that is a
    prefix); it must be idempotent. `ordered`: the order of these siblings matters. `whole`: compared and shown as one value.
    `alike`, look-ups like those of `key`: an element that is silent about its key takes that of a sibling on the host which
    nobody named, first of one that is alike, then of any (an interface without a MAC is one that libvirt gave a MAC).
    `once`: said when the element around it is made and forgotten by libvirt later, so it never counts as a difference.
    `quiet`: libvirt's own, whose coming or going follows from another change and is not shown beside it.
    """

    tag: str
    rows: tuple[Attr | Shape, ...] = ()
    key: tuple[str, ...] = ()
    field: str = ""
    computed: bool | Chosen = False
    flag: bool = False
    text: bool = False
    default: str | None = None
    canon: Canon | None = None
    tidy: Callable[[Element], None] | None = None
    settles: Callable[[str, str], bool] | None = None
    ordered: bool = False
    whole: bool = False
    secret: bool = False
    show: Show | None = None
    alike: tuple[str, ...] = ()
    quiet: bool = False
    once: bool = False
    attributes: dict[str, Attr] = dataclasses.field(init=False, repr=False, compare=False)
    children: dict[str, Shape] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", {row.name: row for row in self.rows if isinstance(row, Attr)})
        object.__setattr__(self, "children", {row.tag: row for row in self.rows if isinstance(row, Shape)})

    def identity(self, element: Element, index: int) -> tuple[str, ...]:
        """What tells `element` apart from its siblings of the same tag; `index` is its position among them.

        One that is silent about all of its key is told apart by its position, `#0`.
        """
        key = tuple([str(index) if part == INDEX else self._spelled(element, part) for part in self.key])
        return key if any(key) or not key else (f"{SILENT}{index}",)

    def _spelled(self, element: Element, part: str) -> str:
        """A part of the key; what libvirt writes when we are silent is the same as silence, before normalisation too."""
        value = _look_up(element, part)
        row = self.attributes.get(part[1:]) if part.startswith("@") else None
        return "" if row is not None and value == row.default else value

    def likeness(self, element: Element) -> tuple[str, ...]:
        """What an element that is silent about its key has in common with the one on the host."""
        return tuple([_look_up(element, part) for part in self.alike])

    def walk(self, path: str = "") -> list[tuple[str, Shape]]:
        """This shape and all below, with their paths: `network/ip/dhcp`."""
        here = f"{path}/{self.tag}" if path else self.tag
        return [(here, self), *(row for child in self.children.values() for row in child.walk(here))]


def shape(tag: str, *rows: Attr | Shape, key: str | tuple[str, ...] = (), **how: object) -> Shape:
    """A `Shape` whose rows are written as arguments; an element without rows and without `flag` holds text."""
    keys = (key,) if isinstance(key, str) else key
    text = not rows and not how.get("flag") and not how.get("whole")
    return Shape(tag, rows=rows, key=keys, **{"text": text, **how})  # type: ignore[arg-type]  # checked by Shape's tests


def _look_up(element: Element, part: str) -> str:
    """`@name`, `child`, `child/@name`, `.` for the text, or alternatives `@mac|@name`; the empty string for nothing."""
    for alternative in part.split("|"):
        steps, at, attribute = alternative.partition("@")
        found = element.find(steps.rstrip("/")) if steps.rstrip("/.") else element
        value = None if found is None else found.get(attribute) if at else found.text
        if value and value.strip():
            return value.strip()
    return ""
