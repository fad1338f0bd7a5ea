# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge that a host gets from us: what machines are plugged into when their network leaves the host (NET-T1.4, NET-T1.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .address import Mark
from .declaration import declaration, option
from .types import Address, DeviceName


@declaration
class Vxlan:
    """A tunnel to the same bridge on other hosts: Ethernet in UDP (RFC 7348)."""

    id: int = option("Number of the tunnel's network (VNI).", spec="LIMIT-22", low=1, high=16777215)
    port: int = option("UDP port.", spec="LIMIT-22", default=4789, low=1, high=65535)
    local: Address | None = option("Address of this host that packets come from.", spec="LIMIT-22", default=None)
    peers: tuple[Address, ...] = option("Addresses of the other hosts.", spec="LIMIT-22", default=())

    def check(self) -> Iterator[tuple[str, str]]:
        for at, peer in enumerate(self.peers):
            if peer == self.local:
                yield f"peers[{at}]", f"{peer} is this host itself"
            if self.local and peer.version != self.local.version:
                yield f"peers[{at}]", f"{peer} and {self.local} are of different IP versions"
            if peer in self.peers[:at]:
                yield f"peers[{at}]", f"{peer} is there twice"


@declaration
class Bridge:
    """A bridge of one host. It comes back when the host starts, and goes with its declaration."""

    name: DeviceName = option("Name of the bridge.", spec="NET-T3.1")
    type: Literal["linux", "openvswitch"] = option(
        "The kernel's own, or a bridge of Open vSwitch.", spec="NET-T1", default="linux"
    )
    uplink: DeviceName | None = option(
        "Interface of the host that becomes a port of the bridge. One that has addresses must be allowed by name, and its "
        "addresses move to the bridge.",
        spec="NET-12",
        default=None,
    )
    vxlan: Vxlan | None = option("Tunnel to other hosts.", spec="LIMIT-22", default=None)
    stp: bool = option("Spanning tree.", spec="NET-T3.5", default=True)
    delay: int = option("Forward delay in seconds.", spec="NET-T3.7", default=0, low=0, high=30)
    mtu: int | None = option("MTU of the bridge.", default=None, low=68, high=65535)
    datapath: Literal["system", "netdev"] = option(
        "Where Open vSwitch forwards: in the kernel, or in its own process.", default="system"
    )
    mark: Mark | None = option("Whose the bridge is.", spec="DOMX-03", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.type == "linux" and self.datapath != "system":
            yield "datapath", "is for type: openvswitch"
        if self.uplink == self.name:
            yield "uplink", f"{self.uplink} is the bridge itself"
