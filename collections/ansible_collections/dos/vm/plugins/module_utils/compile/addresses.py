# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses for cards that nobody wrote one for: of their subnet's pool, and from then on theirs.

A card keeps what its host has reserved for it, then what it has been handed out; a new one gets the address that its name
hashes to, or the next free one. So neither the order of files nor the coming and going of others moves anybody.
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from itertools import accumulate
from typing import NamedTuple

from ..errors import DeclarationError, Problem, spell
from ..model.types import Address, Mac, Name
from ..site.network import Network
from ..site.site import Site
from ..site.subnet import Subnet
from .machine import Machine
from .orphans import OrphanedVm
from .states import HostState, Kept

Given = Mapping[tuple[Name, int], tuple[Address, ...]]  # by machine and place of the card


class Card(NamedTuple):
    """A card that is to be given an address."""

    machine: Machine
    place: int
    network: Name
    mac: Mac

    @property
    def path(self) -> str:
        return f"{self.machine.path} on {self.network}"


class Pool:
    """The addresses of a subnet's pool, by their number."""

    def __init__(self, subnet: Subnet) -> None:
        spans = sorted((int(span.start.ip), int(span.end.ip)) for span in subnet.pool)
        self._version = subnet.address.version
        self._firsts = [first for first, _ in spans]
        self._before = list(accumulate((last - first + 1 for first, last in spans), initial=0))
        self.size = self._before[-1]

    def __getitem__(self, number: int) -> Address:
        at = bisect(self._before, number) - 1
        return self._address(self._firsts[at] + number - self._before[at])

    def __contains__(self, address: Address) -> bool:
        at = bisect(self._firsts, int(address.ip)) - 1
        return at >= 0 and int(address.ip) - self._firsts[at] < self._before[at + 1] - self._before[at]

    def _address(self, value: int) -> Address:
        # A small number alone would be taken for IPv4.
        return Address(str(ip_address(value) if self._version == 4 else ip_address(value.to_bytes(16, "big"))))


def give(
    site: Site,
    machines: Iterable[Machine],
    macs: Mapping[tuple[str, str], Mac],
    states: Mapping[str, HostState],
    orphans: Iterable[OrphanedVm] = (),
) -> Given:
    """An address for every card without one whose subnet gives addresses away (NIC-02, SUBN-T1.8).

    Those of `orphans`, which run and are no longer declared, are not given to others.

    Raises `DeclarationError` for two who have one address, and for a pool that is too small, each with its places.
    """
    asking, taken = _asking(site, machines, macs)
    for orphan in orphans:
        _keep(orphan, site, asking, taken)
    kept = _kept(states)
    found: defaultdict[tuple[Name, int], list[Address]] = defaultdict(list)
    problems: list[Problem] = []
    for name, cards in asking.items():
        try:
            for card, address in _share(site, name, cards, taken[name], kept):
                found[card.machine.name, card.place].append(address)
        except DeclarationError as refused:
            problems += refused.problems
    if problems:
        raise DeclarationError(problems)
    return {card: tuple(addresses) for card, addresses in found.items()}


def _keep(
    orphan: OrphanedVm, site: Site, asking: Mapping[Name, list[Card]], taken: Mapping[Name, dict[Address, str]]
) -> None:
    """Take an orphan's addresses out of what is given, but for a card with its MAC, which keeps what the MAC has."""
    macs, addresses = orphan.macs, sorted(orphan.addresses, key=str)
    for name, cards in asking.items():
        if not any(card.mac in macs for card in cards):
            for address in addresses:
                if address.version == site.subnets[name].address.version:
                    taken[name].setdefault(address, f"VM {orphan.name}, {orphan.where} and is no longer declared,")


def _asking(
    site: Site, machines: Iterable[Machine], macs: Mapping[tuple[str, str], Mac]
) -> tuple[dict[Name, list[Card]], dict[Name, dict[Address, str]]]:
    """By subnet, the cards that want an address, and the addresses that somebody wrote, each with where."""
    giving = {name: subnet for name, subnet in site.subnets.items() if subnet.gives}
    taken = {name: dict(_written(name, subnet)) for name, subnet in giving.items()}
    reserved = {
        name: {host.mac for host in subnet.dhcp.reservations if host.mac}
        for name, subnet in giving.items()
        if subnet.dhcp
    }
    asking: defaultdict[Name, list[Card]] = defaultdict(list)
    on = {name: _subnets(network, giving) for name, network in site.networks.items()}
    for machine in machines:
        for place, card in enumerate(machine.instance.interfaces):
            for name in on[card.network]:
                own = next((ip for ip in machine.ips(place) if ip.version == giving[name].address.version), None)
                mac = machine.mac(place) or macs[machine.name, str(place)]
                if own is not None:
                    taken[name][own] = f"{machine.path} on {card.network}"
                elif mac not in reserved[name]:
                    asking[name].append(Card(machine, place, card.network, mac))
    return asking, taken


