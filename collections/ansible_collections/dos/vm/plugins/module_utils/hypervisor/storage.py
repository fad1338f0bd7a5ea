# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt leaves to others where volumes are files of this machine: new files in a pool, and data that must not be found.

Of a host that is not this machine nothing is known here, and then libvirt's own way is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .._thirdparty import libvirt
from ..plan.plan import Observed
from ..xml.build import parse

STEP = 4 * 2**20  # bytes written at once
ZEROS = bytes(STEP)
ATTEMPTS = 20  # to encrypt a volume


def unseen(connection: Any, domains: Iterable[Observed]) -> list[str]:
    """The active pools, by name, whose directory has a file that a machine is defined with and libvirt does not know.

    libvirt reads a directory when the pool starts and when it is told to; a shared one changes at any time (VOL-07).
    """
    wanted: dict[str, set[str]] = {}
    for held in domains:
        for source in held.xml.iterfind("devices/disk/source[@volume]"):
            wanted.setdefault(source.get("pool", ""), set()).add(source.get("volume", ""))
    return [name for name, volumes in wanted.items() if _has_more(connection, name, volumes)]


def _has_more(connection: Any, name: str, volumes: set[str]) -> bool:
    try:
        pool = connection.storagePoolLookupByName(name)
        if not pool.isActive():
            return False
        unknown = volumes - set(pool.listVolumes())
        path = Path(parse(pool.XMLDesc()).findtext("target/path") or "/nowhere") if unknown else Path()
    except libvirt.libvirtError:
        return False  # it went while we looked
    return any((path / volume).is_file() for volume in unknown)


def create_volume(pool: Any, xml: str) -> None:
    """Make a volume. QEMU measures how fast the processor derives keys, and gives up where clocks tick coarsely."""
    for attempt in range(ATTEMPTS):
        try:
            pool.createXML(xml)
            return
        except libvirt.libvirtError as refused:
            if "accurate CPU usage" not in str(refused) or attempt == ATTEMPTS - 1:
                raise


def wipe(volume: Any) -> None:
    """Write zeros over everything that a volume's file holds.

    libvirt only cuts a sparse file off and leaves its blocks as they were; so what is here is written over here.
    """
    path = volume.path()
    if not os.path.isfile(path):
        volume.wipe()
        return
    with open(path, "r+b", buffering=0) as file:
        for start, end in _extents(file.fileno()):
            file.seek(start)
            left = end - start
            while left > 0:
                left -= file.write(ZEROS[: min(left, STEP)])
        os.fsync(file.fileno())


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that hold data, from and to."""
    size, end = os.fstat(descriptor).st_size, 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            return  # ENXIO: only a hole is left
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
