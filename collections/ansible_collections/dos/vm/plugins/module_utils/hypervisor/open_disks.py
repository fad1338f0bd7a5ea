# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files and devices the running domains of a host have open, and which of them another domain must not open.

QEMU has locks of its own, which many file systems of servers do not keep. So the host looks before a start, a restore and an
attach, at what paths lead to (`file_marks.py`), since validation knows names alone. Of a host that is not this machine nothing but
the paths is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .._thirdparty import libvirt
from ..chain import chain
from ..xml.build import parse
from .connection import allowing
from .disk_claims import claimed
from .file_marks import Marks, marks, mounts, stands_on

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

GONE = ("VIR_ERR_NO_STORAGE_POOL", "VIR_ERR_NO_STORAGE_VOL", "VIR_ERR_OPERATION_INVALID")


class OpenDisk(NamedTuple):
    """A file or device as a domain has it open, or would: to write to it, to read it, or to read it below a layer of its own."""

    target: str
    path: str
    use: Literal["writes", "reads", "layer"]
    shareable: bool = False

    @property
    def writes(self) -> bool:
        return self.use == "writes"


class Known(NamedTuple):
    """An open disk, with what it is on."""

    disk: OpenDisk
    marks: Marks
    below: Marks

    def meets(self, other: Known) -> bool:
        """Whether both are on one thing, or one on what the other is on a part of."""
        return not (self.marks | self.below).isdisjoint(other.marks) or not self.marks.isdisjoint(other.below)

    def clashes(self, other: Known) -> bool:
        """Whether both must not be open at a time: one of them writes what the other writes or is layered over.

        A disk that only reads what another writes loses nothing but its own view of it.
        """
        uses = {self.disk.use, other.disk.use}
        shared = self.disk.shareable and other.disk.shareable
        return "writes" in uses and "reads" not in uses and not shared and self.meets(other)


