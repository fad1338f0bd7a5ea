# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a piece of libvirt's XML, as an operator writes it, XML at all? What is in it is libvirt's affair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

DECLARATION = re.compile(r"<[!?](?!--|\[CDATA\[)")


def refusal(text: str, *, inside: str | None = None, roots: tuple[str, ...] = ()) -> str | None:
    """Why `text` cannot be used, or nothing. `inside` is the element it goes into, `roots` what it may begin with."""
    if DECLARATION.search(text):
        return "has a declaration or a DOCTYPE, write elements only"
    try:
        root = ElementTree.fromstring(f"<{inside}>{text}</{inside}>" if inside else text)
    except ElementTree.ParseError as broken:
        return f"is not well-formed XML: {broken}"
    if roots and root.tag not in roots:
        return f"begins with <{root.tag}>, write one with the root {' or '.join(roots)} (CUST-02)"
    return None


def check_fragment(path: str, text: str | None, inside: str) -> Iterator[tuple[str, str]]:
    """For the `check()` of a declaration: elements that go into another."""
    refused = None if text is None else refusal(text, inside=inside)
    if refused:
        yield path, refused
