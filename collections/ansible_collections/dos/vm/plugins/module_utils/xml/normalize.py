# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring an element to the one spelling we compare: units, case, defaults that mean nothing. Idempotent; works on a copy."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from .shape import Shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def normalize(element: Element, shape: Shape) -> Element:
    """A copy of `element` in which equal meanings have equal spellings."""
    copied = deepcopy(element)
    copied.tail = None
    settle(copied, shape)
    return copied


def settle(element: Element, shape: Shape) -> None:
    """Normalise in place. Foreign elements and attributes are left as they are."""
    if shape.whole:
        return
    if shape.tidy is not None:
        shape.tidy(element)
    attributes = element.attrib
    for name, attribute in shape.attributes.items():
        value = attributes.get(name)
        if value is None:
            continue
        if attribute.canon is not None:
            attributes[name] = value = attribute.canon(value)
        if value == attribute.default:
            del attributes[name]
    if shape.text:
        text = (element.text or "").strip()
        element.text = (shape.canon(text) if shape.canon and text else text) or None
    children = shape.children
    for child in list(element):
        known = children.get(str(child.tag))
        if known is None:
            continue
        child.tail = None
        settle(child, known)
        if says_nothing(child, known):
            element.remove(child)


def says_nothing(element: Element, shape: Shape) -> bool:
    """Whether the element means the same as no element at all."""
    if element.attrib or len(element) or shape.flag or shape.key:
        return False
    return not element.text or element.text == shape.default
