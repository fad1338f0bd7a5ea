# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be there before a machine is started or its memory brought back, looked at first: the reason is then ours to tell."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import HypervisorError
from ..model.host import HostFacts
from ..model.pool import is_networked
from ..model.types import ByteSize
from ..xml.build import parse
from . import given, overlays
from .connection import allowing
from .open_disks import Running

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

RESERVE = ByteSize("512 MiB")  # of the host itself (AMB-28)


def refuse_start(connection: Any, xml: Element, facts: HostFacts, running: Running) -> None:
    """Raises `HypervisorError` with every reason why a machine cannot start on this host now (VM-18, DMN-04)."""
    name = xml.findtext("name")
    make_ready(connection, xml, running)
    reasons = [*_memory(connection, xml, facts), *_missing(connection, xml)]
    _refuse(f"start domain {name}", reasons)


def refuse_more(connection: Any, xml: Element, vcpus: int | None, memory: int | None) -> None:
    """Raises `HypervisorError` where a VM does not fit beside those that run, into what all VMs of the host may have (VM-18)."""
    running = [held.info() for held in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)]
    wanted, taken = int(xml.findtext("vcpu") or 1), sum(held[3] for held in running)
    size, used = _wanted_memory(xml), sum(held[2] for held in running) * 1024
    reasons = []
    if vcpus is not None and taken + wanted > vcpus:
        reasons.append(f"it needs {wanted} vCPUs, and {max(0, vcpus - taken)} are left of the host's {vcpus} (VM-18)")
    if memory is not None and used + size > memory:
        left = ByteSize(max(0, memory - used) // 2**20 * 2**20)
        reasons.append(f"it needs {ByteSize(size)}, and {left} are left of the {ByteSize(memory)} for VMs (VM-18)")
    _refuse(f"start domain {xml.findtext('name')}", reasons)


def make_ready(connection: Any, xml: Element, running: Running) -> None:
    """The pools on servers that a machine has disks in, started, and the links and the room that its overlays need; raises
    `HypervisorError` where there is none (DMN-04), where it is to have a device that the host has not, or uses, and where another
    domain has one of its disks open (VM-08)."""
    start_pools(connection, xml)
    reasons: list[str] = []
    if is_here(connection):
        overlays.prepare(xml)
        overlays.clear(xml)
        reasons += [*overlays.cramped(xml), *given.refused(xml.iterfind("devices/*"))]
    _refuse(f"start domain {xml.findtext('name')}", [*reasons, *running.refuse_start(xml)])


def refuse_attach(domain: Any, device: Element, running: Running) -> None:
    """Raises `HypervisorError` where a running machine is to be given what the host has not, or uses (HOT-07), or a disk that
    another domain has open (VM-08)."""
    if domain.isActive():
        reasons = list(given.refused([device])) if is_here(domain.connect()) else []
        reasons += running.refuse_attach(parse(domain.XMLDesc()), device)
        _refuse(f"attach a device to domain {domain.name()}", reasons)


def refuse_resume(domain: Any, running: Running) -> None:
    """Raises `HypervisorError` where another domain has opened a disk of one that stands still (VM-08)."""
    _refuse(f"resume domain {domain.name()}", running.refuse_start(parse(domain.XMLDesc())))


def _refuse(operation: str, reasons: Iterable[str]) -> None:
    if found := dict.fromkeys(reasons):
        raise HypervisorError(operation, "; ".join(found))


def refuse_restore(domain: Any, facts: HostFacts, running: Running) -> None:
    """Raises `HypervisorError` with every reason why saved memory cannot be brought back (VM-24).

    Files must be there at the paths that were recorded: where the host that looks is this machine, they are looked at.
    """
    xml = parse(domain.managedSaveGetXMLDesc(0))
    reasons = [*_missing(domain.connect(), xml), *running.refuse_start(xml)]
    kind = xml.find("os/type")
    board = "" if kind is None else kind.get("machine", "")
    known = set(facts.machines or {}) | set((facts.machines or {}).values())
    if known and board and board not in known and not _offered(domain.connect(), xml, board):
        reasons.append(f"its board {board} is none that the QEMU of this host has")
    _refuse(f"restore domain {domain.name()}", reasons)


def refuse_files(connection: Any, xml: Element | None, operation: str) -> None:
    """Raises `HypervisorError` with every file of a machine that is not where it was (VM-24, CKPT-08), or that another domain has
    open (VM-08)."""
    if xml is not None:
        _refuse(operation, [*_missing(connection, xml), *Running(connection).refuse_start(xml)])


def _offered(connection: Any, xml: Element, board: str) -> bool:
    emulator, kind = xml.findtext("devices/emulator"), xml.find("os/type")
    arch = None if kind is None else kind.get("arch")
    try:
        connection.getDomainCapabilities(emulator, arch, board, xml.get("type"), 0)
    except libvirt.libvirtError:
        return False
    return True


def _wanted_memory(xml: Element) -> int:
    return int(xml.findtext("currentMemory") or xml.findtext("memory") or 0) * 1024


def _memory(connection: Any, xml: Element, facts: HostFacts) -> Iterator[str]:
    wanted = _wanted_memory(xml)
    active = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    taken = sum(held.info()[1] for held in active) * 1024
    room = int(facts.memory) - RESERVE - taken
    if wanted > room:
        yield (
            f"it needs {ByteSize(wanted)} and {ByteSize(max(room, 0) // 2**20 * 2**20)} are free of the host's "
            f"{ByteSize(int(facts.memory) // 2**20 * 2**20)}, {RESERVE} of which are the host's own (VM-18)"
        )


def _missing(connection: Any, xml: Element) -> Iterator[str]:
    if not is_here(connection):
        return
    for source in xml.iterfind("devices/disk/source[@file]"):
        path, optional = source.get("file", ""), source.get("startupPolicy") in ("optional", "requisite")
        if not optional and not os.path.exists(path):
            yield f"{path} is not there"


def start_pools(connection: Any, xml: Element) -> None:
    """POOL-08: a host logs in for what comes to it, also for a disk that is nobody's but an order's. `xml` is a machine, or one disk."""
    for name in dict.fromkeys(source.get("pool", "") for source in xml.iter("source") if source.get("volume")):
        with allowing("VIR_ERR_NO_STORAGE_POOL"):  # libvirt says so itself
            pool = connection.storagePoolLookupByName(name)
            if not pool.isActive() and is_networked(parse(pool.XMLDesc()).get("type", "")):
                pool.create()


def is_here(connection: Any) -> bool:
    """Whether libvirt's files are ours to look at: a connection without a host in it."""
    return ":///" in connection.getURI()


def userfaultfd(
    proc: Path = Path("/proc/sys/vm/unprivileged_userfaultfd"), device: Path = Path("/dev/userfaultfd")
) -> str:
    """Why a QEMU that is not root may not have its page faults handled; empty when it may."""
    with suppress(OSError):
        if proc.read_text().strip() == "1":
            return ""
    return f"the kernel lets only root handle page faults; sysctl vm.unprivileged_userfaultfd=1 on both hosts changes it ({device})"
