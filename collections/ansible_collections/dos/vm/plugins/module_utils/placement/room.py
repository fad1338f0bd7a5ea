# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has for machines, what those on it take, and the groups it is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .request import Needs, Request

HOST = "host"  # the key by which every host is a group of its own
SITE = "*"  # the key of the one group that all hosts are in
NOMINAL_VCPUS = 4  # for each processor, to weigh hosts that have no limit


@dataclass(slots=True, eq=False)
class Zone:
    """A group of hosts, and how many machines with each tag are in it."""

    key: str
    name: str
    rooms: list[int] = field(default_factory=list)
    tags: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class Scale:
    """The largest of each among the hosts of a site: what shares are shares of."""

    memory: int = 1
    vcpus: int = 1


@dataclass(slots=True, eq=False)
class Cell:
    """A NUMA node: bytes, processors, and what machines that must fit into one node take of them."""

    memory: int
    cpus: int
    used_memory: int = 0
    used_vcpus: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Room:
    """A host, and what is left of it. Bytes and virtual CPUs.

    `memory` is what its machines together may have: reserve taken off, overcommit and limit reckoned in. `vcpus` is `None`
    where there is no limit; `boards` and `cpu_models` are `None` where the host did not say. `disk` and `hugepages` are bytes
    by pool and by size of a page. `load` is the busy share of its processors, 0 to 1.
    """

    host: str
    memory: int
    cpus: int = 1
    vcpus: int | None = None
    answers: bool = True
    asked: bool = True  # one that is not has no answer either
    active: bool = True
    maintenance: bool = False
    kvm: bool = True
    archs: frozenset[str] = frozenset({"x86_64"})
    arch: str = "x86_64"  # its own, which `boards` are for
    boards: frozenset[str] | None = None
    cpu_model: str = ""  # its own
    cpu_models: frozenset[str] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    disk: Mapping[str, int] = field(default_factory=dict)
    hugepages: Mapping[int, int] = field(default_factory=dict)
    devices: Mapping[str, int] = field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    load: float = 0.0
    # What is taken, and what the fleet adds. A room that is `down` takes nothing for the time being, whatever filters say.
    index: int = 0
    down: bool = False
    used_memory: int = 0
    used_vcpus: int = 0
    machines: int = 0
    used_disk: Counter[str] = field(default_factory=Counter)
    used_hugepages: Counter[int] = field(default_factory=Counter)
    used_devices: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    in_cell: dict[str, Cell] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)
    scale: Scale = field(default_factory=Scale)

    @property
    def free_memory(self) -> int:
        return self.memory - self.used_memory

    @property
    def nominal_vcpus(self) -> int:
        """What its virtual CPUs are a share of, limit or not."""
        return self.cpus * NOMINAL_VCPUS if self.vcpus is None else self.vcpus

    def consume(self, request: Request, sign: int = 1) -> None:
        """Take what a machine needs, or with a sign of -1 give it back. One that is off takes its disks only (AMB-06)."""
        needs = request.needs
        for pool, size in needs.disk:
            self.used_disk[pool] += sign * size
        for image in request.where.images:
            self.images[image] += sign
        if not request.on:
            return
        self.machines += sign
        self.used_vcpus += sign * needs.vcpus
        if needs.hugepages:
            self.used_hugepages[needs.hugepages] += sign * needs.memory
        else:
            self.used_memory += sign * needs.memory
        for device, number in needs.devices:
            self.used_devices[device] += sign * number
        if needs.numa:
            self._consume_cell(request.vm, needs, sign)

    def _consume_cell(self, vm: str, needs: Needs, sign: int) -> None:
        cell = self.cell_for(needs) if sign > 0 else self.in_cell.pop(vm, None)
        if cell is not None:
            cell.used_memory += sign * needs.memory
            cell.used_vcpus += sign * needs.vcpus
            if sign > 0:
                self.in_cell[vm] = cell

    def cell_for(self, needs: Needs) -> Cell | None:
        """The NUMA node with the most memory left among those that the machine fits into."""
        fitting = [
            cell
            for cell in self.cells
            if needs.memory <= cell.memory - cell.used_memory and needs.vcpus <= cell.cpus - cell.used_vcpus
        ]
        return max(fitting, key=lambda cell: cell.memory - cell.used_memory, default=None)
