# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about names that reach a name service: each is a name in DNS, and one name means one address."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.types import DnsName
from .index import Finding, Index, Machine, Place
from .network import Network


def served_vms_have_dns_names(index: Index) -> Iterator[Finding]:
    """SUBN-T2.3: our DHCP and DNS give a VM its name, so the name must be one that DNS knows."""
    for machine in index.machines:
        refusal = _refusal(machine.name)
        if refusal and any(_is_served(index, network) for network in _networks(index, machine)):
            yield Finding(machine.at, f"{refusal}: the DHCP and DNS of its network give it this name")


def _refusal(name: str) -> str | None:
    try:
        DnsName(name)
    except ValueError as refused:
        return str(refused)
    return None


def _networks(index: Index, machine: Machine) -> Iterator[Network]:
    for interface in machine.instance.interfaces:
        if (network := index.site.networks.get(interface.network)) is not None:
            yield network


def _is_served(index: Index, network: Network) -> bool:
    return any(subnet.is_served(network.type) for _, _, subnet in index.subnets_of(network))


def names_have_one_address(index: Index) -> Iterator[Finding]:
    """SUBN-T3.6: a name of a subnet is written once for each family; a second address answers every other question."""
    for subnet_name, subnet in index.site.subnets.items():
        seen: dict[tuple[str, int], Place] = {}
        for number, host in enumerate(subnet.dns.hosts if subnet.dns else ()):
            for at, name in enumerate(host.names):
                place: Place = ("dos_subnets", subnet_name, "dns", "hosts", number, "names", at)
                first = seen.setdefault((name.lower(), host.ip.version), place)
                if first != place:
                    yield Finding(place, f"{name} has an address already, write each name once", first)
