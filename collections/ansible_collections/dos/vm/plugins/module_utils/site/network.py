# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual network, as its operator sees it: a type, a subnet, and the hosts it is on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.fragment_rules import check_fragment
from ..model.gateway import PortForward
from ..model.network import Bandwidth, Nat, PortGroup, Route, Vlan
from ..model.types import DeviceName, Mac, Name
from .bound import Hosts, check_bound

# What a section needs the type to be (NET-T2, NET-T3). A section that is not here goes with every type.
SERVED = ("isolated", "nat", "route")  # the host has an address on them
SWITCHED = ("bridge", "ovs")  # a bridge that goes on over a cable
BRIDGED = (*SWITCHED, "macvtap")  # on the hosts that need them, when they are bound to none (NET-05, NET-09)
SECTIONS: dict[str, tuple[str, ...]] = {
    "nat": ("nat",),
    "forwards": ("nat", "route"),
    "routes": SERVED,
    "bandwidth": SERVED,
    "mac": SERVED,
    "forward_interface": ("nat", "route", *SWITCHED),
    "forward_interfaces": ("macvtap",),
    "macvtap_mode": ("macvtap",),
    "bridge": (*SERVED, *SWITCHED),
    "delay_ms": (*SERVED, *SWITCHED),
    "mtu": (*SERVED, *SWITCHED),
    "subnet": (*SERVED, *SWITCHED),
    "subnet6": (*SERVED, *SWITCHED),
    "port_groups": (*SERVED, *SWITCHED),
    "vlan": ("ovs",),
    "datapath": ("ovs",),
    "vxlan": SWITCHED,
}
# What to write instead, where leaving it out is not all.
INSTEAD = {
    "forward_interface": "write forward_interfaces: [{0}]",
    "forwards": "write forwards in the automatic_gateway of its subnet",
    "forward_interfaces": "write forward_interface: {0[0]}",
    "vlan": "write type: ovs, VLANs are its alone",
}


@declaration
class SiteVxlan:
    """A tunnel between the hosts of a network, instead of a cable or beside it. Its ends follow from the inventory."""

    id: int = option("Number of the tunnel's network (VNI), unique in the site.", spec="LIMIT-22", low=1, high=16777215)
    port: int = option("UDP port.", spec="LIMIT-22", default=4789, low=1, high=65535)


