# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing and reading XML: a constructor that lets a `render` look like the XML it makes, a safe parser, one text form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._thirdparty import etree
from ..errors import DeclarationError

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    Content = Element | str | int | None | Iterable[Element | None]


def E(tag: str, *content: Content, **attributes: object) -> Element:
    """An element. What is `None`, content or attribute, is left out; a flag becomes `yes` or `no`; `type_` means `type`."""
    element = etree.Element(tag)
    for name, value in attributes.items():
        if value is not None:
            element.set(name.rstrip("_"), text_of(value))
    for part in content:
        if part is None:
            continue
        if isinstance(part, (str, int)):
            element.text = text_of(part)
        elif isinstance(part, etree._Element):
            element.append(part)
        else:
            element.extend(child for child in part if child is not None)
    return element


def maybe(tag: str, *content: Content, **attributes: object) -> Element | None:
    """The element, or nothing when it would be empty: no content and no attribute."""
    element = E(tag, *content, **attributes)
    return element if len(element) or element.text is not None or element.attrib else None


def text_of(value: object) -> str:
    """A value as libvirt writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(int(value))  # a ByteSize is its number of bytes
    return str(value)


def on_off(value: bool | None) -> str | None:
    """A flag where libvirt says `on` and `off`."""
    return None if value is None else "on" if value else "off"


def parse(text: str | bytes, *, path: str = "xml") -> Element:
    """The root element of a document, without comments and ignorable white space.

    Entities and DTDs are refused and nothing is fetched: the text may come from an inventory. Raises `DeclarationError`.
    """
    parser = etree.XMLParser(
        remove_comments=True, remove_pis=True, remove_blank_text=True, resolve_entities=False, no_network=True
    )
    try:
        root = etree.fromstring(text.encode() if isinstance(text, str) else text, parser)
    except etree.XMLSyntaxError as refused:
        raise DeclarationError.at(path, f"is not XML: {refused}") from None
    if root.getroottree().docinfo.doctype:
        raise DeclarationError.at(path, "has a DOCTYPE, write the element alone")
    return root


def to_text(element: Element) -> str:
    """One text form, for diffs, golden files and libvirt: indented by two spaces, one element a line."""
    etree.indent(element, "  ")
    return etree.tostring(element, encoding="unicode") + "\n"


def compact(element: Element) -> str:
    """The element on one line, in canonical order of attributes: equal texts mean equal elements."""
    return etree.tostring(element, method="c14n2", strip_text=True).decode()
