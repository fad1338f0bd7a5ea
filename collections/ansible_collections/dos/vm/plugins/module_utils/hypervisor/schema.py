# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's own schema, held by us: it reads forty files anew for each definition that it is asked to validate, which takes it
twice as long as all the rest of defining a machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .._thirdparty import etree

if TYPE_CHECKING:
    from lxml.etree import RelaxNG
    from lxml.etree import _Element as Element

FOLDER = Path("/usr/share/libvirt/schemas")  # of the package that the daemon is from


@cache
def _schema(kind: str, folder: Path) -> RelaxNG | None:
    try:
        return etree.RelaxNG(etree.parse(folder / f"{kind}.rng"))
    except (OSError, etree.RelaxNGParseError, etree.XMLSyntaxError):
        return None


def is_known_valid(xml: Element, folder: Path = FOLDER) -> bool:
    """Whether a definition is known to be by the schema; where not, libvirt is to be asked, who says what is wrong."""
    schema = _schema(str(xml.tag), folder)
    return schema is not None and bool(schema.validate(xml))
