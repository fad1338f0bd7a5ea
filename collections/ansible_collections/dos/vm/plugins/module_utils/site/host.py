# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as the operator limits them, and groups of hosts: where machines may run, and how full a host may become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.types import AbsolutePath, Address, ByteSize, Cidr, DeviceName, Name
from .bound import Hosts

LEAST_RESERVE = 512 * 2**20  # of a host's memory, for the host itself (HOST-09, AMB-28)


@declaration
class Overcommit:
    """How many times what a host has may be promised to its machines; 1 is exactly what there is."""

    memory: float = option("Memory.", spec="DEP-11", default=1.0)
    vcpus: float | None = option(
        "Virtual CPUs for each processor; not limited when not given.", spec="SCHED-15", default=None
    )
    disk: float = option("Logical capacity in pools that a host has for itself.", default=1.0)

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("memory", "vcpus", "disk"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 100:
                yield name, f"{value} is out of range, write more than 0 and at most 100"


@declaration
class Fence:
    """How a host's power is switched by somebody else, and read back: a fence agent, and what it is to be told."""

    agent: str = option("The agent.", spec="AMB-24", example="fence_ipmilan")
    address: str | None = option("Where the device is reached.", default=None)
    plug: str | None = option("Which of its outlets, nodes or blades the host is.", default=None)
    username: str | None = option("Who it lets in.", default=None)
    password: Name | None = option("The secret with the password.", spec="SECO-T1.3", default=None)
    options: dict[str, str] | None = option(
        "More options of the agent, by their long names without dashes; never a password.", default=None
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.agent.startswith("fence_") or "/" in self.agent:
            yield "agent", f"{self.agent[:40]!r} is not a fence agent, write its name, like fence_ipmilan"
        for name in self.options or {}:
            if name.replace("-", "_") in ("password", "passwd", "password_script", "passwd_script"):
                yield f"options.{name}", "is no place for a password, write password: and the name of a secret"


@declaration
class Uplink:
    """An interface of the host and what it is for (ARCH-12)."""

    purpose: Literal["internal", "external", "storage", "migration"] = option(
        "Whose traffic it carries: between hosts and machines, to the outside, to storage, of migrations.",
        spec="DEP-02",
    )
    address: Cidr | None = option("The host's address on it.", spec="DEP-02", default=None)
    bandwidth: int | None = option("Mbit/s.", spec="DEP-02", default=None, low=1)


@declaration
class HostSettings:
    """What the operator says of a host of the inventory; a host that is not mentioned has no limits but its own."""

    label: str | None = option("Label in any script.", default=None)
    address: Address | None = option(
        "The one address by which other hosts reach it, for migrations and certificates.", spec="ARCH-11", default=None
    )
    fence: Fence | None = option("How its power is switched from elsewhere.", spec="AMB-24", default=None)
    uplinks: dict[DeviceName, Uplink] | None = option(
        "What its interfaces are for, by name.", spec="ARCH-12", default=None
    )
    max_vcpus: int | None = option(
        "Virtual CPUs of the machines that run there, at most.", spec="HOST-T1.7", default=None, low=0
    )
    max_memory: ByteSize | None = option(
        "Memory of the machines that run there, at most; 512 MiB less than the host has, or smaller.",
        spec="HOST-T1.8",
        default=None,
        low=0,
    )
    reserve: ByteSize | None = option(
        "Memory kept for the host itself; that of its groups or of the site when not given.",
        spec="HOST-09",
        default=None,
        low=LEAST_RESERVE,
    )
    overcommit: Overcommit | None = option(
        "How full it may become; that of its groups or of the site when not given.", spec="HOST-T1.7", default=None
    )
    overlays: AbsolutePath | None = option(
        "Directory of the temporary overlays of read-only images; that of dos_storage when not given. It must outlast a "
        "restart of the host.",
        spec="DMN-T1.15",
        default=None,
    )
    active: bool = option("Whether machines may come to it; those that are there stay.", spec="SCHED-05", default=True)
    maintenance: bool = option("Whether it is being emptied: no machine comes, and those there leave.", default=False)
    labels: dict[Name, str] | None = option(
        "What is said of it, for instances and images that require it.", spec="SCHED-05", default=None
    )


@declaration
class HostGroup:
    """Hosts that belong together: where an instance may run, what a project is granted, how full its hosts may become.

    Without `hosts` its members are those of the inventory's group of the same name.
    """

    label: str | None = option("Label in any script.", spec="HGRP-T1.1", default=None)
    description: str | None = option("Free text.", spec="HGRP-T1.2", default=None)
    hosts: Hosts | None = option(
        "The members; those of the inventory's group of the same name when not given.", spec="HGRP-T1.3", default=None
    )
    key: Name | None = option(
        "What sort of group it is, such as rack or room. A host is in at most one group of a sort; instances are kept apart "
        "or together by it, and the loss of a whole group is reckoned with.",
        spec="SCHED-09",
        default=None,
    )
    projects: tuple[Name, ...] = option(
        "Projects that may run machines there; every project when nobody is granted it.", spec="HGRP-T1.4", default=()
    )
    reserve: ByteSize | None = option(
        "Memory kept for each host itself; of several groups the largest counts.",
        spec="HOST-09",
        default=None,
        low=LEAST_RESERVE,
    )
    overcommit: Overcommit | None = option(
        "How full its hosts may become; of several groups the smallest of each counts.", spec="SCHED-15", default=None
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.hosts == ():
            yield "hosts", "names no host, write at least one, or all (HGRP-T1.3)"
