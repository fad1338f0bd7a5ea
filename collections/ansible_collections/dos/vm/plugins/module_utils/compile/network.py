# SPDX-License-Identifier: GPL-3.0-or-later
"""A network and its subnet become what one host holds of them, with the reservations of the machines that run there."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.address import Mark
from ..model.network import Dhcp, DhcpHost, DhcpRange, Dns, Network
from ..model.network import Subnet as HostSubnet
from ..model.types import Cidr, Name
from ..site.network import Network as SiteNetwork
from ..site.site import Site
from ..site.subnet import Subnet
from .machine import Machine

FORWARD = {"isolated": "none", "nat": "nat", "route": "route", "bridge": "bridge"}
# What a network says in the words of both levels.
SAME = ("bridge", "mac", "stp", "mtu", "ipv6", "bandwidth", "routes", "port_groups", "nat", "autostart", "xml")


def compile_network(site: Site, name: Name, network: SiteNetwork, here: Iterable[Machine]) -> Network:
    """The network of one host; `here` are the machines that run there."""
    subnet = site.subnets[network.subnet] if network.subnet else None
    dns = subnet.dns if subnet else None
    return Network(
        name=name,
        forward=FORWARD[network.type],  # type: ignore[arg-type]  # the table has libvirt's words only
        device=network.forward_interface,
        delay=round(network.delay_ms / 1000) if network.delay_ms else 0,  # libvirt counts in seconds (AMB-25)
        domain=dns.domain if dns else None,
        subnets=_subnets(name, subnet, here) if subnet and network.type != "bridge" else (),
        dns=_dns(subnet) if subnet and network.type != "bridge" else None,
        mark=Mark(site=site.name, project=network.project, origin=f"dos_networks.{name}"),
        **{field: getattr(network, field) for field in SAME},
    )


def _subnets(network: Name, subnet: Subnet, here: Iterable[Machine]) -> tuple[HostSubnet, ...]:
    if subnet.gateway is None:
        return ()  # an isolated network whose addresses are the machines' own affair
    return (_subnet(network, subnet, here, Cidr(f"{subnet.gateway}/{subnet.address.prefix}")),)


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


def _dns(subnet: Subnet) -> Dns | None:
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
