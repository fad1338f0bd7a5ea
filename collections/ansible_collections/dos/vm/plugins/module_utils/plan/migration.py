# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a machine can go to another host, and what stands in the way: everything at once, before it is touched (MIG-07).

Pure: what is known of both hosts and of the machine goes in, sentences come out. A check is a function in a table; it yields
reasons that finish "web-1 cannot go to h2: …" and say what to do about it. What only libvirt can find out while it prepares the
target (a lock manager that differs, a file that is not the same one) is left to it: then the machine stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..model.host import HostFacts
from ..model.migration import Migration
from ..model.seed import ROOT as SEEDS
from ..model.types import ByteSize

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# Devices that are the host's and stay there, by xpath, and what they are called.
HOST_BOUND: Mapping[str, str] = {
    "devices/hostdev": "a device of the host (<hostdev>)",
    "devices/interface[@type='hostdev']": "a network card of the host (<interface type='hostdev'>)",
    "devices/filesystem": "a directory of the host (<filesystem>)",
    "devices/shmem": "memory shared with the host (<shmem>)",
    "devices/serial[@type='dev']": "a serial port of the host",
    "devices/parallel[@type='dev']": "a parallel port of the host",
    "launchSecurity": "memory that only this processor can read (<launchSecurity>)",
}
ANYWHERE = ("0.0.0.0", "127.0.0.1", "::", "::1", "localhost", None, "")
# A machine in one of these has nothing that could go on elsewhere.
STUCK = {"crashed": "it has crashed", "in shutdown": "it is shutting down"}


class Elsewhere(NamedTuple):
    """A domain of the target."""

    uuid: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk with a medium. `shared` is whether its file system is known to be on several hosts; `backing` is the file below."""

    target: str
    path: str
    pool: str | None = None
    volume: str | None = None
    writable: bool = True
    shared: bool = False
    encrypted: bool = False
    backing: str | None = None
    outside: str = ""  # the layer that it is, `TOP over BASE`, where that was made outside dos.vm

    @property
    def name(self) -> str:
        return f"{self.pool}/{self.volume}" if self.pool else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The machine where it is. `xml` is that of the running guest, or the definition of one that is off."""

    name: str
    uuid: str
    xml: Element
    active: bool = True
    state: str = "running"
    snapshots: int = 0
    block_jobs: tuple[str, ...] = ()
    saved: bool = False
    disks: tuple[Disk, ...] = ()

    @property
    def has_memory(self) -> bool:
        """Whether memory travels: that of a machine that runs, or that was saved and is brought back for it (VM-26)."""
        return self.active or self.saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The host it goes to, as far as a machine can feel it. `memory` is what could be had now, in bytes."""

    facts: HostFacts
    machines: frozenset[str] = frozenset()
    vcpus: int | None = None
    memory: int = 0
    cpu: str = ""  # what its processor lacks, in a sentence
    networks: Mapping[str, Element] = field(default_factory=dict)  # those that run
    nwfilters: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()  # UUIDs
    pools: Mapping[str, str] = field(default_factory=dict)  # those that run, with their directories
    files: frozenset[str] = frozenset()  # those of the guest's files that it sees, and of those below them
    unfinished: frozenset[str] = frozenset()  # of these, what a migration that failed has left
    domains: Mapping[str, Elsewhere] = field(default_factory=dict)
    ports: Mapping[int, str] = field(default_factory=dict)  # of consoles, and whose they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Can this machine go there?"""

    wanted: Migration
    guest: Guest
    source: HostFacts
    networks: Mapping[str, Element]  # of the source, those that run
    target: Target

    def there(self, kind: str, name: str, held: object) -> bool:
        """Whether the target has an object, or will have it when it comes to it."""
        return bool(held) or f"{kind} {name}" in self.wanted.prepared


Check = Callable[[Question], Iterator[str]]


def reasons(question: Question) -> list[str]:
    """Everything that stands in the way; nothing when the machine can go."""
    return [reason for check in CHECKS for reason in check(question)]


def copied(question: Question) -> tuple[Disk, ...]:
    """The disks that have to be copied: those it writes, where the other host does not see them."""
    if question.wanted.storage == "shared":
        return ()
    return tuple(disk for disk in question.guest.disks if disk.writable and not disk.shared)


def identity(question: Question) -> Iterator[str]:
    guest, to = question.guest, question.wanted.target
    if question.source.uuid and question.source.uuid == question.target.facts.uuid:
        yield f"{to} is the host it is on"
    found = question.target.domains.get(guest.name)
    if found is not None and found.uuid != guest.uuid:
        yield f"{to} has another machine of that name; rename or remove that one"
    elif found is not None and found.active:
        yield f"it runs on {to} as well: stop one of the two, and look whether they share a disk"


