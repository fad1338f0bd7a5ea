# SPDX-License-Identifier: GPL-3.0-or-later
"""A filtered card on Open vSwitch: it gets a bridge of the kernel to itself, with a cable to a port of the switch (HOT-05).

libvirt lays filters on taps of the kernel's bridges only, so that is what the machine is plugged into. All that Open vSwitch
would have been told of the card it is told of the port, and what libvirt would have taken from the network the card says itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from ..model.address import Address, Mark, own_uuid
from ..model.bridge import Bridge, SwitchPort
from ..model.network import Bandwidth, PortGroup
from ..model.types import DeviceName
from ..site.site import Site
from .machine import Machine
from .network import port_groups

PREFIX = "dv"


def has_port_bridge(site: Site, machine: Machine, place: int) -> bool:
    """Whether a card gets one."""
    card = machine.instance.interfaces[place]
    return card.security_group is not None and site.networks[card.network].type == "ovs"


def places(site: Site, machine: Machine) -> Iterator[int]:
    """The cards of a machine that get one, by their place."""
    return (place for place in range(len(machine.instance.interfaces)) if has_port_bridge(site, machine, place))


def port_bridge_name(site: Site, machine: Machine, place: int) -> DeviceName:
    """A function of the site, the machine and the card's MAC: the same on every host, and whatever other cards there are."""
    told = f"{site.name}/{machine.name}/{machine.addresses[place]}"
    return DeviceName(f"{PREFIX}{hashlib.sha256(told.encode()).hexdigest()[:11]}")


def port_bridges(site: Site, here: Iterable[Machine]) -> Iterator[Bridge]:
    """Those of the machines of a host, of the ones that are off too: they may be started at any time."""
    for machine in here:
        yield from (_port_bridge(site, machine, place) for place in places(site, machine))


def _port_bridge(site: Site, machine: Machine, place: int) -> Bridge:
    card = machine.instance.interfaces[place]
    network, group = site.networks[card.network], _group(site, machine, place)
    assert network.bridge is not None  # NET-T3.1, checked with the declaration
    name = port_bridge_name(site, machine, place)
    return Bridge(
        name=name,
        port=SwitchPort(
            switch=network.bridge,
            # The card's own word goes first, and that of its group before the network's (PGRT-04).
            vlan=card.vlan or (group.vlan if group else None) or network.vlan,
            id=own_uuid(site.name, Address("bridge", name)),
            mac=machine.addresses[place],
            machine=machine.uuid,
        ),
        stp=False,
        snooping=False,
        mtu=card.mtu or network.mtu,
        mark=Mark(site=site.name, project=machine.instance.project, origin=machine.path),
    )


def bandwidth(site: Site, machine: Machine, place: int) -> Bandwidth | None:
    """The limits of a card, which are its group's where it has none (PGRT-01)."""
    group = _group(site, machine, place)
    return machine.instance.interfaces[place].bandwidth or (group.bandwidth if group else None)


def _group(site: Site, machine: Machine, place: int) -> PortGroup | None:
    card = machine.instance.interfaces[place]
    groups = port_groups(site.networks[card.network])
    return next((held for held in groups if (held.name == card.port_group if card.port_group else held.default)), None)
