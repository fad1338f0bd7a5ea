# SPDX-License-Identifier: GPL-3.0-or-later
"""The site turned so that rules need not search: machines, who holds what on which hosts, and how to name a place.

Built once; every rule reads it and none changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from ..errors import meant
from ..model.types import Name
from .bound import Bound
from .instance import Instance, Vm
from .network import Network
from .project import Project
from .site import KINDS, Site
from .sizes import Observed, Sizes
from .subnet import Subnet
from .writes import Writes

MOST_GUESSES = 20  # of what was meant; who got more names wrong than that has another problem
Place = tuple[str | int, ...]
Hosts = frozenset[Name] | None  # None: all of them
Intent = Mapping[str, bool]  # by VM, whether it is to be on: by declaration, power override, timer or scale


class Finding(NamedTuple):
    """Something a rule objects to. `other` is the second place of a contradiction, for the reader to look at."""

    at: Place
    text: str
    other: Place | None = None


class Machine(NamedTuple):
    """A VM with its instance; `on` is whether it is intended on, `overridden` whether that differs from its declaration."""

    name: Name
    at: Place
    instance_name: Name
    instance: Instance
    vm: Vm
    on: bool
    overridden: bool = False


def turned_off(*machines: Machine) -> str:
    """The remedy for VMs of which only one may be on, as part of a sentence."""
    overridden = dict.fromkeys(str(machine.name) for machine in machines if machine.overridden and machine.on)
    if not overridden:
        return "turn one off"
    return f"turn one off ({' and '.join(overridden)}: on by power override, until dos.vm.power stops or releases it)"


class Orphan(NamedTuple):
    """What hosts have for a project that is not declared, with the remedy: a VM, or a volume. Sizes are bytes."""

    name: str
    host: str
    project: str
    vcpus: int = 0
    memory: int = 0
    disk: int = 0
    remedy: str = "no longer declared: remove it (dos_prune: true)"


class Index:
    """What rules look things up in. `broken` are the objects that are declared and could not be read.

    `used` is what projects used before of each quota. `intent` says which VMs are to be on; the declaration does for those
    that it lacks. `orphans` count for quotas as well, and `observed` sizes where none is declared. VMs of `first` come before
    all others, so that what contradicts them is found at the others.
    """

    def __init__(
        self,
        site: Site,
        broken: frozenset[tuple[str, str]] = frozenset(),
        used: Mapping[tuple[str, str], int] | None = None,
        *,
        intent: Intent | None = None,
        orphans: tuple[Orphan, ...] = (),
        observed: Observed | None = None,
        first: frozenset[str] = frozenset(),
    ) -> None:
        self.site = site
        self.used = used or {}
        self.orphans = orphans
        self.sizes = Sizes(site, observed)
        self._intent = intent or {}
        self._broken = broken
        self.hosts = frozenset(site.hosts)
        self.machines: list[Machine] = []
        self.unnameable: list[Finding] = []
        self._hosts_of: dict[int, Hosts] = {}
        self._near: dict[tuple[str, str], str] = {}
        for name, instance in site.instances.items():
            self._add_machines(name, instance)
        if first:
            self.machines.sort(key=lambda machine: machine.name not in first)

    @cached_property
    def writes(self) -> Writes:
        """What the disks of the site are on."""
        return Writes(self.site)

    @cached_property
    def named(self) -> dict[str, Machine]:
        """The VMs by name."""
        return {machine.name: machine for machine in self.machines}

    def _add_machines(self, name: Name, instance: Instance) -> None:
        at = ("dos_instances", name, "vms")
        runs = instance.enabled and self.is_active(instance.project)
        try:
            vms = instance.machines(name)
        except ValueError:
            text = (
                f"machines named {name}-1 to {name}-{instance.count} have more than 64 characters, write a shorter name"
            )
            self.unnameable.append(Finding(("dos_instances", name, "count"), text))
            return
        for vm_name, vm in vms.items():
            declared = runs and vm.power == "on"
            on = self._intent.get(vm_name, declared)
            self.machines.append(Machine(vm_name, (*at, vm_name), name, instance, vm, on, on != declared))

    def subnets_of(self, network: Network | None) -> list[tuple[str, Name, Subnet]]:
        """The subnets of a network that can be read: the field that names each, its name, and what it is."""
        named = network.named_subnets() if network else ()
        return [(field, name, self.site.subnets[name]) for field, name in named if name in self.site.subnets]

    def is_active(self, project: Name) -> bool:
        held: Project | None = self.site.projects.get(project)
        return held is None or held.active

    def hosts_of(self, bound: Bound) -> Hosts:
        """As `Site.hosts_of`, worked out once for each object."""
        if id(bound) not in self._hosts_of:
            self._hosts_of[id(bound)] = self.site.hosts_of(bound)
        return self._hosts_of[id(bound)]

    def has(self, kind: str, name: str) -> bool:
        """Whether something of that name is declared, readable or not."""
        return name in self.names(kind) or (kind, name) in self._broken

    def is_whole(self, kind: str) -> bool:
        """Whether everything declared of a kind could be read: only then does nobody's use of a thing mean something."""
        return all(broken != kind for broken, _ in self._broken)

    def names(self, kind: str) -> Mapping[Name, object] | frozenset[Name]:
        """What is declared of a kind; `hosts` is one as well."""
        held: Mapping[Name, object] | frozenset[Name] = self.hosts if kind == "hosts" else getattr(self.site, kind)
        return held

    def near(self, kind: str, name: str) -> str:
        """What was probably meant, as the end of a sentence."""
        if (kind, name) not in self._near and len(self._near) < MOST_GUESSES:
            self._near[kind, name] = self._nearest(kind, name)
        return self._near.get((kind, name)) or self._instead(kind)

    def _nearest(self, kind: str, name: str) -> str:
        known = [str(held) for held in self.names(kind) if abs(len(held) - len(name)) < 3]
        if len(known) > 1000:  # comparing is slow: keep those that begin alike
            known = [held for held in known if held[:1] == name[:1]][:10_000]
        return meant(name, known)

    @staticmethod
    def _instead(kind: str) -> str:
        if kind == "hosts":
            return "write one of the inventory's hosts"
        return f"declare it in dos_{kind}" if kind in KINDS else "write one that exists"

    def each_disk(self) -> Iterator[tuple[Place, Name, Instance, int]]:
        """The place of every disk of every instance."""
        for name, instance in self.site.instances.items():
            for at in range(len(instance.disks)):
                yield ("dos_instances", name, "disks", at), name, instance, at

    def each_card(self) -> Iterator[tuple[Place, Name, Instance, int]]:
        """The place of every interface of every instance."""
        for name, instance in self.site.instances.items():
            for at in range(len(instance.interfaces)):
                yield ("dos_instances", name, "interfaces", at), name, instance, at