def state(question: Question) -> Iterator[str]:
    guest = question.guest
    if guest.state in STUCK:
        yield f"{STUCK[guest.state]}; start it again, or let it end"
    if guest.snapshots:
        yield f"it has {guest.snapshots} snapshots, which libvirt does not move; delete them, or keep them by a backup"
    if guest.block_jobs:
        yield f"a job is at work on {', '.join(guest.block_jobs)}; wait for it (virsh blockjob), or abort it"


def firmware(question: Question) -> Iterator[str]:
    """What a machine that is off has besides its disks, in files of libvirt's own; with one that runs they travel."""
    guest = question.guest
    held = (("os/nvram", "settings of its firmware"), ("devices/tpm/backend[@type='emulator']", "TPM"))
    for path, words in () if guest.has_memory else held:
        if guest.xml.find(path) is not None:
            yield f"it is off, and the {words} would stay behind: move it while it runs"


def emulator(question: Question) -> Iterator[str]:
    os_type = question.guest.xml.find("os/type")
    arch, board = ("", "") if os_type is None else (os_type.get("arch", ""), os_type.get("machine", ""))
    target, to = question.target, question.wanted.target
    if arch not in (target.facts.emulators or {target.facts.arch: ""}):
        yield f"{to} has no emulator for {arch}"
    elif board and board not in target.machines:
        yield f"{to} has no board {board}; install the same QEMU on both hosts"
    if question.guest.xml.get("type") == "kvm" and not target.facts.kvm:
        yield f"it runs on KVM, and {to} has none"
    if question.guest.has_memory and target.facts.hypervisor // 1000 < question.source.hypervisor // 1000:
        here, there = _version(question.source.hypervisor), _version(target.facts.hypervisor)
        yield f"{to} has QEMU {there} and this host {here}: a running machine goes to the same or a newer one"


def processor(question: Question) -> Iterator[str]:
    if question.target.cpu:
        yield question.target.cpu


def room(question: Question) -> Iterator[str]:
    if not question.guest.has_memory:
        return
    xml, target, to = question.guest.xml, question.target, question.wanted.target
    needed = int(xml.findtext("memory") or "0") * 1024
    if needed > target.memory:
        yield f"{to} has {ByteSize(target.memory)} of memory free, {ByteSize(needed)} needed"
    vcpus = int(xml.findtext("vcpu") or "1")
    if target.vcpus is not None and vcpus > target.vcpus:
        yield f"{to} gives a machine {target.vcpus} vCPUs at most, {vcpus} needed"


def devices(question: Question) -> Iterator[str]:
    for path, words in HOST_BOUND.items():
        if question.guest.xml.find(path) is not None:
            yield f"it has {words}, which stays; unplug it first"


def networks(question: Question) -> Iterator[str]:
    to = question.wanted.target
    for card in question.guest.xml.iterfind("devices/interface"):
        source = card.find("source")
        name = None if source is None else source.get("network")
        if name is not None:
            yield from _network(question, name, None if source is None else source.get("portgroup"))
        filtered = card.find("filterref")
        if filtered is not None:
            rules = filtered.get("filter", "")
            if not question.there("nwfilter", rules, rules in question.target.nwfilters):
                yield f"{to} has no filter {rules}; make it with dos.vm.site"


def _network(question: Question, name: str, group: str | None) -> Iterator[str]:
    to, there, here = question.wanted.target, question.target.networks.get(name), question.networks.get(name)
    if there is None:
        if not question.there("network", name, None):
            yield f"{to} has no network {name} that runs; make it with dos.vm.site"
        return
    if here is not None and (old := _reach(here)) != (new := _reach(there)):
        yield f"network {name} is another one on {to}: {new} there, {old} here"
    if group and there.find(f"portgroup[@name='{group}']") is None:
        yield f"network {name} has no port group {group} on {to}"


def _reach(network: Element) -> str:
    """What a guest can tell of a network: how it goes out, and the addresses on it."""
    forward = network.find("forward")
    mode = "isolated" if forward is None else forward.get("mode", "nat")
    return " ".join([mode, *sorted(ip.get("address", "") for ip in network.iterfind("ip"))])


def storage(question: Question) -> Iterator[str]:
    moved = {disk.target for disk in copied(question)}
    for disk in question.guest.disks:
        if disk.path.startswith(f"{SEEDS}/"):
            continue  # goes with the machine (CFGD-13)
        if not disk.path:
            yield f"its disk {disk.target} is {disk.name}, which is not there"
            continue
        yield from _copied(question, disk) if disk.target in moved else _seen(question, disk)


