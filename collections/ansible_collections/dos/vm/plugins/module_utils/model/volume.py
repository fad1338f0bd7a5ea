# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume of a pool; see https://libvirt.org/formatstorage.html#storage-volume-xml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .pool import Permissions
from .types import AbsolutePath, ByteSize, Name

Format = Literal["qcow2", "raw", "qcow", "qed", "vmdk", "vpc"]


@declaration
class Backing:
    """What a volume is layered over: a file of the host, or a volume of the same pool. It is never written again."""

    path: AbsolutePath | None = option("File on the host.", spec="VSNP-01", default=None)
    volume: Name | None = option("Volume of the same pool.", spec="VSNP-01", default=None)
    format: Format = option("Format of the backing file; it is never guessed.", spec="IMG-11", default="qcow2")

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.path is None) == (self.volume is None):
            yield "", "write either a path or a volume to layer over"


@declaration
class Volume:
    """An allocatable unit of a pool."""

    name: Name = option("Name of the volume in its pool, its file name.", spec="VOL-T1.2")
    pool: Name = option("Pool that holds it.", spec="DISK-T1.10")
    capacity: ByteSize | None = option(
        "Logical size; a volume grows to a larger one and never shrinks. The backing's size when not given.",
        spec="VOL-T1.3",
        default=None,
        low=512,
        example="10 GiB",
    )
    allocation: ByteSize | None = option(
        "Bytes allocated at creation; sparse when not given.", spec="VOL-11", default=None
    )
    format: Format = option("Format of the file.", spec="VOL-T1.4", default="qcow2")
    backing: Backing | None = option("What the volume is layered over.", spec="VSNP-01", default=None)
    permissions: Permissions | None = option("Owner, group, mode and label of the file.", spec="VOL-T1.5", default=None)
    compat: Literal["0.10", "1.1"] | None = option("Compatibility level of qcow2.", spec="VOL-T1.9", default=None)
    lazy_refcounts: bool = option("Lazy reference counts of qcow2.", spec="VOL-T1.10", default=False)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.capacity is None and self.backing is None:
            yield "capacity", "is required for a volume without a backing, write one like 10 GiB"
        if self.format != "qcow2" and (self.compat or self.lazy_refcounts):
            yield "compat" if self.compat else "lazy_refcounts", f"is for qcow2, and the format is {self.format}"
        if self.lazy_refcounts and self.compat == "0.10":
            yield "lazy_refcounts", "needs compat 1.1"
        if self.backing is not None and self.format == "raw":
            yield "backing", "a raw volume cannot be layered over another, write format: qcow2"
