# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about subnets and networks as such."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields

from ..model.types import Name
from .index import Finding, Index, Place
from .network import SERVED, SWITCHED, Network
from .subnet import AutomaticGateway, Subnet

EXCLUSIVE = ("route", *SWITCHED)  # nobody else may have their subnet (SUBN-11, AMB-09)


def gateways(index: Index) -> Iterator[Finding]:
    """NET-T3.8, SUBN-12, AMB-03: where the host serves a subnet it has the gateway's address."""
    for name, network in index.site.networks.items():
        for field, subnet_name, subnet in index.subnets_of(network):
            if subnet.gateway is None and network.type in SERVED:
                text = (
                    f"subnet {subnet_name} has no gateway, which is the host's own address there: write one (NET-T3.8)"
                )
                yield Finding(("dos_networks", name, field), text, ("dos_subnets", subnet_name))


def two_subnets_are_of_two_families(index: Index) -> Iterator[Finding]:
    """LIMIT-18: a network has one subnet of IPv4, one of IPv6, or one of each."""
    for name, network in index.site.networks.items():
        held = {field: (subnet_name, subnet) for field, subnet_name, subnet in index.subnets_of(network)}
        for field, version, instead in (("subnet6", 6, "subnet"), ("subnet", 4, "subnet6")):
            if field not in held or (field == "subnet" and network.subnet6 is None):
                continue  # alone it may be of either
            subnet_name, subnet = held[field]
            if subnet.address.version != version:
                text = f"subnet {subnet_name} is of IPv{subnet.address.version}, write it as {instead} (LIMIT-18)"
                yield Finding(("dos_networks", name, field), text, ("dos_subnets", subnet_name, "address"))


def services_are_said_once(index: Index) -> Iterator[Finding]:
    """LIMIT-18, SUBN-T1.10: names are a network's, not a family's; and one host is its gateway, for both families."""
    for name, network in index.site.networks.items():
        held = index.subnets_of(network)
        if len(held) < 2:
            continue
        (_, first, four), (_, second, six) = held
        if four.dns and six.dns:
            text = f"the name service of network {name} is declared in both its subnets, write it in one of them"
            yield Finding(("dos_subnets", second, "dns"), text, ("dos_subnets", first, "dns"))
        if _contradicts(six.automatic_gateway, four.automatic_gateway):
            text = f"says of the gateway of network {name} what is said in its other subnet: leave out all but forwards"
            yield Finding(
                ("dos_subnets", second, "automatic_gateway"), text, ("dos_subnets", first, "automatic_gateway")
            )


def private_networks_are_alone(index: Index) -> Iterator[Finding]:
    """NET-03, AMB-04: libvirt allows many on a host, so only where somebody asks for the rule."""
    if not index.site.system.one_private_network_per_host:
        return
    first: dict[Name, Name] = {}
    for name, network in index.site.networks.items():
        hosts = index.site.hosts_of(network)
        for host in sorted(index.site.hosts if hosts is None else hosts) if network.type in SERVED else ():
            other = first.setdefault(host, name)
            if other != name:
                text = (
                    f"host {host} has network {other} already, and dos_system.one_private_network_per_host allows one of "
                    f"types {', '.join(SERVED)}: bind one of them to another host, or set that to false (NET-03)"
                )
                yield Finding(("dos_networks", name), text, ("dos_networks", other))
                break


def _contradicts(second: AutomaticGateway | None, first: AutomaticGateway | None) -> bool:
    """Whether it says something, other than what it lets in, that the first does not."""
    if first is None or second is None:
        return False
    names = (held.name for held in fields(AutomaticGateway) if held.name != "forwards")
    silent = AutomaticGateway()
    return any(getattr(second, name) not in (getattr(silent, name), getattr(first, name)) for name in names)


def automatic_gateways_are_of_bridged_networks(index: Index) -> Iterator[Finding]:
    """NET-18, SUBN-11, GW-01: a host that makes the network is its gateway already; one that cannot have it cannot be."""
    for name, network in index.site.networks.items():
        for _, subnet_name, subnet in index.subnets_of(network):
            if subnet.automatic_gateway:
                yield from _misplaced(index, name, network, subnet_name, subnet.automatic_gateway)


def _misplaced(index: Index, name: Name, network: Network, subnet: Name, held: AutomaticGateway) -> Iterator[Finding]:
    at: Place = ("dos_subnets", subnet, "automatic_gateway")
    if network.type in SERVED:
        text = f"is for bridged networks, and {name} is {network.type}, where the host is the gateway: leave it out (NET-18)"
        yield Finding(at, text, ("dos_networks", name, "type"))
    allowed = index.hosts_of(network)
    if held.host and allowed is not None and held.host not in allowed and held.host in index.hosts:
        text = f"host {held.host} has no network {name}, write one of {', '.join(sorted(allowed))} (GW-01)"
        yield Finding((*at, "host"), text, ("dos_networks", name))


