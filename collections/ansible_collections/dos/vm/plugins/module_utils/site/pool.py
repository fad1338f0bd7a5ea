# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage pool, on one host or under the same path on several."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.declaration import declaration, option
from ..model.pool import KINDS, Permissions, PoolSource, PoolType, check_kind
from ..model.types import AbsolutePath, ByteSize, Name
from .bound import Hosts, check_bound


@declaration
class Pool:
    """A place that volumes are allocated from."""

    type: PoolType = option("Kind of pool.", spec="POOL-T1", default="dir")
    path: AbsolutePath | None = option(
        "Directory of the volumes, the same on every host; where it is mounted, for netfs. Other types have a fixed one.",
        spec="POOL-T2.6",
        default=None,
    )
    source: PoolSource | None = option("Where the volumes come from; not for dir.", spec="POOL-T2", default=None)
    host: Name | None = option("The one host that has it.", spec="POOL-T2.18", default=None)
    hosts: Hosts | None = option("The hosts that have it; all when not given.", spec="POOL-09", default=None)
    shared: bool = option(
        "Whether every host sees the same files in the directory. Otherwise each host has one of its own. What is on a "
        "server (netfs, iscsi, rbd) is shared without saying so.",
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
        yield from check_kind(self.type, self.path, self.source)
        rule = KINDS[self.type]
        if rule.local and self.host is None:
            yield "host", f"is required: the devices of a pool of type {self.type} are one host's (POOL-T2.18)"
        if rule.local and self.shared:
            yield "shared", f"is not for pools of type {self.type}, whose devices are one host's"
        if self.source is not None and self.source.usage is not None:
            yield "source.usage", "is the secret's own affair, write it there"

    @property
    def is_shared(self) -> bool:
        """Whether all its hosts have the same volumes there."""
        return self.shared or KINDS[self.type].networked

    @property
    def is_block(self) -> bool:
        """Whether its volumes are devices."""
        return KINDS[self.type].block
