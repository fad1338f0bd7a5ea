# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do and has, as far as rendering and placement must know."""

from __future__ import annotations

from collections.abc import Iterator

from .declaration import declaration, option
from .types import Address, ByteSize

LAST_SERIAL = 2**53  # no epoch is above it: the store counts on from what hosts answer


@declaration
class Link:
    """A network interface, as far as it matters to who wants to build on it."""

    bridge: bool = option("Whether it is a bridge of the kernel.", default=False)
    master: str | None = option("What it is a port of.", default=None)
    addresses: tuple[Address, ...] = option("Addresses it carries, those of the link alone left out.", default=())


@declaration
class NumaNode:
    """Memory with the processors near to it."""

    memory: ByteSize = option("Memory.")
    cpus: int = option("Processors.")
    hugepages: dict[str, ByteSize] | None = option("What of it is in huge pages, by their size.", default=None)


@declaration
class StoreState:
    """Which store a site has, and how far it has come."""

    id: str = option("Identity of the store, made once.")
    generation: int = option("A number that grows with every change of a VM's host.")

    def is_newer(self, other: StoreState | None) -> bool:
        """Whether it is further than another state, or of another store."""
        return other is None or self.id != other.id or self.generation > other.generation


@declaration
class HostFacts:
    """Read from libvirt's capabilities and from the host itself (DEP-02, HOST-T1)."""

    hostname: str = option("The host's own name.", spec="HOST-T1.1")
    uuid: str = option("What libvirt takes for the machine's UUID.", spec="HOST-T1.2")
    identity: str = option(
        "Identity of the installed system, which a new name does not change; of its machine-id.",
        spec="HOST-T1.2",
        default="",
    )
    hardware: str = option(
        "Digest of what the machine is made of: serial numbers and network cards.", spec="LIMIT-06", default=""
    )
    boot: str = option("Identity of its last boot.", spec="QUOTA-05", default="")
    arch: str = option("Architecture of its processors.", spec="DEP-02")
    cpu_model: str = option("Model, as libvirt names it.", spec="HOST-T1.4", default="")
    cpus: int = option("Processors that run now.", spec="HOST-T1.5", low=1)
    memory: ByteSize = option("Memory.", spec="HOST-T1.6", low=1)
    free_memory: ByteSize = option("Memory that is free now.", spec="HOST-T1.11", default=ByteSize(0))
    available_memory: ByteSize = option(
        "Memory that is free, or that the kernel would give back at once.", spec="HOST-T1.11", default=ByteSize(0)
    )
    traffic: int = option(
        "Bytes that its network cards have received and sent since its boot.", spec="HOST-T1.13", default=0
    )
    kvm: bool = option(
        "Whether KVM truly works here: the device opens, and the processor virtualises.", spec="INST-T1.2"
    )
    libvirt: int = option("Version of libvirt, 9000000 for 9.0.0.", spec="DEP-14")
    hypervisor: int = option("Version of QEMU, 7002022 for 7.2.22.", spec="DEP-14")
    emulators: dict[str, str] | None = option("Path of the emulator by architecture.", spec="INST-13", default=None)
    links: dict[str, Link] | None = option(
        "Network interfaces by name; nothing when the host is not the machine that asks.", spec="DEP-02", default=None
    )
    machines: dict[str, str] | None = option(
        "Board aliases and what they stand for, x86_64.", spec="INST-13", default=None
    )
    boards: tuple[str, ...] = option("Every board its QEMU has, for its own architecture.", spec="INST-13", default=())
    cpu_models: tuple[str, ...] = option(
        "Models that KVM can show to guests here; unknown when empty.", spec="DEP-02", default=()
    )
    numa: tuple[NumaNode, ...] = option("Its NUMA nodes.", default=())
    devices: dict[str, int] | None = option(
        "PCI devices that guests can be given, how many by vendor and product.", default=None
    )
    load: int = option("Busy share of its processors over five minutes, in percent.", spec="HOST-T1.10", default=0)
    maintenance: str | None = option(
        "Why nothing new comes to the host, as C(dos.vm.drain) noted there; nothing when it is in service.",
        default=None,
    )
    fences: dict[str, int] | None = option(
        "Machines that were given to another host, by name, and the epoch of that placement: no older one makes them here.",
        spec="ARCH-10",
        default=None,
    )
    stores: dict[str, StoreState] | None = option(
        "How far the stores of sites had come when the host was last made as declared, by site.",
        spec="ARCH-10",
        default=None,
    )
    known_volumes: tuple[str, ...] = option(
        "Volumes that C(dos.vm) made or found here, C(POOL/NAME); one of these whose file is missing is not made anew, empty.",
        spec="VOL-08",
        default=(),
    )
    unmounted: dict[str, str] | None = option(
        "Pools whose volumes were on a file system that is not mounted now, by name, and its mount point.",
        spec="VOL-08",
        default=None,
    )

    def check(self) -> Iterator[tuple[str, str]]:
        """What a field alone cannot show."""
        for vm, epoch in (self.fences or {}).items():
            if not 0 <= epoch <= LAST_SERIAL:
                yield f"fences.{vm}", "is no epoch, from 0 to 2^53"
