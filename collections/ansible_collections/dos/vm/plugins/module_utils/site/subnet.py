# SPDX-License-Identifier: GPL-3.0-or-later
"""A subnet: addresses, who may have them, and the services of its gateway. Networks and clusters refer to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal

from ..model.declaration import declaration, option
from ..model.gateway import PortForward
from ..model.network import DhcpHost, DhcpRange, DnsHost, DnsSrv, DnsTxt, Nat
from ..model.types import AbsolutePath, Address, DeviceName, DnsName, Name, Prefix, Word
from .network import SERVED

UNUSABLE = ("multicast", "loopback", "unspecified")
Sentences = Iterator[tuple[str, str]]


@declaration
class SubnetDhcp:
    """The DHCP service of a subnet; it hands out the addresses of the pool."""

    enabled: bool = option("Whether it runs.", spec="SUBN-T1.9", default=True)
    reservations: tuple[DhcpHost, ...] = option("Who always gets which address.", spec="SUBN-T2.3", default=())
    allocate: bool = option(
        "Whether a card without an address gets one of the pool that stays its own; else whichever is free when it asks.",
        spec="SUBN-03",
        default=True,
    )
    boot_file: Word | None = option("Name of the network boot image.", spec="SUBN-T2.1", default=None)
    boot_server: DnsName | None = option("TFTP server that has it.", spec="SUBN-T2.2", default=None)

    def check(self) -> Sentences:
        for name in ("reservations", "boot_file", "boot_server"):
            if not self.enabled and getattr(self, name):
                yield name, "is for a DHCP service that is on, write enabled: true or leave it out (SUBN-01)"


@declaration
class SubnetDns:
    """The name service of a subnet."""

    enabled: bool = option("Whether it runs.", spec="SUBN-T1.10", default=True)
    domain: DnsName | None = option("Domain of the machines.", spec="SUBN-T3.1", default=None)
    forward_plain_names: bool = option(
        "Whether names without a domain are sent upstream.", spec="SUBN-T3.2", default=False
    )
    txt: tuple[DnsTxt, ...] = option("TXT records.", spec="SUBN-T3.3", default=())
    forwarders: tuple[Address, ...] = option("Servers to ask instead of the host's own.", spec="SUBN-T3.4", default=())
    srv: tuple[DnsSrv, ...] = option("SRV records.", spec="SUBN-T3.5", default=())
    hosts: tuple[DnsHost, ...] = option("Names of addresses.", spec="SUBN-T3.6", default=())

    def check(self) -> Sentences:
        for name in ("forward_plain_names", "txt", "forwarders", "srv", "hosts"):
            if not self.enabled and getattr(self, name):
                yield name, "is for a name service that is on, write enabled: true or leave it out (SUBN-01)"


@declaration
class AutomaticGateway:
    """The gateway of a subnet whose network is bridged, on one of the hosts."""

    host: Name | None = option(
        "Host it is on; chosen when not given, and then it may move.", spec="SUBN-T1.7", default=None
    )
    forward: Literal["none", "nat", "route"] = option(
        "What becomes of what machines send further: nothing, translated by the host, or routed.",
        spec="GW-04",
        default="nat",
    )
    interface: DeviceName | None = option(
        "Interface of the host that it leaves by; any when not given.", spec="GW-04", default=None
    )
    nat: Nat | None = option("Ranges used for translation.", spec="NET-26", default=None)
    forwards: tuple[PortForward, ...] = option("Services that are machines of the subnet.", spec="DEP-16", default=())
    start: str | None = option("Shell script that is run where it starts.", spec="SUBN-T1.13", default=None)
    stop: str | None = option("Shell script that is run where it stops.", spec="SUBN-T1.14", default=None)

    def check(self) -> Sentences:
        if self.nat and self.forward != "nat":
            yield "nat", f"is for forward: nat, and this is {self.forward}"
        for at, held in enumerate(self.forwards):
            if held.address and self.interface is None:
                yield (
                    f"forwards[{at}].address",
                    "needs the interface that the address is put on, write it beside (DEP-16)",
                )
            if self.forward == "none":
                yield f"forwards[{at}]", "cannot come in with forward: none (DEP-16)"


@declaration
class Subnet:
    """A range of addresses with one gateway."""

    address: Prefix = option("Network with its prefix.", spec="SUBN-T1.4", example="10.0.0.0/24")
    gateway: Address | None = option("Address of the gateway.", spec="SUBN-T1.6", default=None)
    pool: tuple[DhcpRange, ...] = option(
        "What DHCP hands out and clusters take their addresses from.", spec="SUBN-T1.8", default=()
    )
    dhcp: SubnetDhcp | None = option("DHCP; none when not given.", spec="SUBN-T1.9", default=None)
    dns: SubnetDns | None = option("Name service beyond libvirt's defaults.", spec="SUBN-T1.10", default=None)
    automatic_gateway: AutomaticGateway | None = option(
        "One of the hosts is the gateway, with the services; for bridged networks.", spec="SUBN-T1.12", default=None
    )
    tftp: AbsolutePath | None = option("Directory served by TFTP.", spec="SUBN-T1.11", default=None)
    projects: tuple[Name, ...] = option(
        "Projects that may use it; every project when nobody is granted it.", spec="SUBN-09", default=()
    )
    label: str | None = option("Label in any script.", spec="SUBN-T1.1", default=None)
    description: str | None = option("Free text.", spec="SUBN-T1.2", default=None)

    @property
    def gives(self) -> bool:
        """Whether cards without an address get one of the pool for good."""
        return bool(self.pool and self.dhcp and self.dhcp.enabled and self.dhcp.allocate)

    def is_served(self, type_: str) -> bool:
        """Whether its services run on one of our hosts, in a network of this type (GW-06)."""
        return type_ in SERVED or self.automatic_gateway is not None

    def refusal(self, address: Address) -> str | None:
        """Why an address cannot be one of a machine here, or nothing."""
        network = self.address.network
        if address.ip not in network:
            return f"{address} is not in {network}"
        if network.num_addresses > 2 and address.ip == network.network_address:
            return f"{address} is the network's own address (AMB-08)"
        if network.version == 4 and network.num_addresses > 2 and address.ip == network.broadcast_address:
            return f"{address} is the broadcast address of {network} (AMB-08)"
        return None

    def check(self) -> Sentences:
        yield from self._check_kind()
        yield from self._check_gateway()
        yield from self._check_pool()
        yield from self._check_reservations()
        yield from self._check_boot()
        yield from self._check_automatic()

    def _check_kind(self) -> Sentences:
        """SUBN-T1.4: VMs have unicast addresses that routers pass on."""
        network = self.address.network
        wrong = next((word for word in UNUSABLE if getattr(network, f"is_{word}")), None)
        if wrong:
            yield "address", f"{self.address} is a {wrong} network, write one that VMs can have addresses of"

    def _check_automatic(self) -> Sentences:
        """GW-01, DEP-16."""
        held = self.automatic_gateway
        if held is None:
            return
        if self.gateway is None:
            yield "gateway", "is required with automatic_gateway, it is the address that the host gets (GW-01)"
        for at, one in enumerate(held.forwards):
            refusal = self.refusal(one.to)
            if refusal:
                yield f"automatic_gateway.forwards[{at}].to", refusal

    def _check_gateway(self) -> Sentences:
        """SUBN-02, AMB-07, AMB-08."""
        if self.gateway is None:
            return
        refusal = self.refusal(self.gateway)
        if refusal:
            yield "gateway", f"{refusal} (SUBN-02)"
        for index, span in enumerate(self.pool):
            same = span.start.version == self.gateway.version
            if same and int(span.start.ip) <= int(self.gateway.ip) <= int(span.end.ip):
                yield f"pool[{index}]", f"{span.start} to {span.end} has the gateway {self.gateway} in it (AMB-07)"

    def _check_pool(self) -> Sentences:
        """SUBN-04: inside the subnet, and no address in two ranges."""
        for index, span in enumerate(self.pool):
            for end, address in (("start", span.start), ("end", span.end)):
                refusal = self.refusal(address)
                if refusal:
                    yield f"pool[{index}].{end}", refusal
        ordered = sorted(enumerate(self.pool), key=lambda entry: (entry[1].start.version, int(entry[1].start.ip)))
        for (first, lower), (second, upper) in pairwise(ordered):
            if lower.start.version == upper.start.version and int(upper.start.ip) <= int(lower.end.ip):
                yield f"pool[{max(first, second)}]", f"overlaps pool[{min(first, second)}] (SUBN-04)"

    def _check_reservations(self) -> Sentences:
        """SUBN-04: inside the subnet, each address and each MAC once."""
        if self.dhcp is None:
            return
        held = self.dhcp.reservations
        for index, host in enumerate(held):
            refusal = self.refusal(host.ip)
            if refusal is None and host.ip == self.gateway:
                refusal = f"{host.ip} is the gateway"
            if refusal:
                yield f"dhcp.reservations[{index}].ip", refusal
            if host.ip.version == 6 and host.name is None:
                yield f"dhcp.reservations[{index}].name", "is required with an IPv6 address, DHCPv6 knows no MAC"
        yield from _twice(((f"dhcp.reservations[{at}].ip", host.ip) for at, host in enumerate(held)))
        yield from _twice(((f"dhcp.reservations[{at}].mac", host.mac) for at, host in enumerate(held) if host.mac))

    def _check_boot(self) -> Sentences:
        """SUBN-05: network boot is for IPv4."""
        if self.address.version == 4:
            return
        booting = self.dhcp and (self.dhcp.boot_file or self.dhcp.boot_server)
        for name, given in (("tftp", self.tftp), ("dhcp", booting)):
            if given:
                yield name, "network boot is for IPv4 only, leave it out (SUBN-05)"


def _twice(values: Iterable[tuple[str, str]]) -> Sentences:
    seen: dict[str, str] = {}
    for path, value in values:
        if value in seen:
            yield path, f"{value} is reserved already at {seen[value]} (SUBN-04)"
        seen.setdefault(value, path)
