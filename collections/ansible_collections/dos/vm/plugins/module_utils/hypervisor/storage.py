# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt leaves to others where volumes are files of this machine: new files in a pool, and data that must not be found.

Of a host that is not this machine nothing is known here, and then libvirt's own way is taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import HypervisorError
from ..model.address import Address
from ..model.types import ByteSize
from ..plan.plan import Observed
from ..sparse import extents
from ..xml.build import E, parse

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

STEP = 4 * 2**20  # bytes written at once
ZEROS = bytes(STEP)
QCOW2 = b"QFI\xfb"
ATTEMPTS = 20  # to encrypt a volume
RECENT = 60.0  # seconds
BESIDE = ".dos-vm-new"  # the end of the name of a volume that is to take another's place


def unseen(connection: Any, domains: Iterable[Observed], declared: Iterable[str] = ()) -> dict[str, set[str]]:
    """By active pool, the files in its directory that libvirt does not know, and that a VM has or that are `declared`.

    libvirt reads a directory when the pool starts and when it is told to; a shared one changes at any time (VOL-07).
    """
    wanted: dict[str, set[str]] = {}
    for pool, _, name in (volume.partition("/") for volume in (*named(domains), *declared)):
        wanted.setdefault(pool, set()).add(name)
    found = {name: _more(connection, name, volumes) for name, volumes in wanted.items()}
    return {name: volumes for name, volumes in found.items() if volumes}


def named(domains: Iterable[Observed]) -> Iterator[str]:
    """The volumes that domains are defined with, as `pool/name`."""
    for held in domains:
        for source in held.xml.iterfind("devices/disk/source[@volume]"):
            yield f"{source.get('pool')}/{source.get('volume')}"


def files_of(pool: Element) -> set[str] | None:
    """The files in the directory of a pool that is not active; `None` where these are not what it will have when it is.

    A share is mounted by its pool, and a device is nobody's file.
    """
    path = pool.findtext("target/path")
    if pool.get("type") != "dir" or not path:
        return None
    try:
        return set(os.listdir(path))
    except FileNotFoundError:
        return set()
    except OSError:
        return None


def directories(connection: Any) -> dict[str, str]:
    """The directories of the pools that are nothing else, by name."""
    held = [
        parse(pool.XMLDesc()) for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_DIR)
    ]
    return {xml.findtext("name") or "": xml.findtext("target/path") or "/" for xml in held}


def idle_volumes(pool: Observed, files: Iterable[str], wanted: Collection[str]) -> Iterator[Observed]:
    """The volumes of a pool that is not active, by their files; of another's pool those that are `wanted`, as `pool/name`."""
    for name in sorted(files):
        path, address = f"{pool.xml.findtext('target/path')}/{name}", Address("volume", f"{pool.address.name}/{name}")
        if pool.ours or address.name in wanted:
            xml = E("volume", E("name", name), E("target", E("path", path)))
            yield Observed(address=address, xml=xml, ours=pool.ours, info={"path": path})


def _more(connection: Any, name: str, volumes: set[str]) -> set[str]:
    try:
        pool = connection.storagePoolLookupByName(name)
        if not pool.isActive():
            return set()
        unknown = volumes - set(pool.listVolumes())
        path = Path(parse(pool.XMLDesc()).findtext("target/path") or "/nowhere") if unknown else Path()
    except libvirt.libvirtError:
        return set()  # it went while we looked
    return unknown & _files(path)


def _files(directory: Path) -> set[str]:
    """What is in a directory. It is read as a whole: of a single name a network file system may remember that it is not there."""
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()


def is_recent(path: str) -> bool:
    """Whether a file was written in the last minute, or by a clock that is ahead: another host may still be making it."""
    try:
        return os.stat(path).st_mtime > time.time() - RECENT
    except OSError:
        return False


def await_volumes(connection: Any, deadline: float, step: float) -> None:
    """Until libvirt makes no volume any more: it goes on when who asked has died, and half a volume looks like another one.

    It does not tell that it makes one, but refuses to read a pool again meanwhile. Raises `HypervisorError` at `deadline`
    (monotonic seconds).
    """
    for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        while _is_making(pool):
            if time.monotonic() > deadline:
                text = (
                    f"libvirt still makes a volume in pool {pool.name()}, for a run that was killed; wait for its end"
                )
                raise HypervisorError(f"read pool {pool.name()}", text)
            time.sleep(step)


def _is_making(pool: Any) -> bool:
    try:
        pool.refresh()
    except libvirt.libvirtError as refused:
        return "asynchronous jobs" in str(refused)  # what else is wrong with a pool, the run finds by itself
    return False


def create_volume(pool: Any, xml: str) -> None:
    """Make a volume. QEMU measures how fast the processor derives keys, and gives up where clocks tick coarsely."""
    for attempt in range(ATTEMPTS):
        try:
            pool.createXML(xml)
            return
        except libvirt.libvirtError as refused:
            if "accurate CPU usage" not in str(refused) or attempt == ATTEMPTS - 1:
                raise


def refuse_too_small(address: Address, xml: Element) -> None:
    """CONV-12: a layer that is smaller than what it is layered over cuts off the end of its file systems, and QEMU says nothing."""
    capacity, path = xml.find("capacity"), xml.findtext("backingStore/path")
    form = xml.find("backingStore/format")
    size = None if path is None or form is None else _capacity_of(path, form.get("type", ""))
    wanted = None if capacity is None else ByteSize(f"{capacity.text} {capacity.get('unit', 'B')}")
    if wanted and size and wanted < size:
        text = f"it would have {wanted}, and {path} has {ByteSize(size)}: write that capacity or more (CONV-12)"
        raise HypervisorError(f"create {address}", text)


def _capacity_of(path: str, format_: str) -> int | None:
    """The logical size of a file that may be layered over; `None` where it is not told in the first bytes."""
    if not os.path.isfile(path) or format_ not in ("raw", "qcow2"):
        return None
    if format_ == "raw":
        return os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(32)
    return int.from_bytes(head[24:], "big") if head.startswith(QCOW2) else None


def wipe(volume: Any) -> None:
    """Write zeros over everything that a volume's file holds.

    libvirt only cuts a sparse file off and leaves its blocks as they were; so what is here is written over here.
    """
    path = volume.path()
    if os.path.isfile(path):
        wipe_file(path)
    else:
        volume.wipe()


def wipe_file(path: str) -> None:
    """Write zeros over everything that a file holds."""
    with open(path, "r+b", buffering=0) as file:
        for start, end in extents(file.fileno()):
            file.seek(start)
            left = end - start
            while left > 0:
                left -= file.write(ZEROS[: min(left, STEP)])
        os.fsync(file.fileno())
