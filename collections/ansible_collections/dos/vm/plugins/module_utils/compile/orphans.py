# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of the site that hosts have and that are no longer declared: what they have stays taken until they are removed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..model.network import DhcpHost
from ..model.types import Address, DnsName, Mac, Name
from ..site.index import Orphan
from ..site.security_group import PREFIX
from ..site.site import Site
from ..site.subnet import Subnet
from .memory import Memory
from .states import HostState, HostVm, Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedVm:
    """One on one host. `reserved` is what networks and gateways have for it; `leaving` is whether this run removes it."""

    name: str
    host: str
    vm: HostVm
    active: bool = True
    reachable: bool = True
    leaving: bool = False
    reserved: tuple[Kept, ...] = ()
    disk: int = 0  # bytes of the volumes that it alone has

    @property
    def stays(self) -> bool:
        """Whether it runs, or may run, when this run is over."""
        return self.active and not self.leaving

    @property
    def macs(self) -> frozenset[str]:
        return self.vm.macs | {kept.mac for kept in self.reserved if kept.mac and kept.name == self.name}

    @property
    def addresses(self) -> frozenset[Address]:
        written = (Address(ip) for plug in self.vm.plugs for ip in plug.ips)
        return frozenset((*written, *(kept.ip for kept in self.reserved)))

    @property
    def where(self) -> str:
        """In words, where it is."""
        return f"which {'runs' if self.reachable else 'may run'} on {self.host}"

    def counted(self) -> Orphan:
        """What of it counts for the quotas of its project."""
        on = self.active
        return Orphan(
            name=self.name,
            host=self.host,
            project=self.vm.project,
            vcpus=self.vm.vcpus if on else 0,
            memory=self.vm.memory if on else 0,
            disk=self.disk,
        )


def orphaned(
    site: Site, states: Mapping[str, HostState], memory: Memory, declared: Iterable[str], *, prune: bool
) -> tuple[OrphanedVm, ...]:
    """Those of all hosts, and those that were last seen on a host that is unreachable now. `prune` is whether they go."""
    names = frozenset(declared)
    found = [
        (name, host)
        for host in sorted(states)
        for name, owned in states[host].domains.items()
        if owned and name not in names
    ]
    lost = [
        (placement.vm, placement.host)
        for placement in memory.placements.values()
        if placement.vm not in names and placement.host in site.hosts and placement.host not in states and states
    ]
    if not found and not lost:
        return ()
    reserved = _reserved(states)
    return (
        *(_on_host(site, states[host], name, host, reserved, leaving=prune) for name, host in found),
        *(_unreachable(name, str(host), memory, reserved) for name, host in lost),
    )


def _reserved(states: Mapping[str, HostState]) -> dict[str, list[Kept]]:
    """What all hosts have for interfaces, by MAC and by the name of the VM."""
    found: defaultdict[str, list[Kept]] = defaultdict(list)
    for host in sorted(states):
        for kept in states[host].addresses:
            for key in {kept.mac, kept.name} - {""}:
                found[key].append(kept)
    return found


def _on_host(
    site: Site, state: HostState, name: str, host: str, reserved: Mapping[str, list[Kept]], *, leaving: bool
) -> OrphanedVm:
    vm = state.vms.get(name, HostVm())
    volumes = (f"{disk.pool}/{disk.name}" for disk in vm.writes if disk.pool and disk.name not in site.volumes)
    return OrphanedVm(
        name=name,
        host=host,
        vm=vm,
        active=state.runs(name),
        leaving=leaving,
        reserved=tuple(dict.fromkeys(kept for mac in sorted(vm.macs) for kept in reserved.get(mac, ()))),
        disk=sum(state.capacities.get(volume, 0) for volume in dict.fromkeys(volumes)),
    )


def _unreachable(name: str, host: str, memory: Memory, reserved: Mapping[str, list[Kept]]) -> OrphanedVm:
    """What is known of a VM on a host without an answer: its project, and what other hosts have reserved for its name."""
    vm = HostVm(project=memory.placements[name].project or "")
    return OrphanedVm(name=name, host=host, vm=vm, reachable=False, reserved=tuple(reserved.get(name, ())))


def networks_of(site: Site, orphan: OrphanedVm) -> frozenset[Name]:
    """The declared networks that it is on."""
    by_bridge = {str(network.bridge): name for name, network in site.networks.items() if network.bridge}
    plugged = {plug.network or by_bridge.get(plug.bridge, "") for plug in orphan.vm.plugs}
    plugged |= {kept.network for kept in orphan.reserved if not orphan.reachable}
    return frozenset(name for name in site.networks if name in plugged)


def plugged_by_host(site: Site, orphans: Iterable[OrphanedVm]) -> dict[str, frozenset[Name]]:
    """By host, the networks that VMs need there which are no longer declared and stay."""
    found: defaultdict[str, frozenset[Name]] = defaultdict(frozenset)
    for orphan in orphans:
        if orphan.stays:
            found[orphan.host] |= networks_of(site, orphan)
    return found


def group_of(site: Site, filter_name: str) -> Name | None:
    """The security group that a filter was made of."""
    text = filter_name.removeprefix(PREFIX)
    names = (text, text.rpartition(".")[0])
    return next((Name(name) for name in names if text != filter_name and name in site.security_groups), None)


def members(site: Site, orphans: Iterable[OrphanedVm]) -> Iterator[tuple[Name, Address]]:
    """The addresses that security groups keep while VMs run that are no longer declared."""
    for orphan in orphans:
        for plug in orphan.vm.plugs if orphan.stays else ():
            group = group_of(site, plug.filter)
            if group is not None:
                own = {Address(ip) for ip in plug.ips} | {kept.ip for kept in orphan.reserved if kept.mac == plug.mac}
                yield from ((group, ip) for ip in sorted(own, key=str))


def reservations(orphans: Iterable[OrphanedVm], network: Name, subnet: Subnet) -> list[DhcpHost]:
    """What a network or gateway goes on to reserve for VMs that run and are no longer declared."""
    found: dict[Address, DhcpHost] = {}
    for orphan in orphans:
        for kept in orphan.reserved if orphan.stays else ():
            if kept.firm and kept.network == network and _is_of(kept.ip, subnet):
                mac, name = Mac(kept.mac) if kept.mac else None, DnsName(kept.name) if kept.name else None
                found[kept.ip] = DhcpHost(ip=kept.ip, mac=mac, name=name)
    return list(found.values())


def _is_of(ip: Address, subnet: Subnet) -> bool:
    return ip.version == subnet.address.version and ip.ip in subnet.address.network
