# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage pool of one host; see https://libvirt.org/formatstorage.html."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .types import AbsolutePath, Name


@declaration
class Permissions:
    """Owner and mode of a directory or of a volume's file."""

    mode: str | None = option("Octal mode.", spec="VOL-T1.5", default=None, example="0660")
    owner: int | None = option("Numeric user ID.", spec="VOL-T1.6", default=None, low=0)
    group: int | None = option("Numeric group ID.", spec="VOL-T1.7", default=None, low=0)
    label: str | None = option("Mandatory access control label.", spec="VOL-T1.8", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.mode is not None and (not self.mode.isdigit() or set(self.mode) & set("89") or len(self.mode) > 4):
            yield "mode", f"{self.mode!r} is not an octal mode, write one like '0660'"


@declaration
class Pool:
    """A place that volumes are allocated from."""

    name: Name = option("Name, unique on the host.", spec="POOL-T2.1")
    type: Literal["dir"] = option("Kind of pool.", spec="POOL-T1", default="dir")
    path: AbsolutePath = option("Directory the volumes are in.", spec="POOL-T2.6")
    permissions: Permissions | None = option("Owner and mode of the directory.", spec="POOL-11", default=None)
    active: bool = option("Whether the pool is started.", spec="POOL-08", default=True)
    autostart: bool = option("Whether libvirt starts the pool by itself.", spec="POOL-08", default=True)
    xml: str | None = option("Elements of `<pool>` that have no field here.", spec="IAC-06", default=None)
