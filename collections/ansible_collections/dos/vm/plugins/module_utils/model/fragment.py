# SPDX-License-Identifier: GPL-3.0-or-later
"""What a piece of libvirt's XML names, read as text: whoever asks has not parsed it, and most machines have none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple


class Named(NamedTuple):
    """A value, and the attribute that has it."""

    attribute: str
    value: str


def named(text: str, element: str, *attributes: str) -> Iterator[Named]:
    """What the elements of that tag name by an attribute; of one element the first of these attributes."""
    for match in _pattern(element, attributes).finditer(text):
        yield Named(match[1], match[3])


@cache
def _pattern(element: str, attributes: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<{element}\s[^>]*?\b({'|'.join(attributes)})\s*=\s*(['\"])(.*?)\2")
