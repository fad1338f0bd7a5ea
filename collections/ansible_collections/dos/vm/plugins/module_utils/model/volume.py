# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume of a pool; see https://libvirt.org/formatstorage.html#storage-volume-xml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from .declaration import declaration, option
from .pool import Permissions
from .types import AbsolutePath, ByteSize, Name, VolumeName

Format = Literal["qcow2", "raw", "qcow", "qed", "vmdk", "vpc", "vdi"]
# What QEMU and libvirt can do with each. The others are for exchange with other products: they hold data, and no more.
LAYERED = frozenset({"qcow2", "qcow", "qed"})  # may be layered over another
GROWING = frozenset({"qcow2", "qed", "raw"})  # may grow in place
ENCRYPTED = frozenset({"qcow2", "raw"})  # may be encrypted, with LUKS
# Words that other products have.
RETIRED = {
    "cow": "is a format that QEMU has no more, write qcow2; an old file is converted with a QEMU before 2.2",
    "vhd": "is called vpc here, write that",
    "iso": "is no format of a disk, write raw",
}


@declaration
class Encryption:
    """LUKS, whose passphrase is the value of a secret of usage type volume."""

    secret: Name = option("Secret whose value is the passphrase.", spec="VOL-13")
    usage: str | None = option(
        "What libvirt finds the secret by; its name when not given.", spec="SECO-T1.4", default=None, low=1, high=128
    )


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

    name: VolumeName = option(
        "Name of the volume in its pool: of its file, its logical volume, its partition; V(unit:0:0:1) of a LUN.",
        spec="VOL-T1.2",
    )
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
    format: Format = option("Format of the file.", spec="VOL-T1.4", default="qcow2", instead=RETIRED)
    backing: Backing | None = option("What the volume is layered over.", spec="VSNP-01", default=None)
    permissions: Permissions | None = option("Owner, group, mode and label of the file.", spec="VOL-T1.5", default=None)
    compat: Literal["0.10", "1.1"] | None = option(
        "Compatibility level of qcow2. If unset, a new volume gets V(1.1), which incremental backups need, and an existing one "
        "keeps its level.",
        spec="VOL-T1.9",
        default=None,
    )
    lazy_refcounts: bool = option("Lazy reference counts of qcow2.", spec="VOL-T1.10", default=False)
    encryption: Encryption | None = option("LUKS encryption; none when not given.", spec="VOL-13", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.capacity is None and self.backing is None and not self.name.is_lun:
            yield "capacity", "is required for a volume without a backing, write one like 10 GiB"
        yield from check_format(self, layered=self.backing is not None, over="backing")


class Formatted(Protocol):
    """A volume, on a host or in a site."""

    @property
    def format(self) -> Format: ...
    @property
    def compat(self) -> str | None: ...
    @property
    def lazy_refcounts(self) -> bool: ...


def check_format(held: Formatted, *, layered: bool, over: str) -> Iterator[tuple[str, str]]:
    """What a format can do; `over` is the field that says what the volume is layered over."""
    if held.format != "qcow2" and (held.compat or held.lazy_refcounts):
        yield "compat" if held.compat else "lazy_refcounts", f"is for qcow2, and the format is {held.format}"
    if held.lazy_refcounts and held.compat == "0.10":
        yield "lazy_refcounts", "needs compat 1.1"
    if layered and held.format not in LAYERED:
        yield over, f"a {held.format} volume cannot be layered over another, write format: qcow2"
    if getattr(held, "encryption", None) and held.format not in ENCRYPTED:
        yield "encryption", f"is for qcow2 and raw, and the format is {held.format} (VOL-13)"
