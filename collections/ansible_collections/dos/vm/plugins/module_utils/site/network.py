# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual network, as its operator sees it: a type, a subnet, and the hosts it is on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.network import Bandwidth, Nat, PortGroup, Route
from ..model.types import DeviceName, Mac, Name
from .bound import Hosts, check_bound
from .fragment import check_fragment

# What a section needs the type to be (NET-T2, NET-T3). A section that is not here goes with every type.
SECTIONS: dict[str, tuple[str, ...]] = {
    "nat": ("nat",),
    "routes": ("isolated", "nat", "route"),
    "bandwidth": ("isolated", "nat", "route"),
    "mac": ("isolated", "nat", "route"),
    "forward_interface": ("nat", "route"),
    "delay_ms": ("isolated", "nat", "route"),
}


@declaration
class Network:
    """A virtual network. Isolated, NAT and routed ones are made on each of their hosts; a bridge must already be there."""

    type: Literal["isolated", "nat", "route", "bridge"] = option("How machines reach the outside.", spec="NET-T1")
    host: Name | None = option("The one host that has it.", spec="NET-T3.3", default=None)
    hosts: Hosts | None = option("The hosts that have it; all when not given.", spec="NET-T3.3", default=None)
    bridge: DeviceName | None = option(
        "Name of the bridge. With type bridge it is one the hosts have, and required.", spec="NET-T3.1", default=None
    )
    mac: Mac | None = option("MAC of the bridge; libvirt's own when not given.", spec="NET-T3.2", default=None)
    stp: bool = option("Spanning tree on the bridge.", spec="NET-T3.5", default=True)
    delay_ms: int | None = option(
        "Forward delay in milliseconds; libvirt takes whole seconds.", spec="AMB-25", default=None, low=0, high=30000
    )
    mtu: int | None = option("MTU of the bridge.", default=None, low=68, high=65535)
    forward_interface: DeviceName | None = option(
        "Interface of the host that traffic leaves by; any when not given.", spec="NET-T3.6", default=None
    )
    subnet: Name | None = option("Subnet of the machines.", spec="NET-T3.8", default=None)
    ipv6: bool = option("Whether machines may speak IPv6 without an IPv6 subnet.", spec="NET-T3.4", default=False)
    bandwidth: Bandwidth | None = option("Limits of the whole network.", spec="NET-19", default=None)
    routes: tuple[Route, ...] = option("Static routes of the host.", spec="NET-21", default=())
    nat: Nat | None = option("Ranges used for translation.", spec="NET-26", default=None)
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
            if getattr(self, section) and self.type not in types:
                yield section, f"is for type {' or '.join(types)}, and this is {self.type} (NET-T2)"
        if self.type == "bridge" and self.bridge is None:
            yield "bridge", "is required with type bridge, name the bridge that the hosts have (NET-T3.1)"
        if self.type in ("nat", "route") and self.subnet is None:
            yield "subnet", f"is required with type {self.type}, the host is the gateway (NET-T3.8)"
        if self.bridge == "virbr0":
            yield "bridge", "virbr0 belongs to libvirt's own network default, write another name (NET-T3.1)"
        yield from self._check_port_groups()
        yield from check_fragment("xml", self.xml, "network")

    def _check_port_groups(self) -> Iterator[tuple[str, str]]:
        for name, times in Counter(group.name for group in self.port_groups).items():
            if times > 1:
                yield "port_groups", f"{name} is there {times} times (AMB-11)"
        if sum(group.default for group in self.port_groups) > 1:
            yield "port_groups", "only one may be the default"
