# SPDX-License-Identifier: GPL-3.0-or-later
"""A checkpoint of a machine: its memory and its disks at one moment, to which it may be brought back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Connection
from .types import Name


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
        if self.order == "rename" and self.label is None:
            yield "label", "is what order: rename changes (CKPT-05)"
