# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage pool, on one host or under the same path on several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.pool import Permissions
from ..model.types import AbsolutePath, ByteSize, Name
from .bound import Hosts, check_bound


@declaration
class Pool:
    """A place that volumes are allocated from."""

    type: Literal["dir"] = option("Kind of pool.", spec="POOL-T1", default="dir")
    path: AbsolutePath = option("Directory of the volumes, the same on every host.", spec="POOL-T2.6")
    host: Name | None = option("The one host that has it.", spec="POOL-T2.18", default=None)
    hosts: Hosts | None = option("The hosts that have it; all when not given.", spec="POOL-09", default=None)
    shared: bool = option(
        "Whether every host sees the same files there. Otherwise each host has a directory of its own.",
        spec="POOL-20",
        default=False,
    )
    capacity: ByteSize | None = option(
        "Logical size, which the volumes together must not exceed.", spec="POOL-T2.3", default=None, low=1
    )
    projects: tuple[Name, ...] = option(
        "Projects that may use it; every project when nobody is granted it.", spec="POOL-T2.5", default=()
    )
    permissions: Permissions | None = option("Owner and mode of the directory.", spec="POOL-11", default=None)
    autostart: bool = option("Whether libvirt starts the pool by itself.", spec="POOL-08", default=True)
    label: str | None = option("Label in any script.", default=None)
    description: str | None = option("Free text.", spec="POOL-T2.4", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_bound(self)
