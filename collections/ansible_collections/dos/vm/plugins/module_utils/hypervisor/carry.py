# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of a machine that is off, carried to another host through libvirt's own connection (MIG-09, MIG-12).

Byte by byte, as the file or the device is: format, layers and encryption stay what they are, and holes stay holes. How far
it is stands in the mark beside each copy (see `copies`), so that a call that ends early is taken up by the next; a disk that
was written meanwhile is found by its time of change. See virStorageVolUpload.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .._thirdparty import libvirt
from ..errors import HypervisorError
from ..plan.migration import Disk
from ..sparse import extents
from ..xml.build import E, to_text
from . import copies
from .connection import saying
from .sides import marker, volume_of

CHUNK = 2**17  # bytes handed to libvirt at once, which sends less than twice that in a message
NOTE = 64  # bytes of a mark that say how far its copy is


@dataclass(frozen=True, slots=True)
class Carried:
    """Bytes, holes included."""

    sent: int
    left: int


def begin(source: Any, target: Any, disks: Iterable[Disk], to: str) -> None:
    """Make room at the target for each disk, as long as it is here. Raises `HypervisorError`."""
    for disk in disks:
        with saying(f"make room for {disk.name} on {to}"):
            copies.mark(source, target, disk)
            copies.remove(target, disk)
            seen = _seen(disk)
            room = E("volume", E("name", disk.volume), E("capacity", seen[0], unit="bytes"))
            room.append(E("allocation", 0, unit="bytes"))
            room.append(E("target", E("format", type="raw")))  # what it is comes with its bytes
            target.storagePoolLookupByName(disk.pool).createXML(to_text(room))
            _note(target, disk, 0, seen)


def is_begun(target: Any, disks: Iterable[Disk]) -> bool:
    """Whether an earlier call has begun with any of these disks."""
    return any(marker(target, disk) is not None for disk in disks)


def carry(target: Any, disks: Iterable[Disk], until: float | None) -> Carried:
    """Go on until all is there, or a little after `until` (monotonic seconds)."""
    sent = whole = 0
    for disk in disks:
        size, _ = seen = _seen(disk)
        at = _noted(target, disk, seen)
        if at < size and (until is None or time.monotonic() < until):
            with saying(f"copy {disk.name}"):
                at = _send(target, disk, at, size, until)
                _note(target, disk, at, seen)
            _refuse_written(disk, seen)
        sent, whole = sent + at, whole + size
    return Carried(sent, whole - sent)


def _send(target: Any, disk: Disk, at: int, size: int, until: float | None) -> int:
    """Sends from `at` on; returns how far it came."""
    volume = volume_of(target, disk.pool, disk.volume)
    stream = target.newStream(0)
    volume.upload(stream, at, size - at, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
    try:
        with open(disk.path, "rb", buffering=0) as file:
            for start, data in _parts(file.fileno(), at, size):
                if start > at:
                    stream.sendHole(start - at)
                at = start + len(data)
                while data:
                    data = data[_accepted(stream.send(data), disk) :]
                if until is not None and time.monotonic() > until:
                    break
        stream.finish()
    except BaseException:
        stream.abort()
        raise
    return at


def _parts(descriptor: int, at: int, size: int) -> Iterator[tuple[int, bytes]]:
    """What a file holds from `at` on, in pieces; a hole at its end is an empty piece."""
    for start, end in extents(descriptor, at, size):
        while start < end:
            data = os.pread(descriptor, min(CHUNK, end - start), start)
            yield start, data
            start += len(data)
    yield size, b""


def _accepted(count: int, disk: Disk) -> int:
    if count < 0:
        raise HypervisorError(f"copy {disk.name}", "the connection to the other host would not take it")
    return count


def _seen(disk: Disk) -> tuple[int, int]:
    """How long a disk is, in bytes, and when it was last written, in nanoseconds; devices do not tell the latter."""
    with open(disk.path, "rb") as file:
        return os.lseek(file.fileno(), 0, os.SEEK_END), os.fstat(file.fileno()).st_mtime_ns


def _note(target: Any, disk: Disk, at: int, seen: tuple[int, int]) -> None:
    stream, text = target.newStream(0), " ".join(map(str, (at, *seen))).encode().ljust(NOTE)
    marker(target, disk).upload(stream, 0, NOTE, 0)
    stream.send(text)
    stream.finish()


def _noted(target: Any, disk: Disk, seen: tuple[int, int]) -> int:
    """How far the copy of a disk is; raises `HypervisorError` where the disk is not what it was."""
    stream, found = target.newStream(0), b""
    with saying(f"read how far {disk.name} is"):
        marker(target, disk).download(stream, 0, NOTE, 0)
        while data := stream.recv(NOTE):
            found += data
        stream.finish()
    at, size, written = (int(word) for word in found.split())
    _refuse_written(disk, (size, written), seen)
    return at


def _refuse_written(disk: Disk, before: tuple[int, int], now: tuple[int, int] | None = None) -> None:
    if before != (now or _seen(disk)):
        text = "it was written while it was copied: keep the machine off, and run it again"
        raise HypervisorError(f"copy {disk.name}", text)
