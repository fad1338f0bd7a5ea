# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume that is declared by itself, and so may pass from machine to machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.pool import Permissions
from ..model.types import ByteSize, Name
from ..model.volume import RETIRED, Format, check_format


@declaration
class Volume:
    """An allocatable unit of a pool: empty, or layered over an image or another volume."""

    pool: Name = option("Pool that holds it.", spec="DISK-T1.10")
    capacity: ByteSize | None = option(
        "Logical size; that of what it is layered over when not given.",
        spec="VOL-T1.3",
        default=None,
        low=512,
        example="10 GiB",
    )
    format: Format = option("Format of the file.", spec="VOL-T1.4", default="qcow2", instead=RETIRED)
    lun: int | None = option(
        "Which LUN of the target it is, in an iscsi pool; the target makes it and knows its size.",
        spec="POOL-13",
        default=None,
        low=0,
    )
    image: Name | None = option("Image it is layered over.", spec="VSNP-04", default=None)
    base: Name | None = option(
        "Volume of the same pool that it is layered over, which nobody writes any more.", spec="VSNP-03", default=None
    )
    host: Name | None = option("Host that has it, where the pool is on several.", spec="POOL-02", default=None)
    project: Name | None = option("Project it belongs to and is counted for.", spec="PROJ-10", default=None)
    permissions: Permissions | None = option("Owner, group, mode and label of the file.", spec="VOL-T1.5", default=None)
    compat: Literal["0.10", "1.1"] | None = option(
        "Compatibility level of qcow2. If unset, a new volume gets V(1.1), which incremental backups need, and an existing one "
        "keeps its level.",
        spec="VOL-T1.9",
        default=None,
    )
    lazy_refcounts: bool = option("Lazy reference counts of qcow2.", spec="VOL-T1.10", default=False)
    encryption: Name | None = option(
        "Secret of usage type volume whose value encrypts it, with LUKS.", spec="VOL-13", default=None
    )
    shareable: bool = option(
        "Whether several machines may write it at once; the guests must know how.", spec="VM-08", default=False
    )
    label: str | None = option("Label in any script.", spec="VOL-T1.1", default=None)
    description: str | None = option("Free text.", spec="VOL-T1.11", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.image and self.base:
            yield "base", "write either an image or a volume to layer over"
        if self.lun is not None:
            for name in ("capacity", "image", "base", "permissions"):
                if getattr(self, name) is not None:
                    yield name, "is the target's own affair, leave it out (POOL-13)"
        elif not (self.capacity or self.image or self.base):
            yield "capacity", "is required for a volume without image or base, write one like 10 GiB"
        if self.shareable and self.format != "raw":
            yield "shareable", "is for raw volumes: several writers would ruin the tables of any other format"
        yield from check_format(self, layered=bool(self.image or self.base), over="format")
