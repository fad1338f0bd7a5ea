# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about instances and their machines: names, number, and where they may run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..model.types import Name
from .device_sources import host_devices
from .index import Finding, Hosts, Index, Machine, Place, turned_off
from .instance import Instance
from .validate_fragments import macs_in_fragments

EITHER = "write an instance for each, or unique: false to have one on at a time"


def names_are_unique(index: Index) -> Iterator[Finding]:
    """VM-T1.2: a machine's name is one in the whole system."""
    seen: dict[str, Place] = {}
    for machine in index.machines:
        if machine.name in seen:
            yield Finding(
                machine.at,
                f"machine {machine.name} is declared twice, write another name (VM-T1.2)",
                seen[machine.name],
            )
        seen.setdefault(machine.name, machine.at)


def unique_instances_have_one_machine(index: Index) -> Iterator[Finding]:
    """VM-03, NIC-01, AMB-12: an instance is unique when it says so, or has something that only one machine can have."""
    for name, instance in index.site.instances.items():
        number = instance.count if instance.count is not None else len(instance.vms or {})
        reason = _uniqueness(index, name, instance) if number > 1 else None
        if reason is not None:
            at, why, instead = reason
            yield Finding(at, f"{why}, so the instance is for one machine and has {number}: {instead} (VM-03)")


def is_unique(index: Index, name: Name, instance: Instance) -> bool:
    """Whether an instance is for one machine, as it says itself or as follows from what it has (INST-10)."""
    return _uniqueness(index, name, instance) is not None


def _uniqueness(index: Index, name: Name, instance: Instance) -> tuple[Place, str, str] | None:
    """What makes an instance unique: where that is written, in words, and what to write instead."""
    at = ("dos_instances", name)
    for number, card in enumerate(instance.interfaces):
        for field, address in (("ip", card.ip), ("ip6", card.ip6)):
            if address:
                return (
                    (*at, "interfaces", number, field),
                    f"address {address} is one machine's",
                    f"write it at the machine, under {field}",
                )
    if instance.unique is not None:
        return ((*at, "unique"), "unique is true", "write an instance for each") if instance.unique else None
    for number, card in enumerate(instance.interfaces):
        if card.mac:
            return (*at, "interfaces", number, "mac"), f"MAC {card.mac} is one machine's", EITHER
    for place, mac in macs_in_fragments(name, instance):
        return place, f"MAC {mac} is one VM's", EITHER
    for number, disk in enumerate(instance.disks):
        volume = index.site.volumes.get(disk.volume) if disk.volume else None
        if volume is not None and disk.writable and not volume.shareable:
            return (*at, "disks", number, "volume"), f"volume {disk.volume} is written by one machine", EITHER
        image = index.site.images.get(disk.image) if disk.image and not disk.pool else None
        if image is not None and disk.writable and not image.read_only:
            return (*at, "disks", number, "image"), f"image {disk.image} is written by one machine", EITHER
    return None


class Binding(NamedTuple):
    """Something that keeps a machine to certain hosts, in words and by place."""

    at: Place
    words: str
    hosts: frozenset[Name]


def bindings_agree(index: Index) -> Iterator[Finding]:
    """POOL-02, CUST-T1, NET-05: there is a host that has the machine's pools, images and networks, and is allowed."""
    for name, instance in index.site.instances.items():
        bindings = list(_bindings(index, name, instance))
        yield from _contradiction(name, bindings)
        for vm_name, vm in (instance.vms or {}).items():
            missed = next((held for held in bindings if vm.host is not None and vm.host not in held.hosts), None)
            if missed is not None and vm.host in index.hosts:
                text = f"{missed.words} is not on {vm.host}, write {_listed(missed.hosts)} (POOL-02)"
                yield Finding(("dos_instances", name, "vms", vm_name, "host"), text, missed.at)


def _bindings(index: Index, name: Name, instance: Instance) -> Iterator[Binding]:
    """What binds all machines of an instance; what is on every host binds nobody."""
    for at, words, hosts in _candidates(index, name, instance):
        if hosts is not None and hosts & index.hosts:  # a host that does not exist is another rule's
            yield Binding(at, words, hosts)


