# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume that is made anew, so that there is always an old one or a new one.

A new file is made beside the old one, looked at, and takes its name; a run that ends in between leaves the old one, and the
next begins with what is left of the new. Two devices cannot have one name: there, what the new one is layered over is looked at
before the old one goes. Of a host that is not this machine nothing is known here, and it is done as for a device.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HypervisorError
from ..model.address import Address
from ..model.types import ByteSize
from ..plan.block_volume import is_block
from ..xml.build import parse, to_text
from .connection import allowing
from .ready import is_here
from .storage import BESIDE, create_volume, wipe, wipe_file

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def replace(pool: Any, address: Address, text: str, *, wiped: bool) -> None:
    """Make a volume of a pool anew from its XML. Raises `HypervisorError` where the new one cannot be, and the old one stays."""
    xml, name = parse(text), address.name.partition("/")[2]
    old = pool.storageVolLookupByName(name)
    here = is_here(pool.connect())
    if here:
        _refuse_without_base(address, xml)
    if not here or is_block(parse(pool.XMLDesc()).get("type", "")):
        if wiped:
            wipe(old)
        old.delete()
        create_volume(pool, text)
        return
    made = _beside(pool, address, xml, f"{name}{BESIDE}")
    _take_place(Path(made), Path(old.path()), wiped=wiped)
    pool.refresh()


def _refuse_without_base(address: Address, xml: Element) -> None:
    path = xml.findtext("backingStore/path")
    if path and path.startswith("/") and not os.path.exists(path):
        raise HypervisorError(
            f"replace {address}", f"{path}, which it is to be layered over, is not there; it stays as it is"
        )


def _beside(pool: Any, address: Address, xml: Element, name: str) -> str:
    """Make the volume under another name, and return its path when it is what was asked for."""
    pool.refresh()
    with allowing("VIR_ERR_NO_STORAGE_VOL"):
        pool.storageVolLookupByName(name).delete()  # of a run that was killed
    for tag in xml.iterfind("name"):
        tag.text = name
    create_volume(pool, to_text(xml))
    pool.refresh()
    made = pool.storageVolLookupByName(name)
    if not _is_like(parse(made.XMLDesc()), xml):
        made.delete()
        raise HypervisorError(f"replace {address}", "the new one is not as declared; the old one stays as it is")
    return str(made.path())


def _is_like(found: Element, wanted: Element) -> bool:
    """Whether a volume has the format that was asked for, is layered over the same, and is no smaller."""
    said = ("string(target/format/@type)", "string(backingStore/path)")
    size, least = found.findtext("capacity"), wanted.find("capacity")
    large = least is None or int(size or 0) >= int(ByteSize(f"{least.text} {least.get('unit', 'B')}"))
    return large and all(found.xpath(part) == wanted.xpath(part) for part in said)


def _take_place(made: Path, path: Path, *, wiped: bool) -> None:
    aside = path.with_name(f"{path.name}{BESIDE}-old")
    if wiped:
        with suppress(FileNotFoundError):
            os.unlink(aside)
        os.link(path, aside)  # what is written over must not be under the name meanwhile
    _sync(made, os.O_RDONLY)
    os.replace(made, path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    if wiped:
        wipe_file(str(aside))
        os.unlink(aside)


def _sync(path: Path, flags: int) -> None:
    opened = os.open(path, flags)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
