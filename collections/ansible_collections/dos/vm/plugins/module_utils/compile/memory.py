# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of machines and hosts from one run to the next, as plain values: what the store keeps and compile reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a machine is. The epoch grows with every change of host; `seen` is whether the host was found to have it. `left` is the
    host that it was on when that was released: its disks are there, until it was found on another."""

    vm: str
    host: str | None
    epoch: int
    seen: bool = False
    project: str | None = None
    left: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """`surveyed` are the hosts of which everything is remembered: a machine without a placement is not on them.

    `dead` are those of which evidence says that they run nothing, as long as they do not answer. Another machine answers by the
    name of those that are `foreign`. `volumes` are those that dos.vm knew of on each host when that
    last answered, as `pool/name`, and `identities` the installed systems that it was then.
    """

    placements: Mapping[str, Placement] = field(default_factory=dict)
    surveyed: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    volumes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)

    @property
    def generation(self) -> int:
        """A number that grows with every change of a machine's host, by whomever: epochs only grow, and rows stay."""
        return sum(held.epoch for held in self.placements.values())

    def renamed(self, names: Mapping[str, str]) -> Memory:
        """The same, where hosts have got new names: what was placed on a host is on it still, under a new epoch."""
        if not names:
            return self
        placements = {
            vm: replace(held, host=name, epoch=held.epoch + 1) if (name := names.get(held.host or "")) else held
            for vm, held in self.placements.items()
        }
        return Memory(
            placements={
                vm: replace(held, left=names.get(held.left or "", held.left)) for vm, held in placements.items()
            },
            surveyed=frozenset(names.get(host, host) for host in self.surveyed),
            dead=self.dead - frozenset(names),
            foreign=self.foreign,
            volumes={names.get(host, host): held for host, held in self.volumes.items()},
            identities={names.get(host, host): held for host, held in self.identities.items()},
        )


NOTHING = Memory()
