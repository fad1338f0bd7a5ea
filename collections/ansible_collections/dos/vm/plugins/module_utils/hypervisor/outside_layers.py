# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers that were made outside dos.vm, for what is done to a domain without its declaration: checkpoints and moves.

A plan keeps a domain on them (`plan/disks.py`). What would lie inside such a layer is lost when it is merged, and a copy of it on
another host is no longer a layer over the declared volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..chain import chain
from ..model.overlay import layered
from ..xml.build import parse
from ..xml.device_record import read
from .connection import allowing

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def outside_layers(domain: Any) -> dict[str, str]:
    """By target, the layers over volumes that no checkpoint of ours made: `TOP over BASE`.

    dos.vm declares volumes by name, so a definition that names a file over a volume was changed by another tool.
    """
    xml = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    declared = {entry.source for entry in read(xml) or ()}
    return dict(_found(domain.connect(), xml, declared))


def _found(connection: Any, xml: Element, declared: set[str]) -> Iterator[tuple[str, str]]:
    for disk in xml.iterfind("devices/disk/driver[@type='qcow2']/.."):
        source, target = disk.find("source"), disk.find("target")
        path = "" if source is None else source.get("file", "")
        if not path or path in declared or target is None or layered(path) or disk.find("transient") is not None:
            continue
        base = next((file for file in chain(path)[1:] if _is_volume(connection, file)), None)
        if base is not None:
            yield target.get("dev", ""), f"{path} over {base}"


def _is_volume(connection: Any, path: str) -> bool:
    with allowing("VIR_ERR_NO_STORAGE_VOL"):
        connection.storageVolLookupByPath(path)
        return True
    return False
