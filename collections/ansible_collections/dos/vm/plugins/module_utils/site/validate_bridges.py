# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about networks that leave their hosts: whose an interface is, where tunnels end, who may have VLANs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..model.types import Name
from .index import Finding, Index, Place
from .network import SERVED, Network


def interfaces_are_used_once(index: Index) -> Iterator[Finding]:
    """NET-04: on a host an interface belongs to one bridged network, and then to nobody else."""
    taken: dict[tuple[str, str], tuple[Name, Place]] = {}
    networks = index.site.networks.items()
    for name, network in networks:
        for at, interface in _uplinks(name, network):
            clash = _first_clash(index, network, interface, taken)
            if clash is not None:
                host, other, place = clash
                text = f"interface {interface} of host {host} belongs to network {other}, write another (NET-04)"
                yield Finding(at, text, place)
            for host in _hosts(index, network):
                taken.setdefault((host, interface), (name, at))
    for name, network in networks:
        device = network.forward_interface
        if network.type not in SERVED or device is None:
            continue
        clash = _first_clash(index, network, device, taken)
        if clash is not None:
            host, other, place = clash
            bridge = index.site.networks[other].bridge
            instead = f"write its bridge {bridge}" if bridge else "write another"
            text = f"interface {device} of host {host} belongs to network {other}, nothing leaves by it any more: {instead} (NET-12)"
            yield Finding(("dos_networks", name, "forward_interface"), text, place)


def _uplinks(name: Name, network: Network) -> Iterator[tuple[Place, str]]:
    for at, interface in enumerate(network.uplinks):
        place: Place = ("dos_networks", name, "forward_interface")
        yield place if network.type != "macvtap" else ("dos_networks", name, "forward_interfaces", at), interface


def _first_clash(
    index: Index, network: Network, interface: str, taken: dict[tuple[str, str], tuple[Name, Place]]
) -> tuple[str, Name, Place] | None:
    for host in _hosts(index, network):
        if (host, interface) in taken:
            return host, *taken[host, interface]
    return None


def _hosts(index: Index, network: Network) -> Iterable[Name]:
    return sorted(index.hosts_of(network) or index.hosts) or [Name("all")]


def tunnels_are_unique(index: Index) -> Iterator[Finding]:
    """LIMIT-22: two networks with one number would be one network."""
    seen: dict[tuple[int, int], Name] = {}
    for name, network in index.site.networks.items():
        if network.vxlan is None:
            continue
        first = seen.setdefault((network.vxlan.id, network.vxlan.port), name)
        if first != name:
            text = f"{network.vxlan.id} is the tunnel of network {first}, write another number (LIMIT-22)"
            yield Finding(("dos_networks", name, "vxlan", "id"), text, ("dos_networks", first, "vxlan", "id"))


def tunnels_have_ends(index: Index) -> Iterator[Finding]:
    """LIMIT-22: the address of every host is known, and all are of one IP version."""
    addresses = index.site.addresses
    for name, network in index.site.networks.items():
        if network.vxlan is None:
            continue
        at: Place = ("dos_networks", name, "vxlan")
        hosts = sorted(index.hosts_of(network) or index.hosts)
        for host in hosts:
            if host in index.hosts and host not in addresses:
                text = (
                    f"host {host} has no address for a tunnel to end at: write dos_address for it in the inventory, "
                    "or an IP address as its ansible_host (LIMIT-22)"
                )
                yield Finding(at, text)
        if len({addresses[host].version for host in hosts if host in addresses}) > 1:
            yield Finding(at, "the addresses of its hosts are of both IP versions, write dos_address of one (LIMIT-22)")


def cards_have_vlans_where_they_can(index: Index) -> Iterator[Finding]:
    """PGRT-07: only Open vSwitch has VLANs."""
    for at, _, instance, number in index.each_card():
        card = instance.interfaces[number]
        network = index.site.networks.get(card.network) if card.vlan else None
        if network is not None and network.type != "ovs":
            text = f"is for a network of type ovs, and {card.network} is {network.type}: leave it out (PGRT-07)"
            yield Finding((*at, "vlan"), text, ("dos_networks", card.network, "type"))


def cards_are_filtered_where_they_can(index: Index) -> Iterator[Finding]:
    """HOT-05: frames of macvtap go from the guest to the cable, and the host's filters see nothing of them. A card on Open
    vSwitch gets a bridge of its own in front, where they do."""
    for at, _, instance, number in index.each_card():
        card = instance.interfaces[number]
        network = index.site.networks.get(card.network) if card.security_group else None
        if network is not None and network.type == "macvtap":
            text = "cannot hold, since macvtap passes the host's filters by: use a network of type bridge or ovs, or leave it out (HOT-05)"
            yield Finding((*at, "security_group"), text, ("dos_networks", card.network, "type"))


def bridges_are_unique(index: Index) -> Iterator[Finding]:
    """NET-T3.1: on a host no two networks make the same bridge, or make one that a third takes as given."""
    by_bridge: defaultdict[str, list[tuple[Name, Network]]] = defaultdict(list)
    for name, network in index.site.networks.items():
        if network.bridge:
            by_bridge[network.bridge].append((name, network))
    for bridge, networks in by_bridge.items():
        if len(networks) > 1 and any(_makes(network) for _, network in networks):
            yield from _clashes(index, bridge, networks)


def _makes(network: Network) -> bool:
    return network.type in SERVED or network.builds


def _clashes(index: Index, bridge: str, networks: list[tuple[Name, Network]]) -> Iterator[Finding]:
    owners: dict[str, tuple[Name, Network]] = {}
    for name, network in networks:
        hosts = _hosts(index, network)
        taken = next((host for host in hosts if host in owners), None)
        if taken is not None and (_makes(network) or _makes(owners[taken][1])):
            text = f"bridge {bridge} of host {taken} is network {owners[taken][0]}'s already, write another name (NET-T3.1)"
            yield Finding(("dos_networks", name, "bridge"), text, ("dos_networks", owners[taken][0], "bridge"))
        for host in hosts:
            owners.setdefault(host, (name, network))


def macvtap_keeps_apart(index: Index) -> Iterator[Finding]:
    """LIMIT-23: what an operator of other networks does not expect."""
    for name, network in index.site.networks.items():
        if network.type != "macvtap":
            continue
        apart = network.macvtap_mode not in (None, "bridge")
        whom = "each other on one host, nor their host" if apart else "their own host"
        text = f"machines on it cannot reach {whom}, and the host offers them no service: that is what macvtap is (LIMIT-23)"
        yield Finding(("dos_networks", name, "type"), text)
