# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a machine's disks: a chain of files in a directory, a full one and what changed since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Allow, Connection
from .types import AbsolutePath, Name


@declaration
class BackingUp(Connection):
    """What the `backup` module takes."""

    vm: Name = option("The machine.")
    directory: AbsolutePath = option("Where its backups are on the host, a directory for this machine alone.")
    order: Literal["create", "check", "restore", "forget"] = option(
        "What is to be done. V(check) looks at every file of the chain; V(restore) writes the disks of one backup anew, "
        "to the directory O(to) or, where it is unset, in place of the disks of the VM, which is off; V(forget) begins a new chain "
        "with the next backup.",
        default="create",
    )
    full: bool | None = option(
        "Whether the backup begins a new chain. If false, the backup has what changed since the one before, and is refused where a "
        "disk keeps no record of changes (raw disks, and qcow2 of compatibility level 0.10). If unset, it is in full there, with a note. "
        "The first backup of a chain is in full in any case.",
        default=None,
    )
    mode: Literal["push", "pull"] | None = option(
        "How the blocks come into the files. V(push) has QEMU write them, whose user must be able to pass through the directories "
        "above; V(pull) reads them from QEMU by NBD, over a socket on the host. If unset, V(push) where QEMU reaches the directory, "
        "otherwise V(pull). The files are root's alone in either case, and a chain may have both.",
        default=None,
    )
    name: Name | None = option(
        "Name of the backup; a number when it is created, the newest one when it is restored.", default=None
    )
    to: AbsolutePath | None = option(
        "Directory that restored disks are written to. If unset, they take the place of the disks of the VM.",
        default=None,
    )
    allow: Allow | None = option(
        "What may be lost: each volume that is restored in place, by name in O(allow.data_loss).", default=None
    )
    quiesce: bool = option(
        "Ask the guest's agent to hold its file systems still while the backup begins.", default=False
    )
    timeout: int = option("Seconds it may take.", default=3600, low=1)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.to is not None and self.order != "restore":
            yield "to", "is for order: restore"
        if self.full and self.order != "create":
            yield "full", "is for order: create"
        if self.quiesce and self.order != "create":
            yield "quiesce", "is for order: create"
