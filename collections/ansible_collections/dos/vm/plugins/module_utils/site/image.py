# SPDX-License-Identifier: GPL-3.0-or-later
"""An image: a file that already is on the hosts, and that many machines start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.types import AbsolutePath, ByteSize, Checksum, Name
from ..model.volume import RETIRED, Format
from .bound import Hosts, check_bound
from .properties import Properties


@declaration
class Image:
    """A file with the content of a disk or of an optical medium."""

    file: AbsolutePath = option(
        "Where it is on the hosts, once on each, below the disks of all its machines (DOMX-16).", spec="IMG-T1.9"
    )
    format: Format = option("What qemu-img says it is; raw for ISO files.", spec="IMG-T1.2", instead=RETIRED)
    arch: Literal["x86_64", "i686", "aarch64", "any"] = option(
        "Architecture it is for; any for data and media.", spec="IMG-T1.3", default="any"
    )
    read_only: bool = option(
        "Whether the file is never written; machines then write to overlays.", spec="IMG-04", default=True
    )
    shared: bool = option("Whether every host sees the same file there.", spec="IMG-T1.4", default=False)
    host: Name | None = option("The one host that has it.", spec="IMG-12", default=None)
    hosts: Hosts | None = option("The hosts that have it; all when not given.", spec="IMG-12", default=None)
    project: Name | None = option("Project that brought it and is counted for it.", spec="IMG-T1.12", default=None)
    size: ByteSize | None = option(
        "Size of the file, which counts for the project's quota.", spec="QUOTA-T1.5", default=None, low=0
    )
    checksum: Checksum | None = option(
        "What its content must be; required with a source.", spec="IMG-13", default=None, example="sha256:9f86d0…"
    )
    source: AbsolutePath | None = option(
        "The file on the controller, from where it is brought to every host that should have it.",
        spec="LIMIT-17",
        default=None,
    )
    min_memory: ByteSize | None = option("Memory that a machine needs to run it.", spec="IMG-13", default=None, low=0)
    min_disk: ByteSize | None = option(
        "Capacity that a disk made of it needs; its own logical size, or more.", spec="CONV-12", default=None, low=0
    )
    os_type: Literal["linux", "windows", "other"] | None = option(
        "What is installed in it, which machines of it take for their guest; nothing for data and media.",
        spec="CONV-09",
        default=None,
    )
    properties: Properties | None = option(
        "What machines whose first disk is made of it have where their instance is silent.", spec="IMG-13", default=None
    )
    requires: dict[Name, str] | None = option(
        "Labels that a host must have to run machines of it.", spec="SCHED-05", default=None
    )
    label: str | None = option("Label in any script.", spec="IMG-T1.1", default=None)
    description: str | None = option("Free text.", spec="IMG-T1.6", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_bound(self)
        if self.source is not None and self.checksum is None:
            yield "checksum", "is required with a source, write sha256: and what sha256sum says of it"
