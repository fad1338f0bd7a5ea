# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine asks of a host, sorted by what it is that asks: the instance, the machine itself, its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Tie(NamedTuple):
    """Something that is on certain hosts only, in words: `pool ssd`, `network lan`, `host group fast`."""

    what: str
    hosts: frozenset[str]


class Near(NamedTuple):
    """A tag that some machines carry, and the key of the groups of hosts by which near is meant."""

    tag: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What the hosts of an instance must be and reach. Equal ones are answered once, so instances share their answers."""

    arch: str = "x86_64"
    board: str = ""
    kvm: bool = False  # whether it must be KVM
    cpu: str = ""  # a model by name; empty for what runs anywhere
    group: Tie | None = None
    storage: tuple[Tie, ...] = ()
    network: tuple[Tie, ...] = ()
    requires: tuple[tuple[str, str], ...] = ()
    images: frozenset[str] = frozenset()

    def ties(self) -> tuple[Tie, ...]:
        group = () if self.group is None else (self.group,)
        return (*group, *self.storage, *self.network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a machine takes of its host while it runs, and whom it wants around. Bytes and virtual CPUs.

    `disk` is the logical capacity by pool, `devices` the number by vendor and product. `tags` are the names by which the
    machine is meant in others' rules; `near` and `apart` are rules, `wishes` weigh: the sign says near or apart.
    """

    vcpus: int = 1
    memory: int = 0
    disk: tuple[tuple[str, int], ...] = ()
    numa: bool = False
    hugepages: int = 0  # size of a page
    devices: tuple[tuple[str, int], ...] = ()
    tags: tuple[str, ...] = ()
    near: tuple[Near, ...] = ()
    apart: tuple[Near, ...] = ()
    wishes: tuple[tuple[Near, bool], ...] = ()
    weighers: tuple[tuple[str, float], ...] = ()  # multipliers of its own
    hints: tuple[tuple[str, str], ...] = ()


ANYWHERE = Where()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A machine that wants a host.

    `bound` are the hosts that somebody declared, `None` for any; `current` is where it is defined now, and `running` whether
    it runs there. `data` are the hosts that have what its own disks hold, `None` when they are the same everywhere or not
    made yet. `failed` are the hosts where starting it failed in this run, `setbacks` why.
    """

    vm: str
    needs: Needs = field(default_factory=Needs)
    where: Where = ANYWHERE
    on: bool = True
    bound: frozenset[str] | None = None
    current: str | None = None
    running: bool = False
    data: frozenset[str] | None = None
    failed: frozenset[str] = frozenset()
    setbacks: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where a machine is to be, or why nowhere: `refusals` has a reason for every host that was refused.

    `target` is set when a rule sends a machine away from `host`, where it is defined: it stays there until it is migrated.
    """

    vm: str
    host: str | None
    reason: str = ""
    target: str | None = None
    refusals: dict[str, str] = field(default_factory=dict)
