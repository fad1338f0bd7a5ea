# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is made of, said once: an instance says it for its machines, a domain for itself.

See https://libvirt.org/formatdomain.html. Disks, cards and what belongs to a place are said by each in its own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from .declaration import declaration, option
from .device import Card, Drive, HostDevice, ScsiModel, Share, Smbios, Tpm, Watchdog
from .graphics import Graphics
from .processor import Cpu, NumaCell
from .types import AbsolutePath, ByteSize, CpuSet

Sentences = Iterator[tuple[str, str]]


def keeps_local_time(clock: str | None, guest: str | None) -> bool:
    """Whether the hardware's clock of a machine has local time: what is said of it, else as its guest takes it (DOMX-05)."""
    return clock == "localtime" if clock else guest == "windows"


@declaration
class Hardware:
    """A machine, but for its disks and cards."""

    description: str | None = option("Free text.", default=None)
    guest: Literal["linux", "windows", "other"] | None = option(
        "What runs in it; what its image says, else linux, when not given. With windows, silence means what Windows wants: local "
        "time, disks on sata, a card that it has a driver for, an absolute pointer, and Hyper-V's interfaces on kvm.",
        spec="DISK-02",
        default=None,
    )
    virt_type: Literal["auto", "kvm", "qemu"] = option(
        "kvm, qemu, or auto: kvm where the host truly supports it.", spec="INST-T1.2", default="auto"
    )
    arch: Literal["x86_64", "i686", "aarch64"] = option(
        "Architecture of the machine.", spec="INST-T1.1", default="x86_64"
    )
    machine: str = option(
        "Board; an alias such as q35 or pc stays at the version it first became.", spec="INST-T1.3", default="q35"
    )
    vcpus: int = option("Number of virtual CPUs.", spec="INST-T1.9", default=1, low=1, high=255)
    vcpus_max: int | None = option(
        "How many it may come to while it runs; only up to there `vcpus` changes live.",
        spec="LIMIT-24",
        default=None,
        low=1,
        high=255,
    )
    cpuset: CpuSet | None = option(
        "CPUs of the host that it may run on, 0-3,8; any when not given.", spec="DOMX-09", default=None
    )
    memory: ByteSize = option("Memory.", spec="INST-T1.10", low=2**20, example="1 GiB")
    memory_max: ByteSize | None = option(
        "How much it may come to while it runs, by its balloon; only up to there `memory` changes live.",
        spec="LIMIT-24",
        default=None,
        low=2**20,
    )
    hugepages: ByteSize | None = option(
        "Size of the huge pages its memory is of, such as 2 MiB or 1 GiB; the host must have reserved them.",
        default=None,
        low=2**16,
    )
    memory_locked: bool = option("Whether its memory is never swapped out by the host.", default=False)
    numa: tuple[NumaCell, ...] = option(
        "NUMA cells that the guest sees; together all its vCPUs and memory.", default=()
    )
    numa_nodes: CpuSet | None = option("NUMA nodes of the host that its memory comes from.", default=None)
    numa_mode: Literal["strict", "preferred", "interleave"] = option(
        "Whether other nodes than `numa_nodes` are never used, used when these are full, or these in turn.",
        default="strict",
    )
    cpu: Cpu | None = option(
        "Processor; libvirt's default for the kind of virtualisation when not given.", spec="DOMX-09", default=None
    )
    hyperv: bool | None = option(
        "Whether Windows finds the interfaces of Hyper-V, which it is faster with; with guest windows on kvm when not given.",
        default=None,
    )
    firmware: Literal["bios", "uefi"] = option("Firmware.", default="bios")
    secure_boot: bool | None = option(
        "Whether UEFI starts only what is signed, with the usual keys enrolled; as libvirt chooses when not given.",
        default=None,
    )
    smbios: Smbios | None = option(
        "What the firmware tells the guest about the machine; QEMU's own words when not given.",
        spec="DOMX-04",
        default=None,
    )
    tpm: Tpm | None = option("Trusted platform module; the host needs swtpm.", default=None)
    boot: tuple[Literal["hd", "cdrom", "network", "fd"], ...] = option(
        "Boot devices, preferred first.", spec="INST-T1.4", default=()
    )
    boot_menu: bool = option("Whether the firmware asks for a device.", spec="INST-T1.5", default=False)
    boot_menu_timeout: int | None = option(
        "Milliseconds until the automatic choice.", spec="INST-T1.6", default=None, low=1, high=65535
    )
    bios_serial: bool = option("Whether the BIOS writes to the serial console.", spec="INST-T1.7", default=False)
    reboot_timeout: int = option(
        "Milliseconds until a guest that fails to boot is restarted; -1 for never.",
        spec="INST-T1.8",
        default=-1,
        low=-1,
        high=32767,
    )
    kernel: AbsolutePath | None = option("Kernel on the host, for a boot without firmware disk.", default=None)
    initrd: AbsolutePath | None = option("Initial RAM disk for the kernel.", default=None)
    cmdline: str | None = option("Command line of the kernel.", default=None)
    clock: Literal["utc", "localtime"] | None = option(
        "Offset of the guest's clock; localtime with guest windows and utc otherwise when not given.",
        spec="DOMX-05",
        default=None,
    )
    on_reboot: Literal["restart", "destroy"] = option("What becomes of it when its guest reboots.", default="restart")
    on_crash: Literal["destroy", "restart", "preserve", "coredump-destroy", "coredump-restart"] = option(
        "What becomes of it when its guest says, by `panic`, that it has crashed.", default="destroy"
    )
    panic: bool = option("Whether it has a pvpanic device, by which a guest says that it has crashed.", default=False)
    watchdog: Watchdog | None = option("Watchdog that a guest must keep feeding.", default=None)
    graphics: tuple[Graphics, ...] = option("Remote consoles.", spec="GFX-T1", default=())
    video: Literal["virtio", "vga", "qxl", "cirrus", "vmvga", "bochs", "ramfb", "none"] | None = option(
        "Video card; one that fits the console when not given.", spec="DOMX-11", default=None
    )
    sound: Literal["ich9", "ich6", "ac97", "usb"] | None = option("Sound card.", default=None)
    scsi_model: ScsiModel | None = option(
        "Model of the controller that disks on bus scsi are on; libvirt's own for the board when not given.",
        spec="IMG-13",
        default=None,
    )
    tablet: bool | None = option(
        "Absolute pointer; with guest windows and a console when not given.", spec="INST-T1.11", default=None
    )
    usb_redirection: int = option(
        "How many USB devices of a SPICE client may be passed on to the guest.", default=0, low=0, high=8
    )
    shares: tuple[Share, ...] = option("Directories of the host that the guest mounts by virtio-fs.", default=())
    host_devices: tuple[HostDevice, ...] = option(
        "Devices of the host that the guest has to itself; such a machine cannot move.", spec="HOT-07", default=()
    )
    rng: bool = option("Random numbers from the host.", default=True)
    balloon: bool = option("Memory balloon.", spec="DOMX-12", default=True)
    balloon_period: int | None = option("Seconds between memory statistics.", spec="DOMX-12", default=None, low=1)
    agent: bool = option("Channel of the guest agent.", default=False)
    spice_agent: bool = option("Channel of SPICE's agent, for the clipboard and the size of the screen.", default=False)
    stop_timeout: int = option(
        "Seconds a guest gets to power off before it is forced.", spec="AMB-32", default=120, low=0, high=3600
    )
    xml: tuple[str, ...] = option(
        "Fragments with the root `domain` (CUST-T1.3) or `devices` (CUST-T1.4), laid over the rest. They set no identity and nothing that is counted.",
        spec="CUST-T1.3",
        default=(),
    )

    def check(self) -> Sentences:
        for part in (
            self._check_maxima,
            self._check_memory,
            self._check_boot,
            self._check_firmware,
            self._check_devices,
        ):
            yield from part()

    def _check_maxima(self) -> Sentences:
        if self.vcpus_max and self.vcpus_max < self.vcpus:
            yield "vcpus_max", f"is less than vcpus, write at least {self.vcpus}"
        if self.memory_max and self.memory_max < self.memory:
            yield "memory_max", f"is less than memory, write at least {self.memory}"
        if self.memory_max and not self.balloon:
            yield "memory_max", "needs balloon: true, which is how memory changes while it runs"
        if self.balloon_period and not self.balloon:
            yield "balloon_period", "needs balloon: true"
        named, most = ("vcpus_max", self.vcpus_max) if self.vcpus_max else ("vcpus", self.vcpus)
        if self.cpu and self.cpu.count not in (None, most):
            yield "cpu.sockets", f"sockets, cores and threads must multiply to {named}, which is {most}"

    def _check_memory(self) -> Sentences:
        memory = self.memory_max or self.memory
        if self.hugepages and memory % self.hugepages:
            yield "hugepages", f"{memory} is no multiple of {self.hugepages}, write a size of memory that is"
        if self.numa_mode != "strict" and self.numa_nodes is None:
            yield "numa_mode", "says how numa_nodes are used, and none are named"
        if not self.numa:
            return
        if sum(cell.memory for cell in self.numa) != memory:
            yield (
                "numa",
                f"its cells must have {memory} together, which is {'memory_max' if self.memory_max else 'memory'}",
            )
        listed = [number for cell in self.numa for number in sorted(cell.vcpus.members)]
        most = self.vcpus_max or self.vcpus
        if sorted(listed) != list(range(most)):
            yield "numa", f"its cells must have each of the vCPUs 0 to {most - 1} once"

    def boot_orders(self, disks: Iterable[Drive], interfaces: Iterable[Card]) -> Iterator[tuple[str, int]]:
        """Where its devices say when they are booted from, and when; disks and cards are said elsewhere."""
        for name, held in (("disks", disks), ("interfaces", interfaces), ("host_devices", self.host_devices)):
            for index, order in enumerate(each.boot_order for each in held):
                if order:
                    yield f"{name}[{index}].boot_order", order

    def check_order(self, disks: Iterable[Drive], interfaces: Iterable[Card]) -> Sentences:
        """What is wrong with the boot order of its devices."""
        taken: dict[int, str] = {}
        for at, order in self.boot_orders(disks, interfaces):
            if taken.setdefault(order, at) != at:
                yield at, f"{order} is at {taken[order]} already, write another"
        if self.boot and taken:
            yield "boot", "write either boot or the boot_order of devices"

    def _check_boot(self) -> Sentences:
        if self.boot_menu_timeout is not None and not self.boot_menu:
            yield "boot_menu_timeout", "needs boot_menu: true"
        if len(set(self.boot)) < len(self.boot):
            yield "boot", "has a device twice, write each once"
        if self.reboot_timeout == 0:
            yield "reboot_timeout", "0 is out of range, write -1 or 1 to 32767 (INST-12)"
        if (self.initrd or self.cmdline) and not self.kernel:
            yield "kernel", "is required with initrd or cmdline"

    def _check_firmware(self) -> Sentences:
        if self.secure_boot is not None and self.firmware != "uefi":
            yield "secure_boot", "is UEFI's, write firmware: uefi"
        if self.secure_boot and self.arch == "x86_64" and not self.machine.startswith(("q35", "pc-q35")):
            yield "secure_boot", f"needs the system management mode of q35, and the board is {self.machine}"
        if self.tpm and self.tpm.model == "crb" and self.arch == "aarch64":
            yield "tpm.model", "crb is for x86, write tis"
        if self.on_crash != "destroy" and not self.panic:
            yield "on_crash", "needs panic: true, by which the guest says that it has crashed"
        if self.panic and self.arch == "aarch64":
            yield "panic", "is for x86: that board has no pvpanic"
        if self.hyperv and (self.virt_type == "qemu" or self.arch == "aarch64"):
            yield "hyperv", "is made by kvm on x86, write virt_type: kvm or auto"

    def _check_consoles(self) -> Sentences:
        """GFX-T1.1, GFX-01: QEMU has one console of a type, and each listens on ports of its own."""
        types: dict[str, int] = {}
        ports: dict[int, str] = {}
        for number, console in enumerate(self.graphics):
            if types.setdefault(console.type, number) != number:
                yield (
                    f"graphics[{number}].type",
                    f"graphics[{types[console.type]}] is {console.type} already, a VM has one",
                )
            for field in ("port", "tls_port"):
                port, at = getattr(console, field), f"graphics[{number}].{field}"
                if port is not None and ports.setdefault(port, at) != at:
                    yield at, f"{port} is at {ports[port]} already, write another"

    def _check_devices(self) -> Sentences:
        spice = any(console.type == "spice" for console in self.graphics)
        for name in ("spice_agent", "usb_redirection"):
            if getattr(self, name) and not spice:
                yield name, "needs a console of type: spice"
        yield from self._check_consoles()
        given = [held.pci or held.usb for held in self.host_devices]
        for name, found in (("shares", [share.tag for share in self.shares]), ("host_devices", given)):
            if len(set(found)) < len(found):
                yield name, "has the same twice"
