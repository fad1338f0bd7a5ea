# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a machine's disks: a chain of files in a directory, a full one and what changed since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Connection
from .types import AbsolutePath, Name


@declaration
class BackingUp(Connection):
    """What the `backup` module takes."""

    vm: Name = option("The machine.")
    directory: AbsolutePath = option("Where its backups are on the host, a directory for this machine alone.")
    order: Literal["create", "check", "restore", "forget"] = option(
        "What is to be done. V(check) looks at every file of the chain; V(restore) writes the disks of one backup anew, "
        "beside the machine; V(forget) begins a new chain with the next backup.",
        default="create",
    )
    full: bool = option("Begin a new chain instead of keeping what changed.", default=False)
    mode: Literal["push", "pull"] = option(
        "How the blocks come into the files. V(push) has QEMU write them, which must be able to reach the directory; V(pull) reads "
        "them from QEMU by NBD, over a socket on the host, into files that are root's alone. A chain may have both.",
        default="push",
    )
    name: Name | None = option(
        "Name of the backup; a number when it is created, the newest one when it is restored.", default=None
    )
    to: AbsolutePath | None = option("Directory that restored disks are written to.", default=None)
    quiesce: bool = option(
        "Ask the guest's agent to hold its file systems still while the backup begins.", default=False
    )
    timeout: int = option("Seconds it may take.", default=3600, low=1)

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.order == "restore") != (self.to is not None):
            yield "to", "goes with order: restore, and only with it"
        if self.full and self.order != "create":
            yield "full", "is for order: create"
        if self.mode != "push" and self.order != "create":
            yield "mode", "is for order: create"
        if self.quiesce and self.order != "create":
            yield "quiesce", "is for order: create"
