# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration asks of the two hosts it is between: read through libvirt, from the host that has the machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..model.migration import Migration
from ..plan.migration import Disk, Elsewhere, Guest, Question, Target
from ..xml.build import compact, parse
from .connection import allowing
from .libvirt import LibvirtHypervisor
from .look import STATES
from .outside_layers import outside_layers

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# File systems that several hosts see at once; those libvirt knows, and so migrates from without being told it is safe.
SHARED = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "ceph",
        "fuse.ceph-fuse",
        "fuse.glusterfs",
        "fuse.quobyte",
        "gfs2",
        "gpfs",
        "ocfs2",
        "afs",
        "lustre",
        "beegfs",
        "acfs",
    ]
)
INCOMING = ".incoming"  # a volume of this name beside another says that a migration is, or was, filling that one


def question(wanted: Migration, source: LibvirtHypervisor, target: LibvirtHypervisor) -> Question:
    """All that the checks want to know. Raises what libvirt raises; a machine that the source has not is such a case."""
    guest = guest_of(source._connection, wanted.domain)
    return Question(
        wanted=wanted,
        guest=guest,
        source=source.facts(),
        networks=dict(_networks(source._connection)),
        target=target_of(target, guest),
    )


def guest_of(connection: Any, name: str) -> Guest:
    """The machine on the host that has it."""
    domain = connection.lookupByName(name)
    active = bool(domain.isActive())
    xml = parse(domain.XMLDesc(0 if active else libvirt.VIR_DOMAIN_XML_INACTIVE))
    disks = tuple(_disks(connection, xml, outside_layers(domain)))
    return Guest(
        name=name,
        uuid=domain.UUIDString(),
        xml=xml,
        active=active,
        state=STATES.get(domain.state()[0], "no state"),
        snapshots=_counted(domain.snapshotNum),
        block_jobs=tuple(disk.target for disk in disks if active and _busy(domain, disk.target)),
        saved=bool(domain.hasManagedSaveImage()),
        disks=disks,
    )


def target_of(target: LibvirtHypervisor, guest: Guest) -> Target:
    """The host it goes to. Of its pools, those that hold a disk of the guest are refreshed: libvirt forgets to look."""
    connection, facts = target._connection, target.facts()
    capabilities = target._capabilities[0]
    os_type = guest.xml.find("os/type")
    arch, board = ("", "") if os_type is None else (os_type.get("arch", ""), os_type.get("machine", ""))
    pools = dict(_pools(connection))
    for name in {disk.pool for disk in guest.disks if disk.pool in pools}:
        with allowing("VIR_ERR_INTERNAL_ERROR", "VIR_ERR_OPERATION_INVALID"):  # a volume is just being made in it
            connection.storagePoolLookupByName(name).refresh()
    domains = list(connection.listAllDomains())
    return Target(
        facts=facts,
        machines=frozenset(held.text or "" for held in capabilities.iterfind(f"guest/arch[@name='{arch}']//machine")),
        vcpus=_most_vcpus(connection, guest, facts.emulators or {}, arch, board),
        memory=_available(connection, int(facts.free_memory)),
        cpu=_processor(connection, guest, facts.emulators or {}, arch, board),
        networks=dict(_networks(connection)),
        nwfilters=frozenset(held.name() for held in connection.listAllNWFilters()),
        secrets=frozenset(held.UUIDString() for held in connection.listAllSecrets()),
        pools=pools,
        files=frozenset(path for disk in guest.disks for path in _seen(connection, disk)),
        unfinished=frozenset(disk.path for disk in guest.disks if marker(connection, disk) is not None),
        domains={held.name(): Elsewhere(held.UUIDString(), bool(held.isActive())) for held in domains},
        ports=dict(_ports(domains)),
    )


def marker(connection: Any, disk: Disk) -> Any:
    """The volume that says a copy of `disk` is being filled there; `None` when there is none."""
    return None if disk.volume is None else volume_of(connection, disk.pool, f"{disk.volume}{INCOMING}")


def volume_of(connection: Any, pool: str | None, name: str | None) -> Any:
    """libvirt's volume, `None` when there is none of that name."""
    with allowing("VIR_ERR_NO_STORAGE_POOL", "VIR_ERR_NO_STORAGE_VOL", "VIR_ERR_OPERATION_INVALID"):
        return connection.storagePoolLookupByName(pool or "").storageVolLookupByName(name or "")
    return None


def _disks(connection: Any, xml: Element, outside: Mapping[str, str]) -> Iterator[Disk]:
    for held in xml.iterfind("devices/disk"):
        source, target = held.find("source"), held.find("target")
        if source is None or target is None or held.get("type") not in ("file", "block", "volume"):
            continue  # an empty drive, or a disk that the network brings to every host alike
        pool, volume, path = place(connection, source)
        read_only = held.find("readonly") is not None or held.get("device") in ("cdrom", "floppy")
        below = held.find("backingStore/source")
        yield Disk(
            target=target.get("dev", ""),
            path=path,
            pool=pool,
            volume=volume,
            writable=not read_only and held.find("shareable") is None,
            shared=held.get("type") != "block" and is_shared(path),
            encrypted=held.find(".//encryption") is not None,
            backing=_backing(connection, path) if below is None else below.get("file"),
            outside=outside.get(target.get("dev", ""), ""),
        )