class Running:
    """The running domains of a host with what they have open. Each is read once: a run may start a hundred more beside it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._read: dict[tuple[str, int], tuple[str, tuple[OpenDisk, ...]]] = {}

    def forget(self) -> None:
        """Read them anew: a disk was plugged in or out."""
        self._read.clear()

    def claim(self, domain: Element) -> AbstractContextManager[None]:
        """For a start: no other start opens a disk that this one writes meanwhile. Raises `HypervisorError`."""
        disks = (disk for disk in opened(self._connection, domain) if disk.writes and not disk.shareable)
        known = Place(self._connection.getURI()).known(disks)
        return claimed(
            {mark: each.disk.path for each in known for mark in each.marks}, f"start domain {domain.findtext('name')}"
        )

    def refuse_start(self, domain: Element) -> Iterator[str]:
        """Why a domain must not be brought up with these disks (VM-08)."""
        place = Place(self._connection.getURI())
        fresh = place.known(opened(self._connection, domain))
        yield from _twice(fresh, fresh)
        yield from self._beside(domain, fresh, place)

    def refuse_attach(self, domain: Element, device: Element) -> Iterator[str]:
        """Why a running domain must not be given a disk (VM-08)."""
        place = Place(self._connection.getURI())
        fresh = place.known(disks_of(self._connection, [device] if device.tag == "disk" else []))
        plugged = (disk for disk in domain.iterfind("devices/disk") if _target(disk) != _target(device))
        yield from _twice(fresh, place.known(disks_of(self._connection, plugged)) if fresh else [])
        yield from self._beside(domain, fresh, place)

    def users(self, path: str, *, writing: bool = False) -> list[str]:
        """The running domains that have what a path leads to open, or write it."""
        place = Place(self._connection.getURI())
        (wanted,) = place.known([OpenDisk("", path, "writes")])
        return [
            name
            for name, disks in self._others("")
            if any(known.meets(wanted) and (known.disk.writes or not writing) for known in place.known(disks))
        ]

    def _beside(self, domain: Element, fresh: list[Known], place: Place) -> Iterator[str]:
        for name, disks in self._others(domain.findtext("uuid") or "") if fresh else ():
            for opened in place.known(disks):
                yield from (_sentence(mine.disk, name, opened.disk) for mine in fresh if mine.clashes(opened))

    def _others(self, uuid: str) -> Iterator[tuple[str, tuple[OpenDisk, ...]]]:
        for domain in self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            key = (domain.UUIDString(), domain.ID())
            if key not in self._read and key[0] != uuid:
                with allowing("VIR_ERR_NO_DOMAIN", "VIR_ERR_OPERATION_INVALID"):  # it ended meanwhile
                    self._read[key] = domain.name(), tuple(opened(self._connection, parse(domain.XMLDesc())))
            if key in self._read and key[0] != uuid:
                yield self._read[key]


class Place:
    """Where paths of a host lead, at one moment."""

    def __init__(self, uri: str) -> None:
        self._here = ":///" in uri
        self._servers = mounts() if self._here else {}

    def known(self, disks: Iterable[OpenDisk]) -> list[Known]:
        return [Known(disk, *self._marks(disk.path)) for disk in disks]

    def described(self, path: str) -> dict[str, Any]:
        """As the controller compares it: the path without links, and the marks."""
        found, _ = self._marks(path)
        real = os.path.realpath(path) if self._here and path.startswith("/") else path
        return {"path": real, "marks": sorted(found)}

    def _marks(self, path: str) -> tuple[Marks, Marks]:
        if self._here and path.startswith("/"):
            return marks(path, self._servers), stands_on(path)
        return frozenset([path]), frozenset()


def _twice(fresh: Iterable[Known], others: Iterable[Known]) -> Iterator[str]:
    """Disks of one domain that are one thing."""
    for mine in fresh:
        for other in others:
            if mine.disk.target > other.disk.target and mine.clashes(other):
                yield f"{mine.disk.target} and {other.disk.target} are one disk, {mine.disk.path}: leave one out (VM-08)"


def _sentence(mine: OpenDisk, name: str, other: OpenDisk) -> str:
    verb = "would write" if mine.writes else "is layered over"
    use = "writes it" if other.writes else "has a disk layered over it"
    place = f"{other.target}, {other.path}" if other.path != mine.path else other.target
    return f"{mine.target} {verb} {mine.path}, and domain {name}, which runs, {use} ({place}): stop {name}, or use another disk (VM-08)"


def opened(connection: Any, domain: Element) -> Iterator[OpenDisk]:
    """What a domain has open, its disks and the variables of its firmware."""
    if variables := domain.findtext("os/nvram"):
        yield OpenDisk("nvram", variables, "writes")
    yield from disks_of(connection, domain.iterfind("devices/disk"))


def disks_of(connection: Any, disks: Iterable[Element]) -> Iterator[OpenDisk]:
    """What domains with these disks have open: all that they write, and what that is layered over."""
    for disk in disks:
        target, shareable = _target(disk), disk.find("shareable") is not None
        # An overlay of its own is what a transient disk writes. libvirt makes it at the start.
        forgets = disk.find("transient") is not None and disk.find("backingStore") is None
        for path in _paths(connection, [*disk.iterfind("source"), *disk.iterfind("mirror/source")]):
            reads = disk.find("readonly") is not None or disk.get("device") == "cdrom"
            yield OpenDisk(target, path, "reads" if reads else "layer" if forgets else "writes", shareable)
            yield from (OpenDisk(target, layer, "layer") for layer in _layers(connection, disk, path))


def _layers(connection: Any, disk: Element, path: str) -> Iterable[str]:
    """What a disk is layered over: libvirt knows it of one that is open, the file itself of another."""
    if disk.find("backingStore") is not None:
        return _paths(connection, disk.iterfind(".//backingStore/source"))
    return chain(path)[1:] if disk.find("driver[@type='qcow2']") is not None else ()


def _target(disk: Element) -> str:
    found = disk.find("target")
    return "" if found is None else found.get("dev", "")


def _paths(connection: Any, sources: Iterable[Element]) -> Iterator[str]:
    for source in sources:
        path = source.get("file") or source.get("dev")
        if source.get("volume"):
            path = _of_volume(connection, source.get("pool", ""), source.get("volume", ""))
        elif source.get("protocol"):
            named = source.get("protocol") != "iscsi"  # a target is one by its name
            servers = ",".join(sorted(host.get("name", "") for host in source.iterfind("host") if named))
            path = f"network {source.get('protocol')} {source.get('name')} {servers}"
        if path:
            yield path


def _of_volume(connection: Any, pool: str, volume: str) -> str | None:
    with allowing(*GONE):
        return str(connection.storagePoolLookupByName(pool).storageVolLookupByName(volume).path())
    with allowing(*GONE):  # the pool does not run; the domain may
        folder = parse(connection.storagePoolLookupByName(pool).XMLDesc()).findtext("target/path")
        return folder and f"{folder}/{volume}"
    return None
