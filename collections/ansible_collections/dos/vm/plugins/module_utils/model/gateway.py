# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway of a bridged network: an address on the bridge, services there, and a way out (GW-01). One host has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .address import Mark
from .declaration import declaration, option
from .network import Dns, Nat, Subnet
from .types import Address, DeviceName, DnsName, Name


@declaration
class PortForward:
    """What comes to an address, or to a port of it, goes to a machine instead (DEP-16)."""

    to: Address = option("Address of the machine.", spec="DEP-16")
    address: Address | None = option(
        "Address of the service; put on O(device) for as long as the gateway is there. Any of the host's own when not given.",
        spec="DEP-16",
        default=None,
    )
    protocol: Literal["tcp", "udp"] | None = option("Transport; all when not given.", spec="DEP-16", default=None)
    port: int | None = option(
        "Port of the service; all when not given.", spec="DEP-16", default=None, low=1, high=65535
    )
    to_port: int | None = option("Port of the machine, the same when not given.", default=None, low=1, high=65535)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.address is None and self.port is None:
            yield "address", "write the address of the service, its port, or both"
        if self.port is not None and self.protocol is None:
            yield "protocol", "is required with a port, write tcp or udp"
        if self.to_port is not None and self.port is None:
            yield "to_port", "is for a port"
        if self.address is not None and self.address.version != self.to.version:
            yield "address", f"{self.address} and {self.to} are of different IP versions"


@declaration
class Gateway:
    """The gateway of a network whose bridge the host has."""

    name: Name = option("Name of its network.", spec="GW-01")
    bridge: DeviceName = option("Bridge it is on.", spec="GW-01")
    subnets: tuple[Subnet, ...] = option("Its addresses there, and the services it offers.", spec="GW-01", low=1)
    forward: Literal["none", "nat", "route"] = option(
        "What becomes of what guests send further: nothing, translated, or routed.", spec="GW-04", default="nat"
    )
    device: DeviceName | None = option("Interface that it leaves by; any when not given.", spec="GW-04", default=None)
    nat: Nat | None = option("Ranges used for translation.", spec="NET-26", default=None)
    forwards: tuple[PortForward, ...] = option("Services that are machines behind it.", spec="DEP-16", default=())
    only_forwards: bool = option(
        "Whether libvirt is the gateway, as on networks of its own, and only O(forwards) are added to it.",
        spec="DEP-16",
        default=False,
    )
    domain: DnsName | None = option("DNS domain of the guests.", spec="SUBN-T3.1", default=None)
    domain_local: bool = option("Whether names of the domain are never asked upstream.", spec="SUBN-T3.2", default=True)
    dns: Dns | None = option("Name service beyond the defaults.", spec="SUBN-T1.10", default=None)
    start: str | None = option("Shell script that is run when it has started.", spec="SUBN-T1.13", default=None)
    stop: str | None = option("Shell script that is run before it stops.", spec="SUBN-T1.14", default=None)
    active: bool = option("Whether it is there now.", spec="GW-02", default=True)
    autostart: bool = option(
        "Whether it comes back with its host; one that may have moved since must not.", spec="GW-02", default=False
    )
    mark: Mark | None = option("Whose the gateway is.", spec="DOMX-03", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.nat and self.forward != "nat":
            yield "nat", f"ranges are for forward: nat, and this is {self.forward}"
        for at, held in enumerate(self.forwards):
            if not any(held.to.ip in subnet.address.network for subnet in self.subnets):
                yield f"forwards[{at}].to", f"{held.to} is in none of its subnets"
            if held.address and self.device is None:
                yield f"forwards[{at}].address", "needs the device that the address is put on"