def _candidates(index: Index, name: Name, instance: Instance) -> Iterator[tuple[Place, str, Hosts]]:
    site, at = index.site, ("dos_instances", name)
    yield (*at, "hosts" if instance.host is None else "host"), f"instance {name}", index.hosts_of(instance)
    if instance.host_group and instance.host_group in site.host_groups:
        yield (*at, "host_group"), f"host group {instance.host_group}", site.members(instance.host_group)
    for number, disk in enumerate(instance.disks):
        volume = site.volumes.get(disk.volume) if disk.volume else None
        in_pool = volume.pool if volume else disk.pool
        pool = site.pools.get(in_pool) if in_pool else None
        image = site.images.get(disk.image) if disk.image else None
        place = (*at, "disks", number)
        if volume is not None and volume.host and pool is not None and not pool.is_shared:
            yield (*place, "volume"), f"volume {disk.volume}", frozenset((volume.host,))
        if pool is not None:
            yield place, f"pool {volume.pool if volume else disk.pool}", index.hosts_of(pool)
        if image is not None:
            yield (*place, "image"), f"image {disk.image}", index.hosts_of(image)
    for number, card in enumerate(instance.interfaces):
        network = site.networks.get(card.network)
        if network is not None:
            yield (*at, "interfaces", number, "network"), f"network {card.network}", index.hosts_of(network)


def _contradiction(name: Name, bindings: list[Binding]) -> Iterator[Finding]:
    """The first binding that leaves no host, and one it contradicts."""
    if len(bindings) < 2:
        return
    left = bindings[0].hosts
    for number, held in enumerate(bindings[1:], start=1):
        if left & held.hosts:
            left &= held.hosts
            continue
        other = next((before for before in bindings[:number] if not before.hosts & held.hosts), bindings[0])
        text = f"no host is left for the machines of {name}: {held.words} is on {_listed(held.hosts)}, {other.words} on {_listed(other.hosts)} (POOL-02)"
        yield Finding(held.at, text, other.at)
        return


def _listed(hosts: frozenset[Name]) -> str:
    names = sorted(hosts)
    return ", ".join(names) if len(names) <= 5 else f"{', '.join(names[:4])} and {len(names) - 4} more"


def console_ports_are_free(index: Index) -> Iterator[Finding]:
    """GFX-01: a fixed port is one console's on a host, as far as the host is known."""
    seen: dict[tuple[str, int], tuple[Name, Place]] = {}
    for machine in index.machines:
        for at, port in _ports(machine):
            host = machine.vm.host or machine.instance.host or (min(index.hosts) if len(index.hosts) == 1 else None)
            if host is None or not machine.on:
                continue
            other = seen.setdefault((host, port), (machine.name, at))
            if other != (machine.name, at):
                text = f"port {port} of host {host} is {other[0]}'s, {machine.name} needs another: leave it out to have one chosen (GFX-01)"
                yield Finding(at, text, other[1] if other[1] != at else None)


def _ports(machine: Machine) -> Iterator[tuple[Place, int]]:
    for number, console in enumerate(machine.instance.graphics):
        for field in ("port", "tls_port"):
            port = getattr(console, field)
            if port is not None:
                yield ("dos_instances", machine.instance_name, "graphics", number, field), port


def host_devices_are_given_once(index: Index) -> Iterator[Finding]:
    """HOT-07: a device of a host is of that host, and one VM has it at a time, as a network card or as itself."""
    seen: dict[tuple[str, str], tuple[Machine, Place]] = {}
    for machine in index.machines:
        host = machine.vm.host or machine.instance.host or (min(index.hosts) if len(index.hosts) == 1 else None)
        declared: Place = ("dos_instances", machine.instance_name, "host_devices")
        if machine.instance.host_devices and host is None:
            text = f"are of one host: write host for {machine.name}, which then stays there (HOT-07)"
            yield Finding(declared, text)
        reach = index.writes.reach(machine.instance, machine.vm.host) or index.hosts
        where = min(reach) if len(reach) == 1 else None
        for at, device in _host_devices(machine) if where and machine.on else ():
            owner, other = seen.setdefault((str(where), device), (machine, at))
            if owner.name != machine.name:
                text = f"{device} of host {where} is {owner.name}'s, and {machine.name} is on too: {turned_off(owner, machine)}"
                yield Finding(at, text, other if other != at else None)
            elif other != at:
                yield Finding(at, f"{device} is given to {machine.name} twice: leave one out (HOT-07)", other)


def _host_devices(machine: Machine) -> Iterator[tuple[Place, str]]:
    at: Place = ("dos_instances", machine.instance_name)
    for device in machine.instance.host_devices:
        yield (*at, "host_devices"), str(device.pci or device.usb)
    for number, fragment in enumerate(machine.instance.xml):
        for name in host_devices(fragment):
            yield (*at, "xml", number), name


def machines_that_cannot_run(index: Index) -> Iterator[Finding]:
    """INST-04, PROJ-05: the machines of a disabled instance or an inactive project are off."""
    for name, instance in index.site.instances.items():
        wanted = sum(vm.power == "on" for vm in instance.machines(name).values())
        active = index.is_active(instance.project)
        if wanted and not (active and instance.enabled):
            why = "the instance is disabled" if not instance.enabled else f"project {instance.project} is inactive"
            yield Finding(
                ("dos_instances", name), f"its machines stay off, {wanted} of them with power: on, since {why}"
            )
