# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt, dnsmasq and QEMU refuse when a host is changed already: found here, before any host is contacted (IAC-02)."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DeclarationError
from ..model.network import LARGEST_RANGE, Route
from ..model.types import Name
from .index import Finding, Index, Place
from .network import SERVED
from .subnet import Subnet
from .suited import suited

RA_PREFIX = 64  # dnsmasq announces no other, and its DHCPv6 takes no shorter one
LONGEST_PREFIX = {4: 30, 6: 126}  # leaves an address for the host and one for a VM
LONGEST_PASSWORD = {"vnc": 8, "spice": 60}  # characters; QEMU cuts or refuses the rest


def served_subnets_suit_dnsmasq(index: Index) -> Iterator[Finding]:
    """SUBN-T1.4, SUBN-T1.8: the prefix and the ranges are such as the host's DHCP takes."""
    seen: set[Name] = set()
    for name, network in index.site.networks.items():
        for _, subnet_name, subnet in index.subnets_of(network):
            if subnet.is_served(network.type) and subnet_name not in seen:
                seen.add(subnet_name)
                for path, text in _unsuited(subnet, by_libvirt=network.type in SERVED):
                    yield Finding(("dos_subnets", subnet_name, *path), text, ("dos_networks", name))


def _unsuited(subnet: Subnet, *, by_libvirt: bool) -> Iterator[tuple[Place, str]]:
    network, dhcp = subnet.address.network, bool(subnet.dhcp and subnet.dhcp.enabled)
    longest = LONGEST_PREFIX[network.version]
    if network.prefixlen > longest:
        yield ("address",), f"{subnet.address} has no room for a gateway and a VM, write a prefix of at most /{longest}"
    elif network.version == 6 and (network.prefixlen < RA_PREFIX or not (dhcp or network.prefixlen == RA_PREFIX)):
        yield ("address",), f"{subnet.address} cannot be announced by the host, write a /{RA_PREFIX}"
    for number, span in enumerate(subnet.pool if dhcp and by_libvirt else ()):
        size = int(span.end.ip) - int(span.start.ip) + 1
        if size > LARGEST_RANGE:
            text = f"{span.start} to {span.end} has {size} addresses, write ranges of at most {LARGEST_RANGE}"
            yield ("pool", number), text


def routes_lead_out(index: Index) -> Iterator[Finding]:
    """NET-21: the next hop is a neighbour in one of the network's subnets, and what lies behind it is not."""
    for name, network in index.site.networks.items():
        subnets = [subnet for _, _, subnet in index.subnets_of(network)]
        if len(subnets) < len(network.named_subnets()):
            continue
        for number, route in enumerate(network.routes):
            for field, text in _misled(route, subnets):
                yield Finding(("dos_networks", name, "routes", number, field), text)


def _misled(route: Route, subnets: list[Subnet]) -> Iterator[tuple[str, str]]:
    listed = " and ".join(str(subnet.address) for subnet in subnets)
    if route.via.version != route.to.version:
        yield "via", f"{route.via} and {route.to} are of different IP versions"
    elif not any(route.via.ip in subnet.address.network for subnet in subnets):
        yield "via", f"{route.via} is not in {listed}, write a neighbour's address"
    elif any(route.via == subnet.gateway for subnet in subnets):
        yield "via", f"{route.via} is the host's own address here, write a neighbour's"
    if any(route.to.version == subnet.address.version and _covers(subnet, route) for subnet in subnets):
        yield "to", f"{route.to} is in {listed}, which needs no route: leave it out"


def _covers(subnet: Subnet, route: Route) -> bool:
    return route.to.network.subnet_of(subnet.address.network)  # type: ignore[arg-type]  # the versions are the same


def secrets_have_a_usage_of_their_own(index: Index) -> Iterator[Finding]:
    """SECO-T1.4: libvirt finds a secret by its type and usage, and takes each once."""
    first: dict[tuple[str, str], Name] = {}
    for name, secret in index.site.secrets.items():
        key = (secret.usage_type, secret.usage or name)
        other = first.setdefault(key, name)
        if other != name:
            text = f"{key[1]} finds secret {other} already, write another (SECO-T1.4)"
            yield Finding(("dos_secrets", name, "usage"), text, ("dos_secrets", other))


def console_passwords_fit(index: Index) -> Iterator[Finding]:
    """GFX-T1.4: a console compares the first characters of a password alone, or takes no longer one."""
    for name, instance in index.site.instances.items():
        for number, console in enumerate(instance.graphics):
            secret = index.site.secrets.get(console.password) if console.password else None
            longest = LONGEST_PASSWORD[console.type]
            if secret is not None and len(secret.value.encode()) > longest:
                text = f"{console.type} takes {longest} characters, and the value of secret {console.password} has more"
                place = ("dos_instances", name, "graphics", number, "password")
                yield Finding(place, text, ("dos_secrets", str(console.password), "value"))


def ide_disks_have_a_board(index: Index) -> Iterator[Finding]:
    """DISK-T1.6: the board that an instance comes to, also by its image, has the IDE that a disk names."""
    for name, instance in index.site.instances.items():
        numbers = [number for number, disk in enumerate(instance.disks) if disk.bus == "ide"]
        board = _board(index, name) if numbers else ""
        for number in numbers if "q35" in board else ():
            text = f"{board} has no ide, write sata, or machine: pc"
            yield Finding(("dos_instances", name, "disks", number, "bus"), text)


def _board(index: Index, name: Name) -> str:
    """The board of an instance; nothing where another rule refuses what the board is made of."""
    try:
        return suited(index.site, index.site.instances[name]).machine
    except DeclarationError:
        return ""
