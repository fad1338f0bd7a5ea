# SPDX-License-Identifier: GPL-3.0-or-later
"""What laying a fragment over an element changed of what fields say, as opposed to what it added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .compare import Change, compare
from .normalize import normalize
from .shape import Shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def overridden(before: Element, after: Element, shape: Shape) -> Iterator[Change]:
    """The values of fields that differ; neither argument is changed."""
    changes = compare(normalize(before, shape), normalize(after, shape), shape)
    return (change for change in changes if change.before is not None or _is_default(change, shape))


def _is_default(change: Change, shape: Shape) -> bool:
    """Whether a value is added that a field says by default; elements, and what the tables do not have, are the fragment's own."""
    if (change.after or "").startswith("<"):
        return False
    *tags, last = change.xpath.split("/")[1:]
    held: Shape | None = shape
    for tag in tags:
        held = held and held.children.get(tag)
    return held is not None and (
        last.removeprefix("@") in held.attributes if last[:1] == "@" else last in held.children
    )