@declaration
class Network:
    """A virtual network.

    Isolated, NAT and routed ones are made on each of their hosts. The others are on the hosts that have a machine on them,
    unless they are bound. With an interface or a tunnel their bridge is made too; without, it must already be there.
    """

    type: Literal["isolated", "nat", "route", "bridge", "ovs", "macvtap"] = option(
        "How machines reach the outside: not at all, translated or routed by the host, over a bridge of the kernel or of Open "
        "vSwitch, or by devices on the host's interfaces.",
        spec="NET-T1",
    )
    host: Name | None = option("The one host that has it.", spec="NET-T3.3", default=None)
    hosts: Hosts | None = option("The hosts that have it; all when not given.", spec="NET-T3.3", default=None)
    bridge: DeviceName | None = option(
        "Name of the bridge; required with V(bridge) and V(ovs).", spec="NET-T3.1", default=None
    )
    mac: Mac | None = option("MAC of the bridge; libvirt's own when not given.", spec="NET-T3.2", default=None)
    stp: bool = option("Spanning tree on the bridge.", spec="NET-T3.5", default=True)
    delay_ms: int | None = option(
        "Forward delay in milliseconds; libvirt takes whole seconds.", spec="AMB-25", default=None, low=0, high=30000
    )
    mtu: int | None = option("MTU of the bridge.", default=None, low=68, high=65535)
    forward_interface: DeviceName | None = option(
        "Interface of the host that traffic leaves by; any when not given. With V(bridge) and V(ovs) the one that becomes a "
        "port of the bridge, which is then made; the host cannot use it itself any more.",
        spec="NET-T3.6",
        default=None,
    )
    forward_interfaces: tuple[DeviceName, ...] = option(
        "Interfaces of the host that macvtap devices are made on; they share the load.", spec="NET-13", default=()
    )
    macvtap_mode: Literal["bridge", "vepa", "private", "passthrough"] | None = option(
        "How machines on one interface see each other: directly (the default), by way of an outside switch, not at all, or "
        "one machine has the interface for itself.",
        spec="NET-02",
        default=None,
    )
    vlan: Vlan | None = option("VLANs of cards that name none, on Open vSwitch.", spec="PGRT-05", default=None)
    vxlan: SiteVxlan | None = option("Tunnel between the hosts.", spec="LIMIT-22", default=None)
    datapath: Literal["system", "netdev"] | None = option(
        "Where Open vSwitch forwards: in the kernel (the default), or in its own process.", default=None
    )
    subnet: Name | None = option("Subnet of the machines.", spec="NET-T3.8", default=None)
    subnet6: Name | None = option("IPv6 subnet of the machines, beside an IPv4 one.", spec="LIMIT-18", default=None)
    ipv6: bool = option("Whether machines may speak IPv6 without an IPv6 subnet.", spec="NET-T3.4", default=False)
    bandwidth: Bandwidth | None = option("Limits of the whole network.", spec="NET-19", default=None)
    routes: tuple[Route, ...] = option("Static routes of the host.", spec="NET-21", default=())
    nat: Nat | None = option("Ranges used for translation.", spec="NET-26", default=None)
    forwards: tuple[PortForward, ...] = option(
        "Services that are machines of the network: what comes to an address or port of the host goes there.",
        spec="DEP-16",
        default=(),
    )
    port_groups: tuple[PortGroup, ...] = option("Limits by name for interfaces.", spec="PGRT-T1", default=())
    project: Name | None = option(
        "Project it belongs to; every project's when not given.", spec="PROJ-10", default=None
    )
    autostart: bool = option("Whether libvirt starts it by itself.", spec="NET-09", default=True)
    label: str | None = option("Label in any script.", spec="NET-06", default=None)
    description: str | None = option("Free text.", spec="NET-T2.1", default=None)
    xml: str | None = option("Elements of `<network>` that have no field here.", spec="IAC-06", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_bound(self)
        for section, types in SECTIONS.items():
            if (given := getattr(self, section)) and self.type not in types:
                other = (section.startswith("forward") and self.type in BRIDGED) or section == "vlan"
                instead = INSTEAD[section].format(given) if other else "leave it out"
                yield section, f"is for type {' or '.join(types)}, and this is {self.type}: {instead} (NET-T2)"
        if self.type in SWITCHED and self.bridge is None:
            yield "bridge", f"is required with type {self.type}, name the bridge (NET-T3.1)"
        if self.type == "macvtap" and not self.forward_interfaces:
            yield "forward_interfaces", "is required with type macvtap, name interfaces of the hosts (NET-T3.6)"
        yield from self._check_vlans()
        if self.type in ("nat", "route") and not self.named_subnets():
            yield "subnet", f"is required with type {self.type}, the host is the gateway (NET-T3.8)"
        if self.bridge == "virbr0":
            yield "bridge", "virbr0 belongs to libvirt's own network default, write another name (NET-T3.1)"
        yield from self._check_forwards()
        yield from self._check_port_groups()
        yield from check_fragment("xml", self.xml, "network")

    def named_subnets(self) -> list[tuple[str, Name]]:
        """Its subnets, IPv4 before IPv6 where it has both, each with the field that names it."""
        return [(field, name) for field in ("subnet", "subnet6") if (name := getattr(self, field))]

    @property
    def builds(self) -> bool:
        """Whether its bridge is made by us on the hosts that need it."""
        return self.type in SWITCHED and bool(self.forward_interface or self.vxlan)

    @property
    def uplinks(self) -> tuple[DeviceName, ...]:
        """The interfaces that a bridged network takes from its hosts (NET-04)."""
        if self.type == "macvtap":
            return self.forward_interfaces
        return (self.forward_interface,) if self.type in SWITCHED and self.forward_interface else ()

    def _check_forwards(self) -> Iterator[tuple[str, str]]:
        """DEP-16."""
        if self.forwards and self.bridge is None:
            yield "bridge", "is required with forwards, whose rules are about it: name the bridge (DEP-16)"
        for at, held in enumerate(self.forwards):
            if held.address and self.forward_interface is None:
                text = "needs the interface that the address is put on, write forward_interface (DEP-16)"
                yield f"forwards[{at}].address", text

    def _check_vlans(self) -> Iterator[tuple[str, str]]:
        """PGRT-07."""
        for at, group in enumerate(self.port_groups):
            if group.vlan and self.type in (*SERVED, "bridge"):
                yield f"port_groups[{at}].vlan", f"is for type ovs, and this is {self.type}: leave it out (PGRT-07)"
        for at, name in enumerate(self.forward_interfaces):
            if name in self.forward_interfaces[:at]:
                yield f"forward_interfaces[{at}]", f"{name} is there already"

    def _check_port_groups(self) -> Iterator[tuple[str, str]]:
        for name, times in Counter(group.name for group in self.port_groups).items():
            if times > 1:
                yield "port_groups", f"{name} is there {times} times (AMB-11)"
        if sum(group.default for group in self.port_groups) > 1:
            yield "port_groups", "only one may be the default"
