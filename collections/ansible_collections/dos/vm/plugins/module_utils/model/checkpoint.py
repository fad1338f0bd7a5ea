# SPDX-License-Identifier: GPL-3.0-or-later
"""A checkpoint of a machine: its memory and its disks at one moment, to which it may be brought back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Connection
from .types import AbsolutePath, Name


@declaration
class Checkpointing(Connection):
    """What the `checkpoint` module takes."""

    vm: Name = option("The machine.", spec="CKPT-01")
    order: Literal["list", "create", "rollback", "delete", "rename"] = option("What is to be done.", default="list")
    name: Name | None = option("Name of the checkpoint.", spec="CKPT-T1.2", default=None)
    label: str | None = option("Label in any script.", spec="CKPT-T1.1", default=None)
    disks: tuple[str, ...] | None = option(
        "Targets of the disks that are captured; every disk that the guest writes to when not given.",
        spec="CKPT-T1.5",
        default=None,
    )
    stored: Literal["internal", "external"] = option(
        "Where it is kept. V(internal) is inside the machine's qcow2 disks; V(external) begins a new file for each disk, whatever "
        "format that has, and keeps the memory in a file beside. All checkpoints of a machine are of one kind.",
        default="internal",
    )
    directory: AbsolutePath | None = option(
        "Directory of the host for what an external checkpoint keeps.", spec="CKPT-T1.3", default=None
    )
    memory: bool = option(
        "Whether the memory is kept as well. Without, an external checkpoint has the disks as after a power failure, or after "
        "O(quiesce), and the machine boots when it goes back.",
        spec="CKPT-01",
        default=True,
    )
    quiesce: bool = option(
        "Have the guest's agent write out its file systems and hold them still; without an agent there is no checkpoint then.",
        default=False,
    )
    timeout: int = option("Seconds that the merging of one disk may take.", default=3600, low=1)
    confirm: bool = option(
        "Said for what loses something: V(rollback) loses the present, V(delete) of one with descendants loses those.",
        spec="CKPT-03",
        default=False,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.order != "list" and self.name is None:
            yield "name", f"is required for order: {self.order}"
        if self.disks is not None and self.order != "create":
            yield "disks", "is for order: create"
        yield from self._check_stored()
        if self.order == "rename" and self.label is None:
            yield "label", "is what order: rename changes (CKPT-05)"

    def _check_stored(self) -> Iterator[tuple[str, str]]:
        creates_external = self.order == "create" and self.stored == "external"
        if self.stored == "external" and self.order != "create":
            yield "stored", "is for order: create; how one is kept, it knows itself"
        if creates_external != (self.directory is not None):
            yield "directory", "goes with order: create and stored: external, and only with them"
        if not self.memory and not creates_external:
            yield "memory", "can be left out with order: create and stored: external"
        if self.quiesce and (self.memory or not creates_external):
            yield (
                "quiesce",
                "is for stored: external with memory: false; memory that is kept has what is not written out",
            )
