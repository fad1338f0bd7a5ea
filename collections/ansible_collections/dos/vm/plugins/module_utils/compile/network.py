# SPDX-License-Identifier: GPL-3.0-or-later
"""A network and its subnet become what one host holds of them, with the reservations of the machines that run there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..model.address import Mark
from ..model.network import Dhcp, DhcpHost, DhcpRange, Dns, DnsHost, Network, PortGroup
from ..model.network import Subnet as HostSubnet
from ..model.types import Cidr, DnsName, Name
from ..site.network import SERVED
from ..site.network import Network as SiteNetwork
from ..site.site import Site
from ..site.subnet import Subnet, SubnetDns
from .machine import Machine
from .orphans import OrphanedVm, reservations

FORWARD = {"isolated": "none", "nat": "nat", "route": "route", "bridge": "bridge", "ovs": "bridge"}
# What a network says in the words of both levels.
SAME = ("bridge", "mac", "ipv6", "bandwidth", "routes", "vlan", "nat", "autostart", "xml")


def compile_network(
    site: Site, name: Name, network: SiteNetwork, here: Iterable[Machine], orphans: Iterable[OrphanedVm] = ()
) -> Network:
    """The network of one host; `here` are the machines that run there, `orphans` those that are no longer declared."""
    served = network.type in SERVED
    dns = named(site.subnets_of(network))
    return Network(
        name=name,
        forward=network.macvtap_mode or FORWARD.get(network.type, "bridge"),  # type: ignore[arg-type]  # libvirt's words
        devices=network.forward_interfaces,
        virtual_port="openvswitch" if network.type == "ovs" else None,
        port_groups=port_groups(network),
        **(_own_bridge(network) if served else {}),
        domain=dns.domain if dns and served else None,
        subnets=compile_subnets(name, site.subnets_of(network), here, orphans, by_mac=False) if served else (),
        dns=compile_dns(name, site.subnets_of(network), here) if served else None,
        mark=Mark(site=site.name, project=network.project, origin=f"dos_networks.{name}"),
        **{field: getattr(network, field) for field in SAME},
    )


def _own_bridge(network: SiteNetwork) -> dict[str, Any]:
    """What libvirt is told of a bridge that it makes; of others only the name."""
    return {
        "device": network.forward_interface,
        "stp": network.stp,
        "delay": round(network.delay_ms / 1000) if network.delay_ms else 0,  # libvirt counts in seconds (AMB-25)
        "mtu": network.mtu,
    }


def port_groups(network: SiteNetwork) -> tuple[PortGroup, ...]:
    """PGRT-02: those of a network; who names no group gets the first, unless another is the default."""
    groups = network.port_groups
    if not groups or any(group.default for group in groups):
        return groups
    return (replace(groups[0], default=True), *groups[1:])


def compile_subnets(
    name: Name, subnets: Iterable[Subnet], here: Iterable[Machine], orphans: Iterable[OrphanedVm] = (), *, by_mac: bool
) -> tuple[HostSubnet, ...]:
    """What the host that is the gateway has of the subnets; nothing where addresses are the machines' own affair.

    `by_mac` is whether its DHCPv6 may know machines by MAC, which ours does and libvirt's does not.
    """
    here, orphans = list(here), list(orphans)
    return tuple(
        _subnet(name, subnet, here, orphans, Cidr(f"{subnet.gateway}/{subnet.address.prefix}"), by_mac)
        for subnet in subnets
        if subnet.gateway is not None
    )


def _subnet(
    network: Name,
    subnet: Subnet,
    here: Iterable[Machine],
    orphans: Iterable[OrphanedVm],
    address: Cidr,
    by_mac: bool,
) -> HostSubnet:
    dhcp, kept = subnet.dhcp, reservations(orphans, network, subnet)
    if dhcp is None or not dhcp.enabled:
        return HostSubnet(address=address, tftp=subnet.tftp)
    return HostSubnet(
        address=address,
        tftp=subnet.tftp,
        dhcp=Dhcp(
            ranges=tuple(DhcpRange(start=span.start, end=span.end) for span in subnet.pool),
            hosts=tuple(
                replace(host, mac=None) if host.ip.version == 6 and not by_mac else host
                for host in (*dhcp.reservations, *_beside(kept, _reservations(network, subnet, here)))
            ),
            boot_file=dhcp.boot_file,
            boot_server=dhcp.boot_server,
        ),
    )


def _beside(kept: list[DhcpHost], declared: Iterable[DhcpHost]) -> Iterator[DhcpHost]:
    """What is kept for VMs that run and are no longer declared, and of what is declared the rest."""
    yield from kept
    taken = {host.ip for host in kept} | {host.mac for host in kept if host.mac}
    yield from (host for host in declared if not taken.intersection((host.ip, host.mac)))


def _reservations(network: Name, subnet: Subnet, here: Iterable[Machine]) -> Iterable[DhcpHost]:
    """Machines with a declared address get it by DHCP, and their name in the DNS with it."""
    for machine in here:
        for place, card in enumerate(machine.instance.interfaces):
            for address in machine.ips(place) if card.network == network else ():
                if address.version == subnet.address.version:
                    yield DhcpHost(mac=machine.addresses[place], ip=address, name=DnsName(machine.name))


def named(subnets: Iterable[Subnet]) -> SubnetDns | None:
    """The name service of a network: said in one of its subnets."""
    return next((subnet.dns for subnet in subnets if subnet.dns), None)


def compile_dns(network: Name, subnets: Iterable[Subnet], here: Iterable[Machine]) -> Dns | None:
    """The name service of whoever is the gateway. Names of IPv6 addresses are in it: not every guest asks DHCPv6 for one."""
    subnets = list(subnets)
    held = named(subnets)
    if held is None and all(subnet.address.version == 4 for subnet in subnets):
        return None
    # With IPv6 it is always there, because a network that has none cannot be given one without a restart.
    held = held or SubnetDns()
    six = _names(network, subnets, here) if held.enabled else ()
    declared = {host.ip for host in held.hosts}
    return Dns(
        enabled=held.enabled,
        forward_plain_names=held.forward_plain_names,
        forwarders=held.forwarders,
        hosts=(*held.hosts, *(host for host in six if host.ip not in declared)),
        txt=held.txt,
        srv=held.srv,
    )


def _names(network: Name, subnets: Iterable[Subnet], here: Iterable[Machine]) -> Iterable[DnsHost]:
    for subnet in subnets:
        if subnet.address.version == 6:
            for host in _reservations(network, subnet, here):
                yield DnsHost(ip=host.ip, names=tuple(filter(None, [host.name])))
