# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about MAC and IP addresses: each is one card's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..model.types import Address, Mac, Name
from .index import Finding, Index, Machine, Place, turned_off
from .network import SERVED, Network
from .subnet import Subnet
from .validate_fragments import macs_in_fragments


class Card(NamedTuple):
    """A card whose address somebody wrote: where the address is, and the network it is on."""

    at: Place
    network: Name
    machine: Machine


def macs_are_unique(index: Index) -> Iterator[Finding]:
    """NIC-01, NIC-02: a MAC is written for one card. One that is fixed in an instance is that of each of its machines."""
    seen: dict[str, Place] = {}
    for at, mac in _written_macs(index):
        if mac in seen:
            yield Finding(at, f"MAC {mac} is used twice, write another or leave one out (NIC-02)", seen[mac])
        seen.setdefault(mac, at)


def fixed_macs_run_once(index: Index) -> Iterator[Finding]:
    """NIC-01: where an instance with a fixed MAC may have several machines, one of them is on."""
    first: dict[Place, Machine] = {}
    for machine in index.machines:
        for place, mac in _fixed_macs(machine) if machine.on and machine.instance.unique is False else ():
            other = first.setdefault((*place, mac), machine)
            if other.name != machine.name:
                text = f"MAC {mac} is of {other.name} and {machine.name}, {turned_off(other, machine)} (NIC-01)"
                yield Finding(place, text)


def _fixed_macs(machine: Machine) -> Iterator[tuple[Place, Mac]]:
    """The MACs that a machine shares with the others of its instance."""
    for number, card in enumerate(machine.instance.interfaces):
        if card.mac and card.network not in (machine.vm.mac or {}):
            yield ("dos_instances", machine.instance_name, "interfaces", number, "mac"), card.mac
    yield from macs_in_fragments(machine.instance_name, machine.instance)


def _written_macs(index: Index) -> Iterator[tuple[Place, Mac]]:
    for name, network in index.site.networks.items():
        if network.mac:
            yield ("dos_networks", name, "mac"), network.mac
    for at, _, instance, number in index.each_card():
        mac = instance.interfaces[number].mac
        if mac:
            yield (*at, "mac"), mac
    for own, instance in index.site.instances.items():
        yield from macs_in_fragments(own, instance)
    for machine in index.machines:
        for name, held in (machine.vm.mac or {}).items():
            yield (*machine.at, "mac", name), held


def _addressed(index: Index) -> Iterator[tuple[Address, Card]]:
    """Every address that somebody wrote for a card."""
    for machine in index.machines:
        for field, name, address in _own(machine):
            yield address, Card((*machine.at, field, name), name, machine)
    for name, instance in index.site.instances.items():
        if not any(card.ip or card.ip6 for card in instance.interfaces):
            continue
        for machine in _single(index, name):
            for number, card in enumerate(instance.interfaces):
                for field, written, own in (("ip", card.ip, machine.vm.ip), ("ip6", card.ip6, machine.vm.ip6)):
                    if written and card.network not in (own or {}):
                        at = ("dos_instances", name, "interfaces", number, field)
                        yield written, Card(at, card.network, machine)


def _own(machine: Machine) -> Iterator[tuple[str, Name, Address]]:
    """A machine's own addresses, on networks that it has a card on; the others are another rule's."""
    for field, held in (("ip", machine.vm.ip or {}), ("ip6", machine.vm.ip6 or {})):
        for card in machine.instance.interfaces if held else ():
            if card.network in held:
                yield field, card.network, held[card.network]


def _single(index: Index, name: Name) -> Iterator[Machine]:
    """The machine of an instance that has one; an address for several is another rule's."""
    vms = index.site.instances[name].machines(name)
    if len(vms) == 1:
        vm_name, vm = next(iter(vms.items()))
        yield Machine(vm_name, ("dos_instances", name, "vms", vm_name), name, index.site.instances[name], vm, True)


def addresses_fit_their_subnet(index: Index) -> Iterator[Finding]:
    """SUBN-04: a card's address is one of the network's subnet, and not the gateway's."""
    for address, card in _addressed(index):
        network = index.site.networks.get(card.network)
        if network is None:
            continue
        if not network.named_subnets():
            yield Finding(card.at, f"network {card.network} has no subnet to have an address in, leave it out")
            continue
        found = _subnet_for(index, network, address)
        refusal = found and (
            found[1].refusal(address) or (f"{address} is the gateway" if address == found[1].gateway else None)
        )
        if found and refusal:
            yield Finding(card.at, f"{refusal} (subnet {found[0]})")


def _subnet_for(index: Index, network: Network, address: Address) -> tuple[Name, Subnet] | None:
    """The subnet that an address is meant to be of: the one of its family, or the only one."""
    held = index.subnets_of(network)
    if len(held) < len(network.named_subnets()):
        return None  # one of them cannot be read
    same = [entry for entry in held if entry[2].address.version == address.version]
    found = next(iter(same or held), None)
    return (found[1], found[2]) if found else None


def addresses_are_unique(index: Index) -> Iterator[Finding]:
    """SUBN-04: an address is one machine's, or one reservation's."""
    seen: dict[str, Place] = {}
    for name, subnet in index.site.subnets.items():
        for at, held in enumerate(subnet.dhcp.reservations if subnet.dhcp else ()):
            seen.setdefault(held.ip, ("dos_subnets", name, "dhcp", "reservations", at, "ip"))
    for address, card in _addressed(index):
        if address in seen:
            yield Finding(card.at, f"address {address} is used twice, write another (SUBN-04)", seen[address])
        seen.setdefault(address, card.at)


def reservations_are_made_once(index: Index) -> Iterator[Finding]:
    """SUBN-04: a card with an address of its own is not in the subnet's reservations as well."""
    reserved: dict[tuple[str, str], Place] = {}
    for name, subnet in index.site.subnets.items():
        for at, held in enumerate(subnet.dhcp.reservations if subnet.dhcp else ()):
            if held.mac:
                reserved[name, held.mac] = ("dos_subnets", name, "dhcp", "reservations", at, "mac")
    for address, card in _addressed(index) if reserved else ():
        mac = (card.machine.vm.mac or {}).get(card.network) or next(
            (held.mac for held in card.machine.instance.interfaces if held.network == card.network), None
        )
        network = index.site.networks.get(card.network)
        found = _subnet_for(index, network, address) if network else None
        place = reserved.get((found[0], mac)) if found and mac else None
        if place:
            yield Finding(
                card.at, f"MAC {mac} has a reservation already, write its address in one place (SUBN-04)", place
            )


def addresses_without_dhcp(index: Index) -> Iterator[Finding]:
    """SUBN-T2.3: an address is given by DHCP, where that runs."""
    for address, card in _addressed(index):
        network = index.site.networks.get(card.network)
        found = _subnet_for(index, network, address) if network else None
        dhcp = found[1].dhcp if found else None
        if found and (network and network.type in SERVED) and not (dhcp and dhcp.enabled):
            yield Finding(card.at, f"no DHCP runs on {card.network}, so the guest must set this address itself")