def _subnets(network: Network, giving: Mapping[Name, Subnet]) -> list[Name]:
    """Those of a network that give addresses away there: somebody has to run the DHCP."""
    return [name for _, name in network.named_subnets() if name in giving and giving[name].is_served(network.type)]


def _written(name: Name, subnet: Subnet) -> Iterator[tuple[Address, str]]:
    """The addresses of a subnet that are no machine's."""
    if subnet.gateway:
        yield subnet.gateway, spell(("dos_subnets", name, "gateway"))
    for at, host in enumerate(subnet.dhcp.reservations if subnet.dhcp else ()):
        yield host.ip, spell(("dos_subnets", name, "dhcp", "reservations", at, "ip"))
    for at, named in enumerate(subnet.dns.hosts if subnet.dns else ()):
        yield named.ip, spell(("dos_subnets", name, "dns", "hosts", at, "ip"))


def _kept(states: Mapping[str, HostState]) -> dict[tuple[str, str], list[Kept]]:
    """What the hosts have for a card, by its network and MAC, or where only names are known, by its machine's name."""
    found: defaultdict[tuple[str, str], list[Kept]] = defaultdict(list)
    for host in sorted(states):
        for held in states[host].addresses:
            found[held.network, held.mac or held.name].append(held)
    return found


def _share(
    site: Site, name: Name, cards: list[Card], taken: dict[Address, str], kept: Mapping[tuple[str, str], list[Kept]]
) -> Iterator[tuple[Card, Address]]:
    """The addresses of one subnet. `taken` grows."""
    subnet = site.subnets[name]
    pool = Pool(subnet)
    rest = sorted(cards, key=lambda card: (card.machine.name, card.place))
    if pool.size < len(rest):
        text = f"has {pool.size} addresses for {len(rest)} cards: write a longer pool, or allocate: false under dhcp"
        raise DeclarationError.at(spell(("dos_subnets", name, "pool")), text)
    problems: list[Problem] = []
    for firm in (True, False):
        waiting, rest = rest, []
        for card in waiting:
            address = _of(card, subnet, pool, kept, firm)
            if address is None or (not firm and address in taken):
                rest.append(card)  # what was only handed out for a while may be somebody else's by now
            elif address in taken:
                text = f"{address} is reserved for it since an earlier run, and {taken[address]} has it as well"
                problems.append(Problem(card.path, f"{text}: write another address for one of them (SUBN-04)"))
            else:
                taken[address] = card.path
                yield card, address
    if problems:
        raise DeclarationError(problems)
    for card in rest:
        address = _free(site, name, card, pool, taken)
        if address is None:
            text = f"is used up before {card.path}: write a longer pool, or allocate: false under dhcp"
            raise DeclarationError.at(spell(("dos_subnets", name, "pool")), text)
        taken[address] = card.path
        yield card, address


def _of(
    card: Card, subnet: Subnet, pool: Pool, kept: Mapping[tuple[str, str], list[Kept]], firm: bool
) -> Address | None:
    """What a host has for a card, and could have given it."""
    held = [*kept.get((card.network, card.mac), ()), *kept.get((card.network, str(card.machine.name)), ())]
    version = subnet.address.version
    return next(
        (one.ip for one in held if one.firm is firm and one.ip.version == version and one.ip in pool),
        None,
    )


def _free(site: Site, name: Name, card: Card, pool: Pool, taken: Mapping[Address, str]) -> Address | None:
    """The first free address of the pool, beginning where the card's name hashes to."""
    text = "/".join([site.name, name, card.machine.name, str(card.place)])
    first = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % pool.size
    for step in range(min(pool.size, len(taken) + 1)):
        address = pool[(first + step) % pool.size]
        if address not in taken:
            return address
    return None
