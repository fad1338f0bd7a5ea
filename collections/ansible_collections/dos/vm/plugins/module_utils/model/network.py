# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual network of one host; see https://libvirt.org/formatnetwork.html."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .address import Mark
from .declaration import declaration, option
from .fragment_rules import check_whole
from .types import AbsolutePath, Address, Cidr, DeviceName, DnsName, Line, Mac, Name, Prefix, Uuid, Word

LARGEST_RANGE = 65535  # addresses of one range: virSocketAddrGetRange of libvirt


@declaration
class DhcpRange:
    """Addresses that DHCP hands out, both ends included."""

    start: Address = option("First address.", spec="SUBN-T1.8")
    end: Address = option("Last address.", spec="SUBN-T1.8")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.start.version != self.end.version:
            yield "end", f"{self.end} and {self.start} are of different IP versions"
        elif int(self.start.ip) > int(self.end.ip):
            yield "start", f"{self.start} lies after the end {self.end}, write the smaller one first"


@declaration
class DhcpHost:
    """A reservation: this machine always gets this address."""

    ip: Address = option("The reserved address.", spec="SUBN-T2.3")
    mac: Mac | None = option("Whom it is for (IPv4).", spec="SUBN-T2.3", default=None)
    name: DnsName | None = option(
        "Host name that is handed out with it; for IPv6 the one the client sends.", spec="SUBN-T2.3", default=None
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.mac is None and self.name is None:
            yield "", f"the reservation of {self.ip} names nobody, write a mac or a name"


@declaration
class Dhcp:
    """The DHCP service of a subnet."""

    ranges: tuple[DhcpRange, ...] = option("What may be handed out.", spec="SUBN-T1.8", default=())
    hosts: tuple[DhcpHost, ...] = option("Reservations.", spec="SUBN-T2.3", default=())
    boot_file: Word | None = option("Name of the network boot image.", spec="SUBN-T2.1", default=None)
    boot_server: DnsName | None = option("TFTP server that has it.", spec="SUBN-T2.2", default=None)


@declaration
class Subnet:
    """An address of the host on the network, and the services it offers there."""

    address: Cidr = option("The host's own address, with the prefix of the subnet.", spec="SUBN-T1.6")
    dhcp: Dhcp | None = option("DHCP; none when not given.", spec="SUBN-T1.9", default=None)
    tftp: AbsolutePath | None = option("Directory served by TFTP.", spec="SUBN-T1.11", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        network = self.address.network
        if self.address.version == 6 and (self.tftp or (self.dhcp and self.dhcp.boot_file)):
            yield "tftp" if self.tftp else "dhcp.boot_file", "network boot is for IPv4 only (LIMIT-45)"
        if self.dhcp is None:
            return
        for index, span in enumerate(self.dhcp.ranges):
            for end in ("start", "end"):
                if getattr(span, end).ip not in network:
                    yield f"dhcp.ranges[{index}].{end}", f"{getattr(span, end)} is not in {network}"
        for index, host in enumerate(self.dhcp.hosts):
            if host.ip.ip not in network:
                yield f"dhcp.hosts[{index}].ip", f"{host.ip} is not in {network}"


@declaration
class DnsHost:
    """Names of one address."""

    ip: Address = option("The address.", spec="SUBN-T3.6")
    names: tuple[DnsName, ...] = option("Its names.", spec="SUBN-T3.6", low=1)


@declaration
class DnsTxt:
    """A TXT record."""

    name: DnsName = option("Name that is asked for.", spec="SUBN-T3.3")
    value: Line = option("The answer, one line.", spec="SUBN-T3.3")


@declaration
class DnsSrv:
    """A SRV record: where a service is."""

    service: DnsName = option("Name of the service, without the underscore.", spec="SUBN-T3.5")
    protocol: Literal["tcp", "udp"] = option("Transport.", spec="SUBN-T3.5")
    domain: DnsName | None = option("Domain the record is in.", spec="SUBN-T3.5", default=None)
    target: DnsName | None = option("Host that offers the service.", spec="SUBN-T3.5", default=None)
    port: int | None = option("Port on the target.", spec="SUBN-T3.5", default=None, low=1, high=65535)
    priority: int | None = option("Lower is tried first.", spec="SUBN-T3.5", default=None, low=0, high=65535)
    weight: int | None = option("Share among equal priorities.", spec="SUBN-T3.5", default=None, low=0, high=65535)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.service.startswith("_"):
            yield "service", f"is written without the underscore, write {self.service.lstrip('_')}"
        for name in ("port", "priority", "weight"):
            if self.target is None and getattr(self, name) is not None:
                yield name, "means nothing without a target"


@declaration
class Dns:
    """The name service of a network."""

    enabled: bool = option("Whether the network's dnsmasq answers names.", spec="SUBN-T1.10", default=True)
    forward_plain_names: bool = option(
        "Whether names without a domain are sent upstream.", spec="SUBN-T3.2", default=False
    )
    forwarders: tuple[Address, ...] = option("Servers to ask instead of the host's own.", spec="SUBN-T3.4", default=())
    hosts: tuple[DnsHost, ...] = option("Names of addresses.", spec="SUBN-T3.6", default=())
    txt: tuple[DnsTxt, ...] = option("TXT records.", spec="SUBN-T3.3", default=())
    srv: tuple[DnsSrv, ...] = option("SRV records.", spec="SUBN-T3.5", default=())


@declaration
class Rate:
    """A limit of one direction."""

    average: int = option("Long-term rate in KiB/s.", spec="NET-19", low=1)
    peak: int | None = option("Highest rate in KiB/s; without effect outbound.", spec="NET-20", default=None, low=1)
    burst: int | None = option("KiB that one burst may carry at peak speed.", spec="NET-20", default=None, low=1)


@declaration
class Bandwidth:
    """Limits of traffic, seen from the guests."""

    inbound: Rate | None = option("To the guests.", spec="NET-19", default=None)
    outbound: Rate | None = option("From the guests.", spec="NET-19", default=None)


@declaration
class Route:
    """A static route that the host gets while the network is active."""

    to: Prefix = option("Destination.", spec="NET-21")
    via: Address = option("Next hop, inside one of the subnets.", spec="NET-21")
    metric: int | None = option("Metric.", spec="NET-21", default=None, low=1)


@declaration
class PortRange:
    """Ports used for translation, both ends included."""

    start: int = option("First port.", spec="NET-25", low=1, high=65535)
    end: int = option("Last port.", spec="NET-25", low=1, high=65535)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.start > self.end:
            yield "start", f"{self.start} lies after the end {self.end}"


@declaration
class Nat:
    """What a NAT network translates to; every address and port when not given (AMB-05). The ranges are of IPv4."""

    addresses: DhcpRange | None = option("Source addresses used for translation.", spec="NET-24", default=None)
    ports: PortRange | None = option("Source ports used for translation.", spec="NET-25", default=None)
    ipv6: bool = option("Whether IPv6 is translated as well; routed when not.", spec="NET-15", default=False)

    def check(self) -> Iterator[tuple[str, str]]:
        """NET-24: libvirt takes one range of IPv4."""
        if self.addresses is None:
            return
        size = int(self.addresses.end.ip) - int(self.addresses.start.ip) + 1
        if self.addresses.start.version != 4:
            yield "addresses", f"{self.addresses.start} is an IPv6 address, and only IPv4 is translated to a range"
        elif size > LARGEST_RANGE:
            yield "addresses", f"has {size} addresses, write a range of at most {LARGEST_RANGE} (NET-24)"


@declaration
class VlanTag:
    """One VLAN of a port."""

    id: int = option("Number of the VLAN.", spec="PGRT-T2.3", low=0, high=4095)
    native_mode: Literal["tagged", "untagged"] | None = option(
        "Makes it the native VLAN of a trunk: what comes untagged belongs to it, and leaves tagged or untagged.",
        spec="PGRT-T2.4",
        default=None,
    )


@declaration
class Vlan:
    """The VLANs of a port of Open vSwitch: one for an access port, several for a trunk (PGRT-T2)."""

    tags: tuple[VlanTag, ...] = option("Its VLANs.", spec="PGRT-T2.3", low=1)
    trunk: bool = option("Whether the port carries them tagged.", spec="PGRT-T2.2", default=False)

    def check(self) -> Iterator[tuple[str, str]]:
        """PGRT-06."""
        if len(self.tags) > 1 and not self.trunk:
            yield "trunk", f"{len(self.tags)} VLANs need a trunk, write trunk: true (PGRT-06)"
        natives = [at for at, tag in enumerate(self.tags) if tag.native_mode]
        if natives and not self.trunk:
            yield f"tags[{natives[0]}].native_mode", "is for a trunk, write trunk: true or leave it out (PGRT-06)"
        for at in natives[1:]:
            yield (
                f"tags[{at}].native_mode",
                f"tags[{natives[0]}] is the native VLAN already, one port has one (PGRT-06)",
            )
        seen: dict[int, int] = {}
        for at, tag in enumerate(self.tags):
            if seen.setdefault(tag.id, at) != at:
                yield f"tags[{at}].id", f"{tag.id} is at tags[{seen[tag.id]}] already"


@declaration
class PortGroup:
    """A named set of limits for interfaces."""

    name: Name = option("Name, unique in the network.", spec="PGRT-T1.1")
    default: bool = option("Whether interfaces that name no group get this one.", spec="PGRT-02", default=False)
    bandwidth: Bandwidth | None = option("Limits of one interface.", spec="PGRT-T1.2", default=None)
    vlan: Vlan | None = option("VLANs of its interfaces, on Open vSwitch.", spec="PGRT-T1.4", default=None)


MACVTAP = ("vepa", "private", "passthrough")  # the modes that only macvtap has
BRIDGED = ("bridge", *MACVTAP)


@declaration
class Network:
    """A virtual network, as a host holds it."""

    name: Name = option("Name, unique in the system.", spec="NET-06")
    uuid: Uuid | None = option("libvirt's own when not given.", default=None)
    forward: Literal["none", "nat", "route", "open", "bridge", "vepa", "private", "passthrough"] = option(
        "How guests reach the outside: not at all, translated, routed, by rules of your own, or through a bridge. A bridge "
        "is one the host has, or with O(devices) macvtap, which the last three are modes of.",
        spec="NET-01",
        default="nat",
    )
    device: DeviceName | None = option(
        "Interface that traffic leaves by; any when not given.", spec="NET-14", default=None
    )
    devices: tuple[DeviceName, ...] = option(
        "Interfaces that macvtap devices are made on; they share the load.", spec="NET-13", default=()
    )
    virtual_port: Literal["openvswitch"] | None = option(
        "What kind of switch the bridge is, if not the kernel's own.", spec="NET-T1.5", default=None
    )
    vlan: Vlan | None = option("VLANs of interfaces that name none, on Open vSwitch.", spec="PGRT-05", default=None)
    nat: Nat | None = option("Ranges used for translation.", spec="NET-26", default=None)
    ipv6: bool = option(
        "Whether guests may speak IPv6 among themselves on a network without an IPv6 subnet.",
        spec="NET-T3.4",
        default=False,
    )
    bridge: DeviceName | None = option(
        "Name of the bridge; libvirt picks one when not given.", spec="NET-T3.1", default=None
    )
    stp: bool = option("Spanning tree on the bridge.", spec="NET-T3.5", default=True)
    delay: int = option("Forward delay of the bridge in seconds.", spec="NET-T3.7", default=0, low=0, high=30)
    mac: Mac | None = option("MAC of the bridge; libvirt's own when not given.", spec="NET-T3.2", default=None)
    mtu: int | None = option("MTU of the bridge.", default=None, low=68, high=65535)
    domain: DnsName | None = option("DNS domain of the guests.", spec="SUBN-T3.1", default=None)
    domain_local: bool = option("Whether names of the domain are never asked upstream.", spec="SUBN-T3.2", default=True)
    subnets: tuple[Subnet, ...] = option(
        "Addresses and services of the host on the network.", spec="NET-T3.8", default=()
    )
    dns: Dns | None = option("Name service beyond libvirt's defaults.", spec="SUBN-T1.10", default=None)
    routes: tuple[Route, ...] = option("Static routes.", spec="NET-21", default=())
    bandwidth: Bandwidth | None = option("Limits of the whole network.", spec="NET-19", default=None)
    port_groups: tuple[PortGroup, ...] = option("Limits by name for interfaces.", spec="PGRT-T1", default=())
    active: bool = option("Whether the network is started.", spec="NET-09", default=True)
    autostart: bool = option("Whether libvirt starts the network by itself.", spec="NET-09", default=True)
    mark: Mark | None = option("Whose the network is.", spec="DOMX-03", default=None)
    xml: str | None = option("Elements of `<network>` that have no field here.", spec="IAC-06", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_whole("network", self.xml)
        if self.nat and self.forward != "nat":
            yield "nat", f"ranges are for forward: nat, and this is {self.forward} (NET-T2.6)"
        if self.device and self.forward not in ("nat", "route", "open"):
            yield "device", f"means nothing with forward: {self.forward}"
        if self.forward in BRIDGED:
            yield from self._check_bridged()
        elif self.devices:
            yield "devices", f"are for macvtap, write forward: bridge or another of its modes, not {self.forward}"
        if self.forward in ("nat", "route") and not self.subnets:
            yield "subnets", f"forward: {self.forward} needs one, the host is the gateway (NET-T3.8)"
        yield from self._check_clients()
        yield from self._check_port_groups()
        yield from self._check_switch()

    def _check_clients(self) -> Iterator[tuple[str, str]]:
        """https://libvirt.org/formatnetwork.html: DHCPv6 has no MAC addresses; clients are told apart by their names."""
        for at, subnet in enumerate(self.subnets):
            for place, host in enumerate(subnet.dhcp.hosts if subnet.dhcp else ()):
                if host.mac and host.ip.version == 6:
                    yield (
                        f"subnets[{at}].dhcp.hosts[{place}].mac",
                        "libvirt knows clients of DHCPv6 by name, leave it out",
                    )

    def _check_bridged(self) -> Iterator[tuple[str, str]]:
        for name in ("subnets", "routes", "bandwidth", "domain", "dns", "mac"):
            if getattr(self, name):
                yield name, f"belongs to networks that libvirt serves itself, not to forward: {self.forward} (NET-T2)"
        if self.forward in MACVTAP and not self.devices:
            yield "devices", f"are required with forward: {self.forward}, name interfaces of the host"
        if self.forward == "bridge" and (self.bridge is None) == (not self.devices):
            yield "bridge", "write either the host's bridge, or for macvtap the devices"
        if self.devices and self.port_groups:
            yield "port_groups", "are not for macvtap (AMB-01)"

    def _check_switch(self) -> Iterator[tuple[str, str]]:
        """PGRT-07: only Open vSwitch has VLANs."""
        if self.virtual_port:
            if self.forward != "bridge" or self.devices:
                yield "virtual_port", "is for forward: bridge and a bridge of Open vSwitch"
            return
        tagged = ["vlan"] if self.vlan else []
        tagged += [f"port_groups[{at}].vlan" for at, group in enumerate(self.port_groups) if group.vlan]
        for place in tagged:
            yield place, "is for Open vSwitch, write virtual_port: openvswitch and its bridge (PGRT-07)"

    def _check_port_groups(self) -> Iterator[tuple[str, str]]:
        names = [group.name for group in self.port_groups]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield "port_groups", f"{name} is there twice (AMB-11)"
        if sum(group.default for group in self.port_groups) > 1:
            yield "port_groups", "only one may be the default"
