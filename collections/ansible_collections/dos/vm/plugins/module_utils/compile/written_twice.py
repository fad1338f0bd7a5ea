# SPDX-License-Identifier: GPL-3.0-or-later
"""Running domains that write one thing, on one host or on several that share it: what validation and hosts did not prevent.

Each host reports what its running domains write, by name, by path without links, and by marks (`hypervisor/file_marks.py`). The
declaration adds which paths hosts share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..site.site import Site
from ..site.writes import Identity, Meeting, Writes
from .states import HostState, WrittenDisk

GLOBAL = ("export ", "disk ", "network ")  # marks that are the same on every host


class Writer(NamedTuple):
    """A running domain with a disk."""

    host: str
    disk: WrittenDisk

    @property
    def words(self) -> str:
        return f"{self.disk.domain} on {self.host}"


def written_twice(site: Site, states: Mapping[str, HostState]) -> Iterator[str]:
    """Each pair of running domains that write one thing, with the thing."""
    writes, writers = Writes(site), Meeting[Writer]()
    reported: set[tuple[str, str]] = set()
    for host in sorted(states):
        for disk in states[host].written:
            mine = Writer(host, disk)
            identities = [*known_as(writes, disk, host), *_marked(mine)]
            for identity, other in writers.met(identities):
                pair = (other.words, mine.words)
                # One that runs on two hosts is another finding; a migration shows it so for a moment.
                if disk.domain == other.disk.domain or pair in reported or _is_shareable(mine, other):
                    continue
                reported.add(pair)
                yield f"{other.words} AND {mine.words} WRITE ONE DISK, {_shown(identity, mine)}: stop one of them now (VM-08)"
            writers.add(identities, mine)


def _is_shareable(first: Writer, second: Writer) -> bool:
    return first.disk.source.shareable and second.disk.source.shareable


def known_as(writes: Writes, disk: WrittenDisk, host: str) -> Iterator[Identity]:
    """What the declaration makes of a disk by its name, and by where that leads: a link on a shared path leads to a shared file."""
    for identity in writes.of_source(disk.source, frozenset([host])):
        yield identity
        # What the kernel calls a device is that of another on another host.
        if identity.servers is None and disk.path.startswith("/") and not disk.path.startswith("/dev/"):
            yield from writes.of_path(disk.path, identity.hosts)


def _marked(writer: Writer) -> Iterator[Identity]:
    for mark in sorted(writer.disk.marks):
        yield Identity("mark", mark if mark.startswith(GLOBAL) else f"{mark} of {writer.host}", servers=())


def _shown(identity: Identity, writer: Writer) -> str:
    return writer.disk.path or str(identity) if identity.kind == "mark" else str(identity)
