# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts told of themselves, and where machines and volumes are by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..intent.power import Order
from ..model.host import HostFacts
from ..model.types import Address, Uuid
from ..site.device_sources import Source
from ..site.site import Site
from .machine import Machine


class Kept(NamedTuple):
    """An address that a host has for a card: `firm` when it is reserved, else handed out for a while.

    It is known by its MAC, or where DHCP has none (IPv6) by its machine's name.
    """

    network: str
    ip: Address
    mac: str = ""
    name: str = ""
    firm: bool = True


class Tunnel(NamedTuple):
    """The end of a VXLAN that a host has: its own address, and those of the hosts at the other ends."""

    local: Address | None
    peers: frozenset[Address]


Tunnels = Mapping[tuple[int, int], Tunnel]  # by number and port


class Plug(NamedTuple):
    """An interface of a VM as its host has it: `network` or `bridge` is what it is on, `ips` what its filter allows it."""

    mac: str
    network: str = ""
    bridge: str = ""
    filter: str = ""
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostVm:
    """A VM of the site as its host has it: as it runs, or as it is defined. `writes` are the disks that it may write to."""

    project: str = ""
    instance: str = ""  # that it was made of
    vcpus: int = 0
    memory: int = 0
    plugs: tuple[Plug, ...] = ()
    writes: tuple[Source, ...] = ()

    @property
    def macs(self) -> frozenset[str]:
        return frozenset(plug.mac for plug in self.plugs if plug.mac)


class WrittenDisk(NamedTuple):
    """A disk that a running domain writes, whoever owns it. `path` has no links, `marks` are `hypervisor/file_marks.py`'s."""

    domain: str
    source: Source
    path: str = ""
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What a host told of itself.

    `domains` maps the names it has to whether they are ours; `active` those that run to their virtual CPUs and bytes, `None`
    when it was not told; `volumes` are `pool/name`, `gateways`
    maps ours to whether they are up; `pools` have the bytes that fit into each. `orders` are those
    that its machines carry, and `epochs` those that our domains were defined under, `uuids`
    those that domains have. `addresses` are what its networks and
    gateways have for cards, `tunnels` its ends of VXLANs by number and port. `vms` are those of the site.
    """

    facts: HostFacts
    domains: Mapping[str, bool] = field(default_factory=dict)
    active: Mapping[str, tuple[int, int]] | None = None
    volumes: frozenset[str] = frozenset()
    gateways: Mapping[str, bool] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)
    orders: tuple[Order, ...] = ()
    epochs: Mapping[str, int] = field(default_factory=dict)
    uuids: Mapping[str, Uuid] = field(default_factory=dict)
    addresses: tuple[Kept, ...] = ()
    tunnels: Tunnels = field(default_factory=dict)
    written: tuple[WrittenDisk, ...] = ()
    vms: Mapping[str, HostVm] = field(default_factory=dict)
    capacities: Mapping[str, int] = field(default_factory=dict)  # of volumes, by `pool/name`
    backings: Mapping[str, str] = field(default_factory=dict)  # files that volumes are layered over, by `pool/name`
    disks: Mapping[str, frozenset[str]] = field(default_factory=dict)  # files and volumes that each domain names
    missing_files: frozenset[str] = frozenset()  # of images, as far as they were looked for

    def runs(self, vm: str) -> bool:
        """Whether a domain runs; one that is defined is taken to, unless the host told what runs."""
        return vm in self.domains if self.active is None else vm in self.active


def running_vms(states: Mapping[str, HostState]) -> frozenset[str]:
    """The VMs of the site that run, declared or not."""
    return frozenset(vm for state in states.values() for vm, owned in state.domains.items() if owned and state.runs(vm))


class Places:
    """Where machines and volumes are now, by name: a site has too many of both to ask every host for each."""

    def __init__(self, states: Mapping[str, HostState]) -> None:
        self._domains: dict[str, str] = {}
        self._volumes: defaultdict[str, set[str]] = defaultdict(set)
        for host in sorted(states):
            state = states[host]
            for name, ours in state.domains.items():
                # Of two hosts that have a machine defined, it is the one where it runs that matters (law 8).
                if ours and (name not in self._domains or (state.runs(name) and not self._runs(states, name))):
                    self._domains[name] = host
            for name in state.volumes:
                self._volumes[name].add(host)

    def _runs(self, states: Mapping[str, HostState], name: str) -> bool:
        return states[self._domains[name]].runs(name)

    def defined(self, vm: str) -> str | None:
        """The host that has a machine defined as ours."""
        return self._domains.get(vm)

    def with_disks(self, machine: Machine) -> frozenset[str]:
        """The hosts that know a disk that was made for this machine, in a pool of their own or in one they share."""
        if not self._volumes:
            return frozenset()
        return frozenset(host for disk in machine.made_disks() if disk in self._volumes for host in self._volumes[disk])

    def data(self, site: Site, machine: Machine) -> frozenset[str] | None:
        """The hosts that have the disks made for this machine alone; `None` when none is made yet, or hosts share them."""
        if not self._volumes:
            return None
        held = [self._volumes[disk] for disk in machine.own_disks(site) if disk in self._volumes]
        if not held:
            return None
        return frozenset(set.intersection(*held) or set.union(*held))
