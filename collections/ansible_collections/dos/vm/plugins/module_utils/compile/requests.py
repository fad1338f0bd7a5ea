# SPDX-License-Identifier: GPL-3.0-or-later
"""What every machine asks of a host, from its instance, its disks and its networks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from ..model.types import Name
from ..placement.request import Needs, Request, Tie, Where
from ..site.instance import Instance
from ..site.placement import InstancePlacement
from ..site.site import Site
from ..site.sizes import Sizes, own_disks
from .affinity import Rules
from .machine import Machine
from .states import HostState, Places

# By machine, the hosts that could not start it in this run; with the reasons where these are known.
Failed = Mapping[str, Iterable[str] | Mapping[str, str]]


class Requests:
    """Requests by machine. What machines of an instance have alike is made once, so that it is compared by identity."""

    def __init__(self, site: Site, states: Mapping[str, HostState], intent: Mapping[str, bool], failed: Failed) -> None:
        self._site, self._states, self._intent, self._failed = site, states, intent, failed
        self.places = Places(states)
        self._rules = Rules(site)
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._wheres: dict[str, Where] = {}
        self._interned: dict[Where, Where] = {}
        self._needs: dict[tuple[str, tuple[str, ...]], Needs] = {}
        self._bounds: dict[str, frozenset[str] | None] = {}

    def of(self, machine: Machine) -> Request:
        failed = self._failed.get(machine.name, ())
        at = self.places.defined(machine.name)
        return Request(
            vm=machine.name,
            needs=self._need(machine),
            where=self._where(machine),
            on=self._intent[machine.name],
            bound=self._bound(machine),
            current=at,
            running=at is not None and self._states[at].runs(machine.name),
            data=self.places.data(self._site, machine),
            failed=frozenset(failed),
            setbacks=failed if isinstance(failed, Mapping) else {},
        )

    def tags(self, instance: str, vm: str) -> tuple[str, ...]:
        """The names under which rules about others mean a VM that need not be declared."""
        return self._rules.tags_of(instance, vm)

    def _bound(self, machine: Machine) -> frozenset[str] | None:
        name = machine.instance_name
        if name not in self._bounds:
            self._bounds[name] = self._same(self._site.hosts_of(machine.instance))
        own = machine.vm.host
        return self._bounds[name] if own is None else frozenset((own,)) & (self._bounds[name] or frozenset((own,)))

    def _same(self, hosts: frozenset[Name] | None) -> frozenset[str] | None:
        return None if hosts is None else self._sets.setdefault(frozenset(hosts), frozenset(hosts))

    def _where(self, machine: Machine) -> Where:
        name = machine.instance_name
        if name not in self._wheres:
            made = self._new_where(machine.instance)
            self._wheres[name] = self._interned.setdefault(made, made)
        return self._wheres[name]

    def _new_where(self, instance: Instance) -> Where:
        group, asks = instance.host_group, instance.placement or InstancePlacement()
        images = frozenset(str(disk.image) for disk in instance.disks if disk.image)
        requires = {**(asks.requires or {})}
        for image in images:
            requires |= self._site.images[Name(image)].requires or {}
        return Where(
            arch=instance.arch,
            board=instance.machine,
            kvm=instance.virt_type == "kvm",
            cpu=(instance.cpu.model or "") if instance.cpu else "",
            group=None if group is None else Tie(f"host group {group}", self._site.members(group)),
            storage=tuple(dict.fromkeys(self._storage(instance))),
            network=tuple(dict.fromkeys(self._network(instance))),
            requires=tuple(sorted((str(name), value) for name, value in requires.items())),
            images=images,
        )

    def _storage(self, instance: Instance) -> Iterator[Tie]:
        site = self._site
        for disk in instance.disks:
            volume = site.volumes[disk.volume] if disk.volume else None
            pool = volume.pool if volume else disk.pool
            yield from self._tie(f"pool {pool}", site.hosts_of(site.pools[pool]) if pool else None)
            yield from self._tie(f"image {disk.image}", site.hosts_of(site.images[disk.image]) if disk.image else None)
            yield from self._tie(f"volume {disk.volume}", frozenset([volume.host]) if volume and volume.host else None)

    def _network(self, instance: Instance) -> Iterator[Tie]:
        for card in instance.interfaces:
            yield from self._tie(f"network {card.network}", self._site.hosts_of(self._site.networks[card.network]))

    def _tie(self, what: str, hosts: frozenset[Name] | None) -> Iterator[Tie]:
        same = self._same(hosts)
        if same is not None:
            yield Tie(what, same)

    def _need(self, machine: Machine) -> Needs:
        tags = self._rules.tags(machine)
        key = (machine.instance_name, tags if len(tags) != 1 or tags[0] != machine.instance_name else ())
        if key not in self._needs:
            self._needs[key] = self._new_needs(machine, tags)
        return self._needs[key]

    def _new_needs(self, machine: Machine, tags: tuple[str, ...]) -> Needs:
        instance = machine.instance
        asks = instance.placement or InstancePlacement()
        near, apart, wishes = self._rules.of(machine, tags)
        return Needs(
            vcpus=instance.vcpus,
            memory=instance.memory,
            disk=_own_disk(self._site, instance),
            numa=asks.numa,
            hugepages=asks.hugepages or 0,
            devices=tuple(sorted((asks.devices or {}).items())),
            tags=tags,
            near=near,
            apart=apart,
            wishes=wishes,
            weighers=tuple(sorted((str(name), times) for name, times in (asks.weighers or {}).items())),
            hints=tuple(sorted((str(name), hint) for name, hint in (asks.hints or {}).items())),
        )


def _own_disk(site: Site, instance: Instance) -> tuple[tuple[str, int], ...]:
    """Logical capacity by pool of the volumes that each machine has of its own, in pools that each host has for itself."""
    found: defaultdict[str, int] = defaultdict(int)
    sizes = Sizes(site)
    for _, disk in own_disks(instance):
        if disk.pool and not site.pools[disk.pool].is_shared:
            found[disk.pool] += sizes.of_own(disk) or 0
    return tuple(sorted((pool, size) for pool, size in found.items() if size))