def _backing(connection: Any, path: str) -> str | None:
    """The file below a disk's, where the definition does not say it: that of a machine that is off never does."""
    with allowing("VIR_ERR_NO_STORAGE_VOL"):
        return parse(connection.storageVolLookupByPath(path).XMLDesc()).findtext("backingStore/path")
    return None


def place_of(connection: Any, disk: Element) -> tuple[str | None, str | None, str]:
    """The same of a disk; of one without a medium, nothing."""
    source = disk.find("source")
    return (None, None, "") if source is None else place(connection, source)


def place(connection: Any, source: Element) -> tuple[str | None, str | None, str]:
    """Pool, volume and path of a disk, whichever of them its definition names."""
    path = source.get("file") or source.get("dev")
    with allowing("VIR_ERR_NO_STORAGE_VOL", "VIR_ERR_NO_STORAGE_POOL"):
        if path is None:
            found = connection.storagePoolLookupByName(source.get("pool")).storageVolLookupByName(source.get("volume"))
        else:
            found = connection.storageVolLookupByPath(path)
        return found.storagePoolLookupByVolume().name(), found.name(), found.path()
    return source.get("pool"), source.get("volume"), path or ""  # its volume is gone, or in no pool


def is_shared(path: str, table: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a path of this host is on a file system that others see as well, by its name."""
    best, kind = "", ""
    for line in table.read_text().splitlines():
        before, _, after = line.partition(" - ")
        mounted = before.split()[4].encode().decode("unicode_escape")
        if path == mounted or path.startswith(mounted.rstrip("/") + "/"):
            best, kind = max((best, kind), (mounted, after.split()[0]), key=lambda held: len(held[0]))
    return kind in SHARED


def _seen(connection: Any, disk: Disk) -> Iterator[str]:
    """Of the file of a disk and that below it, those a host has. Of one that is in no pool of it only the file system can tell."""
    for path, pool in ((disk.path, disk.pool), (disk.backing, None)):
        with allowing("VIR_ERR_NO_STORAGE_VOL"):
            if path:
                connection.storageVolLookupByPath(path)
                yield path
                continue
        if path and pool is None and is_shared(path):
            yield path


def _counted(count: Any) -> int:
    with allowing("VIR_ERR_NO_SUPPORT", "VIR_ERR_OPERATION_UNSUPPORTED"):
        return int(count())
    return 0


def _busy(domain: Any, target: str) -> bool:
    with allowing("VIR_ERR_OPERATION_INVALID", "VIR_ERR_OPERATION_UNSUPPORTED", "VIR_ERR_INVALID_ARG"):
        return bool(domain.blockJobInfo(target))
    return False


def _networks(connection: Any) -> Iterator[tuple[str, Element]]:
    for held in connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE):
        yield held.name(), parse(held.XMLDesc())


def _pools(connection: Any) -> Iterator[tuple[str, str]]:
    for held in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        yield held.name(), parse(held.XMLDesc()).findtext("target/path") or ""


def _ports(domains: Iterable[Any]) -> Iterator[tuple[int, str]]:
    for held in domains:
        with allowing("VIR_ERR_NO_DOMAIN"):
            for console in parse(held.XMLDesc()).iterfind("devices/graphics[@port]"):
                if held.isActive():
                    yield int(console.get("port", "-1")), held.name()


def _available(connection: Any, free: int) -> int:
    """Bytes that a new guest could have: what is free, and what is only cached."""
    with allowing("VIR_ERR_NO_SUPPORT"):
        held = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        return sum(int(held.get(name, 0)) for name in ("free", "cached", "buffers")) * 1024
    return free


def _most_vcpus(connection: Any, guest: Guest, emulators: Mapping[str, str], arch: str, board: str) -> int | None:
    xml = _domain_capabilities(connection, guest, emulators, arch, board)
    found = None if xml is None else xml.find("vcpu")
    return None if found is None else int(found.get("max", "0")) or None


def _domain_capabilities(
    connection: Any, guest: Guest, emulators: Mapping[str, str], arch: str, board: str
) -> Element | None:
    try:
        return parse(connection.getDomainCapabilities(emulators.get(arch), arch, board, guest.xml.get("type")))
    except libvirt.libvirtError:
        return None  # no such emulator, or no such board: other checks say which


def _processor(connection: Any, guest: Guest, emulators: Mapping[str, str], arch: str, board: str) -> str:
    """What the other host's processor lacks, as libvirt compares; nothing where it cannot tell."""
    cpu = guest.xml.find("cpu")
    if cpu is None or not guest.has_memory or cpu.get("mode") not in (None, "custom"):
        return ""
    text, incompatible = compact(cpu), libvirt.VIR_CPU_COMPARE_INCOMPATIBLE
    try:
        compared = connection.compareHypervisorCPU(emulators.get(arch), arch, board, guest.xml.get("type"), text, 0)
    except libvirt.libvirtError:
        return ""  # this libvirt cannot compare for that emulator; it does when it prepares the target
    return (
        "its processor has features that the other host's lacks; give it an older cpu_model"
        if compared == incompatible
        else ""
    )
