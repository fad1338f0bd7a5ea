# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge that a host gets from us: what machines are plugged into when their network leaves the host (NET-T1.4, NET-T1.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .address import Mark
from .declaration import declaration, option
from .network import Vlan
from .types import Address, DeviceName, Mac, Uuid

ENDS = ("-l", "-o")  # what the ends of a cable add to the name of their bridge: the kernel's, and that in Open vSwitch
LONGEST = 15 - len(ENDS[0])  # letters of a bridge that has a cable


@declaration
class Vxlan:
    """A tunnel to the same bridge on other hosts: Ethernet in UDP (RFC 7348)."""

    id: int = option("Number of the tunnel's network (VNI).", spec="LIMIT-22", low=1, high=16777215)
    port: int = option("UDP port.", spec="LIMIT-22", default=4789, low=1, high=65535)
    local: Address | None = option("Address of this host that packets come from.", spec="LIMIT-22", default=None)
    peers: tuple[Address, ...] = option("Addresses of the other hosts.", spec="LIMIT-22", default=())
    unused: tuple[Address, ...] | None = option(
        "Addresses of former peers that no longer have an end. If given, the removal of any other peer is a restart, which must be "
        "allowed. If unset, every removal is live.",
        spec="LIMIT-22",
        default=None,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        for at, peer in enumerate(self.peers):
            if peer == self.local:
                yield f"peers[{at}]", f"{peer} is this host itself"
            if self.local and peer.version != self.local.version:
                yield f"peers[{at}]", f"{peer} and {self.local} are of different IP versions"
            if peer in self.peers[:at]:
                yield f"peers[{at}]", f"{peer} is there twice"


@declaration
class SwitchPort:
    """A port of Open vSwitch with a cable to a bridge of the kernel, whose one guest is behind the host's filters."""

    switch: DeviceName = option("Bridge of Open vSwitch that has the port.", spec="HOT-05")
    vlan: Vlan | None = option("Its VLANs.", spec="PGRT-T2", default=None)
    id: Uuid | None = option("Its identity, iface-id in Open vSwitch.", spec="HOT-04", default=None)
    mac: Mac | None = option("Address of the guest's card, attached-mac in Open vSwitch.", spec="HOT-04", default=None)
    machine: Uuid | None = option(
        "The guest: vm-uuid in Open vSwitch, and vm-id, which is libvirt's word.", spec="HOT-04", default=None
    )


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
    port: SwitchPort | None = option(
        "Port of Open vSwitch that the bridge stands in front of, for one card that is filtered.",
        spec="HOT-05",
        default=None,
    )
    stp: bool = option("Spanning tree.", spec="NET-T3.5", default=True)
    delay: int = option("Forward delay in seconds.", spec="NET-T3.7", default=0, low=0, high=30)
    snooping: bool | None = option(
        "Whether multicast goes only to who asked for it, which a bridge of the kernel sees (IGMP and MLD snooping); as the "
        "kernel has it when not given.",
        spec="HOT-05",
        default=None,
    )
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
        if self.type != "linux":
            for name in ("port", "snooping"):
                if getattr(self, name) is not None:
                    yield name, "is for type: linux"
        elif self.port is not None:
            yield from self._check_port()

    def _check_port(self) -> Iterator[tuple[str, str]]:
        """HOT-05: nothing is behind such a bridge but its guest."""
        assert self.port is not None
        for name in ("uplink", "vxlan"):
            if getattr(self, name) is not None:
                yield name, f"is the affair of {self.port.switch}, which the port is of: leave it out (HOT-05)"
        if self.stp or self.delay:
            yield "stp" if self.stp else "delay", "would keep the guest waiting: write stp: false and delay: 0 (HOT-05)"
        if self.port.switch == self.name:
            yield "port.switch", f"{self.name} is the bridge itself"
        if len(self.name) > LONGEST:
            text = f"{self.name} has {len(self.name)} letters, and the ends of its cable are NAME{ENDS[0]} and NAME{ENDS[1]}: write at most {LONGEST}"
            yield "name", text


def ends(bridge: str) -> tuple[str, str]:
    """The ends of the cable of a bridge: the one that is its port, and the one in Open vSwitch."""
    return f"{bridge}{ENDS[0]}", f"{bridge}{ENDS[1]}"