def _seen(question: Question, disk: Disk) -> Iterator[str]:
    to, pool = question.wanted.target, disk.pool
    if pool is not None and not question.there("pool", pool, pool in question.target.pools):
        yield f"{to} has no pool {pool} that runs, with {disk.target} in it; make it with dos.vm.site"
    elif disk.path in question.target.files or (pool and f"pool {pool}" in question.wanted.prepared and disk.shared):
        if disk.writable and not disk.shared and not question.wanted.unsafe:
            yield (
                f"{disk.name} ({disk.target}) is on no file system known to be shared, so {to} may see another file; write "
                "storage: copied to have it copied"
            )
    elif disk.writable:
        yield f"{to} does not see {disk.name} ({disk.target}) at {disk.path}; write storage: copied to have it copied"
    else:
        yield f"{to} does not see {disk.path} ({disk.target}); put it there, or take the medium out"


def _copied(question: Question, disk: Disk) -> Iterator[str]:
    to = question.wanted.target
    off = not question.guest.has_memory
    if disk.outside:
        yield (
            f"disk {disk.target} is on layer {disk.outside}, made outside dos.vm, and a copy of it would be no layer any more: "
            "merge it first, as dos.vm.plan says"
        )
    elif question.wanted.way == "tunnel" and not off:
        yield f"{disk.name} ({disk.target}) cannot be copied through a tunnel, write data: tls, or plain if nobody can listen"
    elif off and disk.backing and disk.backing not in question.target.files:
        yield (
            f"it is off, and {disk.name} ({disk.target}) is layered over {disk.backing}, which {to} does not see: bring it there "
            "(dos.vm.site does), or move the machine while it runs, when all of the disk is copied"
        )
    elif disk.encrypted and not off:
        yield f"{disk.name} ({disk.target}) is encrypted, and is not copied; put it on storage that both hosts share"
    elif disk.pool is None:
        yield f"{disk.path} ({disk.target}) is in no pool, so there is none to copy it to; declare one for its directory"
    elif not question.there("pool", disk.pool, disk.pool in question.target.pools):
        yield f"{to} has no pool {disk.pool} that runs, to copy {disk.target} to; make it with dos.vm.site"
    elif disk.path in question.target.files - question.target.unfinished:
        address = f"volume {disk.name}"
        if not {address, f"{address} on {to}"} & set(question.wanted.replace_copies):
            yield (
                f"{to} has a {address} already, from before; delete it there, or have it written over: "
                f"dos_allow: [{{data_loss: [{address}]}}]"
            )


def pools(question: Question) -> Iterator[str]:
    for disk in question.guest.disks:
        path = question.target.pools.get(disk.pool or "")
        if path is not None and disk.path and not disk.path.startswith(f"{path}/"):
            yield f"pool {disk.pool} is at {path} on {question.wanted.target}, and {disk.target} is {disk.path} (POOL-09)"


def leases(question: Question) -> Iterator[str]:
    held = [lease.find("target") for lease in question.guest.xml.iterfind("devices/lease")]
    shared = {disk.path.rpartition("/")[0] for disk in question.guest.disks if disk.shared}
    for target in held:
        path = "" if target is None else target.get("path", "")
        if not any(path.startswith(folder) for folder in shared):
            yield f"its lease is at {path}, which only this host is known to see; put it beside the shared disk"


def secrets(question: Question) -> Iterator[str]:
    for held in question.guest.xml.iterfind("devices/disk//secret"):
        uuid, name = held.get("uuid"), held.get("usage", "")
        if uuid and uuid not in question.target.secrets and f"secret {name or uuid}" not in question.wanted.prepared:
            yield f"{question.wanted.target} lacks the secret {name or uuid} of a disk; make it with dos.vm.site"


def consoles(question: Question) -> Iterator[str]:
    for console in question.guest.xml.iterfind("devices/graphics"):
        listen = console.get("listen")
        if question.guest.has_memory and listen not in ANYWHERE:
            yield f"its console listens on {listen}, an address of this host; let it listen on 0.0.0.0, or 127.0.0.1"
        owner = question.target.ports.get(int(console.get("port", "-1")))
        if console.get("autoport") != "yes" and owner is not None:
            yield f"its console has port {console.get('port')}, which {owner} has on {question.wanted.target}"


CHECKS: tuple[Check, ...] = (
    identity,
    state,
    firmware,
    emulator,
    processor,
    room,
    devices,
    networks,
    storage,
    pools,
    leases,
    secrets,
    consoles,
)


def notes(question: Question) -> Iterator[str]:
    """What a person should know beforehand and that stands in nobody's way."""
    for card in question.guest.xml.iterfind("devices/interface/source[@network]"):
        name = card.get("network", "")
        here = question.networks.get(name)
        mode = None if here is None else here.find("forward")
        if here is not None and (mode is None or mode.get("mode", "nat") in ("nat", "route")):
            yield f"network {name} ends at its host: connections through it break, new ones work (MIG-10)"


def _version(number: int) -> str:
    return f"{number // 1000000}.{number // 1000 % 1000}"
