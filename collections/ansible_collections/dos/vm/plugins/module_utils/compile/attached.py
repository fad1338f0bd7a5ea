# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that VMs are given beside their declaration: whether they may be, and how they count (HOT-06)."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.types import Name
from ..site.device_sources import Source, disk_sources
from ..site.index import Finding, Index, Orphan, Place
from ..site.usage import shown, used
from ..site.writes import Hosts, Meeting
from .admission import on_now
from .machine import Machine
from .placing import Situation
from .written_twice import known_as

Clash = tuple[str, str, Place | None]  # the disk in words, who writes it, and where that is declared


def refused_disks(held: Situation, vm: str, host: str, device: str) -> list[Finding]:
    """Why a VM cannot be given a disk, as XML, on its host: another VM may write it, or it passes a quota."""
    machine = next((machine for machine in held.machines if machine.name == vm), None)
    sources = [source for source in disk_sources(f"<devices>{device}</devices>") if source.writable]
    if machine is None:
        return []
    place = ("dos_instances", machine.instance_name, "vms", machine.name)
    on = Index(held.site, intent=on_now(held))
    found: dict[str, Finding] = {}
    for source in sources:
        for words, other, where in _writers(held, on, source, vm, host):
            text = f"cannot be given {source}: {words} is written by {other} too: stop it, or attach it read-only"
            found.setdefault(other, Finding(place, f"{text} (VM-08)", where))
    return [*found.values(), *_over_quota(held, machine, sources, host, place)]


def _writers(held: Situation, on: Index, source: Source, vm: str, host: str) -> Iterator[Clash]:
    """Who else may write what a disk is on: the VMs that are on, and all domains that run."""
    here: Meeting[None] = Meeting()
    here.add(on.writes.of_source(source, frozenset([host])), None)
    declared = {str(machine.name): machine for machine in held.machines}
    for machine in on.machines:
        if machine.on and machine.name != vm:
            made = held.decisions[machine.name].host
            at: Hosts = on.writes.reach(machine.instance, machine.vm.host) if made is None else frozenset([str(made)])
            for use in on.writes.written(machine.instance, at):
                if next(here.met(use.identities), None) and not (use.shareable and source.shareable):
                    yield use.words, str(machine.name), ("dos_instances", machine.instance_name, *use.field)
            for own in _made(declared[machine.name]):
                if next(here.met(on.writes.of_source(own, at)), None):
                    yield str(own), str(machine.name), machine.at
    for other, state in held.states.items():
        for disk in state.written:
            both = disk.source.shareable and source.shareable
            if disk.domain != vm and not both and next(here.met(known_as(on.writes, disk, other)), None):
                yield str(disk.source), disk.domain, None


def _made(machine: Machine) -> Iterator[Source]:
    """The volumes that a VM has for itself, and writes."""
    for target, disk in machine.targets():
        if disk.pool and not disk.volume and disk.writable:
            yield Source(name=machine.own_volume(target), pool=str(disk.pool))


def _over_quota(held: Situation, machine: Machine, sources: list[Source], host: str, place: Place) -> Iterator[Finding]:
    """The quota that a volume would pass which counts for no project yet."""
    project, state = machine.instance.project, held.states.get(host)
    quota = held.site.projects[project].quota
    if quota is None or quota.disk is None or state is None:
        return
    names = {f"{source.pool}/{source.name}" for source in sources if source.pool}
    more = sum(state.capacities.get(name, 0) for name in names if not _counts(held, name))
    before = used(held.site, on_now(held), (*held.counted, *attached(held)))[str(project), "disk"]
    if more and before + more > quota.disk:
        limit, now, asked = (shown("disk", amount) for amount in (int(quota.disk), before, more))
        text = f"quota disk of project {project} is {limit}: {now} used, {asked} requested (QUOTA-02)"
        yield Finding(place, text, ("dos_projects", str(project), "quota", "disk"))


def attached(held: Situation) -> tuple[Orphan, ...]:
    """The volumes that VMs have and that are neither declared nor made for a VM, as they count for quotas."""
    projects = {str(machine.name): str(machine.instance.project) for machine in held.machines}
    found: dict[str, Orphan] = {}
    for host, state in held.states.items():
        for vm, told in state.vms.items():
            for disk in told.writes if vm in projects else ():
                key = f"{disk.pool}/{disk.name}"
                size = state.capacities.get(key, 0) if disk.pool else 0
                if size and not disk.name.startswith(f"{vm}-") and not _counts(held, key):
                    remedy = f"attached to {vm}: detach it, or declare it"
                    found.setdefault(key, Orphan(f"volume {key}", host, projects[vm], disk=size, remedy=remedy))
    return tuple(found.values())


def _counts(held: Situation, volume: str) -> bool:
    """Whether a volume, as `pool/name`, counts already: it is declared, or made for a VM."""
    pool, _, name = volume.partition("/")
    declared = held.site.volumes.get(Name(name))
    return (declared is not None and declared.pool == pool) or any(volume in vm.made_disks() for vm in held.machines)
