# SPDX-License-Identifier: GPL-3.0-or-later
"""An element, or a text, as it may be shown: what its table calls secret, and what the run knows as a secret, is hidden."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING

from .shape import Shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

HIDDEN = "(hidden)"
# Secret wherever libvirt writes them, also in elements that no table names.
SECRET_ATTRIBUTES = frozenset(["passwd", "password"])


def masked(element: Element, shape: Shape | None = None) -> Element:
    """A copy of `element` whose secret values read `(hidden)`; that there is a value still shows."""
    copied = deepcopy(element)
    copied.tail = None
    _hide(copied, shape)
    return copied


def _hide(element: Element, shape: Shape | None) -> None:
    if element.text and not element.text.strip():
        element.text = None  # indentation of children that are gone would show as a difference
    for name in map(str, element.attrib):
        known = shape.attributes.get(name) if shape else None
        if name in SECRET_ATTRIBUTES or (known is not None and known.secret):
            element.set(name, HIDDEN)
    if shape is not None and shape.secret:
        _empty(element)
    for child in element:
        _hide(child, shape.children.get(str(child.tag)) if shape else None)


def _empty(element: Element) -> None:
    for child in list(element):
        element.remove(child)
    element.text = HIDDEN


def concealed(text: str, values: Iterable[bytes]) -> str:
    """A text of others, such as a refusal that quotes a definition, without the secrets that this run brought along."""
    spellings = {spelling for value in values for spelling in _spellings(value.decode(errors="replace")) if spelling}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return text


def _spellings(value: str) -> Iterator[str]:
    """As it is, and as XML may have it."""
    yield value
    # Not by saxutils, which brings urllib along: to import that takes longer than to read a host.
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    double = text.replace('"', "&quot;")
    yield from (text, double, text.replace("'", "&apos;"), double.replace("'", "&apos;"))
