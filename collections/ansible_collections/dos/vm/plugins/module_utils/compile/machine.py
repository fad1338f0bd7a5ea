# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine: one VM of an instance, with all that its instance says for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..model.device import Bus
from ..model.fragment_rules import macs
from ..model.on_boot import OnBoot
from ..model.types import Address, Mac, Name, Uuid
from ..site.after import After
from ..site.instance import Instance, InstanceDisk, Vm
from ..site.site import Site
from ..site.suited import suited
from ..site.writes import Writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A VM as it will be compiled. `addresses` has the MAC of every card, by its place; `on` is what is intended now."""

    name: Name
    instance_name: str
    instance: Instance
    vm: Vm
    active: bool  # whether instance and project let it run at all
    index: int = 0  # its place among the machines of its instance
    on: bool = False
    epoch: int | None = None  # of a definition that is made now
    uuid: Uuid | None = None  # where something besides the definition says it
    addresses: tuple[Mac, ...] = field(default=())
    given: tuple[tuple[Address, ...], ...] = field(default=())  # to each card, of its subnet's pool
    on_boot: OnBoot = "stay_off"

    @property
    def path(self) -> str:
        """Where it is declared."""
        return f"dos_instances.{self.instance_name}.vms.{self.name}"

    @property
    def declared_on(self) -> bool:
        return self.vm.power == "on" and self.active

    @property
    def after(self) -> tuple[After, ...]:
        """What it comes after."""
        return self.instance.after + self.vm.after

    def mac(self, place: int) -> Mac | None:
        """The MAC that somebody wrote for the card: the machine's own, or its instance's."""
        card = self.instance.interfaces[place]
        return (self.vm.mac or {}).get(card.network) or card.mac

    def ips(self, place: int) -> tuple[Address, ...]:
        """The addresses of a card, one of a family: what somebody wrote for the machine or its instance, and what was given."""
        card = self.instance.interfaces[place]
        four = (self.vm.ip or {}).get(card.network) or card.ip
        six = (self.vm.ip6 or {}).get(card.network) or card.ip6
        written = tuple(address for address in (four, six) if address is not None)
        return written + self.given[place] if self.given else written

    def cards_without_mac(self) -> Iterator[str]:
        """The places of the cards that need one computed."""
        return (str(place) for place in range(len(self.instance.interfaces)) if self.mac(place) is None)

    def macs(self) -> Iterator[Mac]:
        """The addresses that the declaration sets, those in fragments of XML as well."""
        yield from (mac for place in range(len(self.instance.interfaces)) if (mac := self.mac(place)))
        yield from (mac for _, mac in macs(self.instance.xml))

    def settled(
        self,
        macs: Mapping[tuple[str, str], Mac],
        given: Mapping[tuple[Name, int], tuple[Address, ...]],
        *,
        on: bool,
        epoch: int | None = None,
        uuid: Uuid | None = None,
    ) -> Machine:
        """The machine with every card's addresses and what it should be now."""
        cards = range(len(self.instance.interfaces))
        addresses = tuple(self.mac(place) or macs[self.name, str(place)] for place in cards)
        ips = tuple(given.get((self.name, place), ()) for place in cards)
        return replace(self, addresses=addresses, given=ips, on=on, epoch=epoch, uuid=uuid)

    def targets(self) -> list[tuple[str, InstanceDisk]]:
        """Its disks with their device names: the declared one, or the next of its bus."""
        return self.instance.targets()

    def bus(self, disk: InstanceDisk) -> Bus:
        """The bus of a disk: the declared one, or what suits the device and the board (DOMX-06)."""
        return self.instance.bus(disk)

    def own_volume(self, target: str) -> str:
        """The name of the volume that this machine alone has for a disk."""
        return f"{self.name}-{target}"

    def own_disks(self, site: Site) -> frozenset[str]:
        """The volumes that are made for this machine, as `pool/name`, in pools that are not the same on every host."""
        return frozenset(
            f"{disk.pool}/{self.own_volume(target)}"
            for target, disk in self.targets()
            if disk.pool and not disk.volume and not site.pools[disk.pool].is_shared
        )

    def made_disks(self) -> frozenset[str]:
        """The volumes that are made for this machine, as `pool/name`, in whatever pools."""
        return frozenset(
            f"{disk.pool}/{self.own_volume(target)}" for target, disk in self.targets() if disk.pool and not disk.volume
        )

    def hosts(self, site: Site) -> frozenset[str] | None:
        """The hosts it may run on: its own binding, narrowed by its pools, images and networks; `None` for any."""
        return _common([*self._bindings(site), *self._storage(site), *self._networks(site)])

    def reach(self, site: Site) -> frozenset[str] | None:
        """The hosts that have its disks, whatever it is bound to; `None` for any."""
        return _common(self._storage(site))

    def _bindings(self, site: Site) -> Iterator[frozenset[str] | None]:
        yield frozenset([self.vm.host]) if self.vm.host else None
        yield site.hosts_of(self.instance)
        yield site.members(self.instance.host_group) if self.instance.host_group else None

    def _storage(self, site: Site) -> Iterator[frozenset[str] | None]:
        for disk in self.instance.disks:
            pool = site.volumes[disk.volume].pool if disk.volume else disk.pool
            yield site.hosts_of(site.pools[pool]) if pool else None
            yield site.hosts_of(site.images[disk.image]) if disk.image else None
            volume = site.volumes[disk.volume] if disk.volume else None
            yield frozenset([volume.host]) if volume and volume.host else None

    def _networks(self, site: Site) -> Iterator[frozenset[str] | None]:
        for card in self.instance.interfaces:
            yield site.hosts_of(site.networks[card.network])


def _common(ties: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """The hosts that all of these leave; `None` for any."""
    held = [tie for tie in ties if tie is not None]
    return frozenset.intersection(*held) if held else None


def machines(site: Site) -> list[Machine]:
    """Every machine of the site, in the order of its declaration."""
    found: list[Machine] = []
    writes = Writes(site)
    for name, instance in site.instances.items():
        active = instance.enabled and site.projects[instance.project].active
        on_boot: OnBoot = instance.on_boot or ("last" if writes.only_own(instance) else "stay_off")
        instance = suited(site, instance)
        found += [
            Machine(
                name=vm_name,
                instance_name=name,
                instance=instance,
                vm=vm,
                active=active,
                index=index,
                on_boot=vm.on_boot or on_boot,
            )
            for index, (vm_name, vm) in enumerate(instance.machines(name).items())
        ]
    return found
