# SPDX-License-Identifier: GPL-3.0-or-later
"""A network and its subnet become what one host holds of them, with the reservations of the machines that run there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..model.address import Mark
from ..model.network import Dhcp, DhcpHost, DhcpRange, Dns, Network, PortGroup
from ..model.network import Subnet as HostSubnet
from ..model.types import Cidr, Name
from ..site.network import SERVED
from ..site.network import Network as SiteNetwork
from ..site.site import Site
from ..site.subnet import Subnet
from .machine import Machine

FORWARD = {"isolated": "none", "nat": "nat", "route": "route", "bridge": "bridge", "ovs": "bridge"}
# What a network says in the words of both levels.
SAME = ("bridge", "mac", "ipv6", "bandwidth", "routes", "vlan", "nat", "autostart", "xml")


def compile_network(site: Site, name: Name, network: SiteNetwork, here: Iterable[Machine]) -> Network:
    """The network of one host; `here` are the machines that run there."""
    subnet = site.subnets[network.subnet] if network.subnet else None
    dns = subnet.dns if subnet else None
    return Network(
        name=name,
        forward=network.macvtap_mode or FORWARD.get(network.type, "bridge"),  # type: ignore[arg-type]  # libvirt's words
        devices=network.forward_interfaces,
        virtual_port="openvswitch" if network.type == "ovs" else None,
        port_groups=_port_groups(network),
        **(_own_bridge(network) if network.type in SERVED else {}),
        domain=dns.domain if dns and network.type in SERVED else None,
        subnets=compile_subnets(site, name, network, here) if network.type in SERVED else (),
        dns=compile_dns(subnet) if subnet and network.type in SERVED else None,
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


def _port_groups(network: SiteNetwork) -> tuple[PortGroup, ...]:
    """PGRT-02: who names no group gets the first, unless another is the default."""
    groups = network.port_groups
    if not groups or any(group.default for group in groups):
        return groups
    return (replace(groups[0], default=True), *groups[1:])


def compile_subnets(site: Site, name: Name, network: SiteNetwork, here: Iterable[Machine]) -> tuple[HostSubnet, ...]:
    """What the host that is the gateway has of the subnet; nothing where addresses are the machines' own affair."""
    subnet = site.subnets[network.subnet] if network.subnet else None
    if subnet is None or subnet.gateway is None:
        return ()
    return (_subnet(name, subnet, here, Cidr(f"{subnet.gateway}/{subnet.address.prefix}")),)


def _subnet(network: Name, subnet: Subnet, here: Iterable[Machine], address: Cidr) -> HostSubnet:
    dhcp = subnet.dhcp
    if dhcp is None or not dhcp.enabled:
        return HostSubnet(address=address, tftp=subnet.tftp)
    return HostSubnet(
        address=address,
        tftp=subnet.tftp,
        dhcp=Dhcp(
            ranges=tuple(DhcpRange(start=span.start, end=span.end) for span in subnet.pool),
            hosts=(*dhcp.reservations, *_reservations(network, here)),
            boot_file=dhcp.boot_file,
            boot_server=dhcp.boot_server,
        ),
    )


def _reservations(network: Name, here: Iterable[Machine]) -> Iterable[DhcpHost]:
    """Machines with a declared address get it by DHCP, and their name in the DNS with it."""
    for machine in here:
        for place, card in enumerate(machine.instance.interfaces):
            address = machine.address(card)
            if card.network == network and address is not None:
                yield DhcpHost(mac=machine.addresses[place], ip=address, name=machine.name)


def compile_dns(subnet: Subnet) -> Dns | None:
    """The name service of whoever is the gateway."""
    held = subnet.dns
    if held is None:
        return None
    return Dns(
        enabled=held.enabled,
        forward_plain_names=held.forward_plain_names,
        forwarders=held.forwarders,
        hosts=held.hosts,
        txt=held.txt,
        srv=held.srv,
    )
