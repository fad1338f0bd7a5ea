# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that are to be started while another VM runs with their MAC, their address or a disk that they write.

Uniqueness in the declaration says nothing of a VM that runs and is no longer declared, is to be stopped, or runs by an older
definition. If the run removes or stops that VM, the new one is started after it is off; otherwise it is not started.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model.types import Address
from ..placement.request import Decision, Request
from ..site.site import Site
from ..site.writes import Meeting, Writes
from .machine import Machine
from .orphans import OrphanedVm
from .states import HostState, HostVm, WrittenDisk
from .written_twice import known_as

PRUNE = "remove it (dos_prune: true) or declare it again"


class Holder(NamedTuple):
    """A VM that runs, with what it has: `goes` is whether it is off after this run, `remedy` what to do where it is not."""

    vm: str
    host: str
    where: str
    remedy: str
    goes: bool = False
    declared: bool = False

    @property
    def gate(self) -> str:
        """What a VM that is started after it waits for."""
        return f"{self.vm} on {self.host}, which must be off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handovers:
    """By VM, why it is not started; and those that must be off before it is."""

    blocked: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)


NONE = Handovers()


def handovers(
    site: Site,
    starting: Iterable[tuple[Machine, Request, Decision]],
    intent: Mapping[str, bool],
    states: Mapping[str, HostState],
    orphans: Iterable[OrphanedVm],
    away: Iterable[tuple[Machine, frozenset[str]]] = (),
    unasked: frozenset[str] = frozenset(),
) -> Handovers:
    """What stands in the way of the VMs that are to be started. `intent` has every declared VM.

    `away` are VMs that may run on hosts without an answer, with these; `unasked` are those that a limit leaves out.
    """
    coming = [(machine, str(made.host)) for machine, _, made in starting if made.host is not None]
    if not coming:
        return NONE
    had = _Had(site)
    for orphan in orphans:
        had.add_orphan(orphan, unasked)
    for machine, hosts in away:
        if not intent[machine.name]:  # two that are intended on are compared by the rules
            had.add_declared(machine, hosts, unasked)
    for host, state in states.items():
        for name, vm in state.vms.items():
            if name in intent and state.runs(name):
                had.add(_declared(name, host, goes=not intent[name]), vm, host)
        for disk in state.written:
            if disk.domain not in state.vms:
                had.add_disk(Holder(disk.domain, host, f"which runs on {host} and is unmanaged", "stop it"), disk, host)
    blocked: dict[str, str] = {}
    after: dict[str, tuple[Holder, ...]] = {}
    for machine, host in coming:
        met = _by_holder(had.met(machine, host))
        staying = [(holder, things) for holder, things in met.items() if not holder.goes]
        if staying:
            blocked[machine.name] = "; ".join(_sentence(holder, things) for holder, things in staying)
        elif met:
            after[machine.name] = tuple(met)
    return Handovers(blocked=blocked, after=after)


def _declared(name: str, host: str, *, goes: bool) -> Holder:
    return Holder(name, host, f"which runs on {host}", "stop or restart it", goes=goes, declared=True)


def _orphaned(orphan: OrphanedVm, unasked: frozenset[str]) -> Holder:
    where, remedy = orphan.where, PRUNE
    if not orphan.reachable:
        where, remedy = _away(frozenset([orphan.host]), unasked)
    return Holder(orphan.name, orphan.host, f"{where} and is no longer declared", remedy, goes=orphan.leaving)


def _away(hosts: frozenset[str], unasked: frozenset[str]) -> tuple[str, str]:
    """Where a VM may be of which nothing was told, in words, and the remedy."""
    listed = ", ".join(sorted(hosts))
    if hosts <= unasked:
        return f"which may run on {listed}, which was not asked,", "leave out --limit and dos_limit"
    gone = f"if that host is permanently gone: ansible-playbook dos.vm.release -e dos_release={listed}"
    return f"which may run on {listed}, which is unreachable,", gone


def _by_holder(met: Iterable[tuple[str, Holder]]) -> dict[Holder, list[str]]:
    found: defaultdict[Holder, list[str]] = defaultdict(list)
    for thing, holder in met:
        if thing not in found[holder]:
            found[holder].append(thing)
    return found


def _sentence(holder: Holder, things: list[str]) -> str:
    listed = " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things)
    return (
        f"{listed} {'are' if len(things) > 1 else 'is'} still used by VM {holder.vm}, {holder.where}: {holder.remedy}"
    )


class _Had:
    """What the VMs that run have."""

    def __init__(self, site: Site) -> None:
        self._writes = Writes(site)
        self._macs: defaultdict[str, list[Holder]] = defaultdict(list)
        self._addresses: defaultdict[Address, list[Holder]] = defaultdict(list)
        self._disks: Meeting[tuple[Holder, bool]] = Meeting()

    def add_declared(self, machine: Machine, hosts: frozenset[str], unasked: frozenset[str]) -> None:
        """A VM that is to be off, and of which it is not known whether it is."""
        where, remedy = _away(hosts, unasked)
        holder = Holder(str(machine.name), min(hosts), where, remedy, declared=True)
        for mac in machine.macs():
            self._macs[mac].append(holder)
        for place in range(len(machine.instance.interfaces)):
            for address in machine.ips(place):
                self._addresses[address].append(holder)
        for use in self._writes.written(machine.instance, hosts):
            self._disks.add(use.identities, (holder, use.shareable))

    def add_orphan(self, orphan: OrphanedVm, unasked: frozenset[str]) -> None:
        if orphan.active:
            holder = _orphaned(orphan, unasked)
            self.add(holder, orphan.vm, orphan.host)
            for mac in orphan.macs - orphan.vm.macs:
                self._macs[mac].append(holder)
            for address in orphan.addresses:
                self._addresses[address].append(holder)

    def add(self, holder: Holder, vm: HostVm, host: str) -> None:
        for mac in vm.macs:
            self._macs[mac].append(holder)
        for source in vm.writes:
            identities = self._writes.of_source(source, frozenset([host]))
            self._disks.add(identities, (holder, source.shareable))

    def add_disk(self, holder: Holder, disk: WrittenDisk, host: str) -> None:
        self._disks.add(known_as(self._writes, disk, host), (holder, disk.source.shareable))

    def met(self, machine: Machine, host: str) -> Iterator[tuple[str, Holder]]:
        """What a VM that starts on a host would share with others, each with the VM that has it now."""
        for mac in machine.macs():
            yield from ((f"MAC {mac}", holder) for holder in self._macs.get(mac, ()) if holder.vm != machine.name)
        for place in range(len(machine.instance.interfaces)):
            for address in machine.ips(place):
                yield from ((str(address), holder) for holder in self._addresses.get(address, ()))
        for use in self._writes.written(machine.instance, frozenset([host])):
            for _, (holder, shareable) in self._disks.met(use.identities):
                # Two declared VMs of one host hand a volume over in the plan of that host (VOL-09).
                beside = holder.declared and holder.host == host
                if holder.vm != machine.name and not beside and not (shareable and use.shareable):
                    yield use.words, holder