def services_run_somewhere(index: Index) -> Iterator[Finding]:
    """GW-06: on a bridged network nobody serves unless a host is its gateway."""
    for name, network in index.site.networks.items():
        for _, subnet_name, subnet in index.subnets_of(network) if network.type in SWITCHED else ():
            served = [word for word, held in (("dhcp", subnet.dhcp), ("dns", subnet.dns)) if held and held.enabled]
            served += ["tftp"] if subnet.tftp else []
            if served and not subnet.automatic_gateway:
                text = f"{' and '.join(served)} run nowhere, for {name} is bridged: write automatic_gateway, or leave them to a router outside (GW-06)"
                yield Finding(("dos_subnets", subnet_name), text, ("dos_networks", name))


def subnets_do_not_overlap(index: Index) -> Iterator[Finding]:
    """SUBN-02: no address belongs to two subnets. Prefixes are nested or apart, so the one around is the last one open."""
    around: list[tuple[Name, Subnet]] = []
    for name, subnet in sorted(index.site.subnets.items(), key=_by_address):
        while around and not _inside(subnet, around[-1][1]):
            around.pop()
        if around:
            outer, held = around[-1]
            text = f"{subnet.address} overlaps {held.address} of subnet {outer}"
            yield Finding(("dos_subnets", name, "address"), text, ("dos_subnets", outer, "address"))
        around.append((name, subnet))


def _inside(subnet: Subnet, outer: Subnet) -> bool:
    mine, others = subnet.address.network, outer.address.network
    return mine.version == others.version and mine.subnet_of(others)  # type: ignore[arg-type]  # mypy cannot tell


def _by_address(entry: tuple[Name, Subnet]) -> tuple[int, int, int]:
    network = entry[1].address.network
    return network.version, int(network.network_address), network.prefixlen


def subnets_are_shared_as_allowed(index: Index) -> Iterator[Finding]:
    """SUBN-11, AMB-09: isolated and NAT networks may share a subnet; a routed or bridged one has it for itself."""
    users: defaultdict[str, list[tuple[Name, Network, str]]] = defaultdict(list)
    for name, network in index.site.networks.items():
        for field, used in network.named_subnets():
            users[used].append((name, network, field))
    for subnet, networks in users.items():
        owner = next((user for user in networks if user[1].type in EXCLUSIVE), None)
        for name, _, field in networks:
            if owner is not None and name != owner[0]:
                text = f"subnet {subnet} is used by the {_type(owner[1])} network {owner[0]}, which has it for itself (SUBN-11)"
                yield Finding(("dos_networks", name, field), text, ("dos_networks", owner[0], owner[2]))


def _type(network: Network) -> str:
    return {"route": "routed", "bridge": "bridged", "ovs": "bridged"}.get(network.type, network.type)


def forwards_lead_to_machines(index: Index) -> Iterator[Finding]:
    """DEP-16: what a network forwards goes to an address of its subnets."""
    for name, network in index.site.networks.items():
        held = [subnet for _, _, subnet in index.subnets_of(network)]
        for at, one in enumerate(network.forwards if len(held) == len(network.named_subnets()) else ()):
            if not any(one.to.ip in subnet.address.network for subnet in held):
                listed = " and ".join(str(subnet.address) for subnet in held)
                yield Finding(
                    ("dos_networks", name, "forwards", at, "to"),
                    f"{one.to} is not in {listed}, write a machine's (DEP-16)",
                )


def delays_are_whole_seconds(index: Index) -> Iterator[Finding]:
    """AMB-25: libvirt takes seconds."""
    for name, network in index.site.networks.items():
        if network.delay_ms and network.delay_ms % 1000:
            text = f"libvirt takes whole seconds, so {network.delay_ms} ms become {round(network.delay_ms / 1000)} s (AMB-25)"
            yield Finding(("dos_networks", name, "delay_ms"), text)


def outbound_peaks_mean_nothing(index: Index) -> Iterator[Finding]:
    """NET-20: outbound there is no peak."""
    for name, network in index.site.networks.items():
        if network.bandwidth and network.bandwidth.outbound and network.bandwidth.outbound.peak:
            place = ("dos_networks", name, "bandwidth", "outbound", "peak")
            yield Finding(place, "is ignored outbound, leave it out (NET-20)")
