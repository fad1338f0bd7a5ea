# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance: the template that virtual machines are made of, and the machines themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.domain import Cache, Cpu, Graphics, maxima
from ..model.network import Bandwidth, Vlan
from ..model.types import AbsolutePath, Address, ByteSize, DeviceName, Mac, Name
from ..model.volume import ENCRYPTED, LAYERED, RETIRED, Format
from .bound import Hosts, check_bound
from .fragment import refusal
from .placement import InstancePlacement
from .seed import InstanceSeed

Sentences = Iterator[tuple[str, str]]
MOST_DISKS = 4  # PERF-T1.1; optical drives count, the config drive does not (AMB-22)


@declaration
class InstanceDisk:
    """A disk. Its data is one of: a declared volume, an image, a volume of each machine's own, nothing (optical only)."""

    device: Literal["disk", "cdrom"] = option("What the guest sees.", spec="DISK-T1.2", default="disk")
    volume: Name | None = option("A declared volume; the pool is the volume's.", spec="DISK-T1.11", default=None)
    image: Name | None = option(
        "An image. With a pool each machine gets a volume of its own over it; without, what a machine writes to a "
        "read-only image is gone when it stops.",
        spec="IMG-04",
        default=None,
    )
    pool: Name | None = option("Where each machine gets a volume of its own.", spec="DISK-T1.10", default=None)
    capacity: ByteSize | None = option(
        "Size of each machine's own volume; the image's when not given.", spec="VOL-T1.3", default=None, low=512
    )
    format: Format | None = option(
        "Format of each machine's own volume, qcow2 when not given.", spec="VOL-T1.4", default=None, instead=RETIRED
    )
    encryption: Name | None = option(
        "Secret of usage type volume whose value encrypts each machine's own volume, with LUKS.",
        spec="VOL-13",
        default=None,
    )
    target: str | None = option(
        "Device name such as vda; made from the bus when not given.", spec="DISK-T1.6", default=None
    )
    bus: Literal["virtio", "sata", "ide", "scsi", "usb"] | None = option(
        "Bus; virtio for disks, sata or ide for optical drives when not given.", spec="DOMX-06", default=None
    )
    cache: Cache | None = option("Cache mode.", spec="DISK-T1.3", default=None)
    copy_on_read: bool = option("Copy what is read from a backing file.", spec="DISK-T1.4", default=False)
    read_only: bool = option("Read-only; always so for optical media.", spec="DISK-T1.9", default=False)
    startup_policy: Literal["mandatory", "requisite", "optional"] | None = option(
        "What happens when the file is missing.", spec="DISK-T1.12", default=None
    )
    removable: bool = option("Removable, on bus usb.", spec="DISK-T1.8", default=False)
    tray: Literal["open", "closed"] = option("Tray of an optical drive.", spec="DISK-T1.7", default="closed")
    relabel: bool | None = option("Whether the security label is rewritten.", spec="DISK-T1.14", default=None)
    serial: str | None = option("Serial number the guest sees.", spec="HOT-01", default=None)
    boot_order: int | None = option(
        "Place in the boot order of devices, from 1.", spec="INST-T1.4", default=None, low=1
    )

    @property
    def writable(self) -> bool:
        """Whether the guest may write to it."""
        return self.device == "disk" and not self.read_only

    def check(self) -> Sentences:
        yield from self._check_optical() if self.device == "cdrom" else self._check_source()
        if self.removable and self.bus != "usb":
            yield "removable", "is for bus usb (DISK-T1.8)"
        if self.startup_policy and not (self.volume or self.image or self.pool):
            yield "startup_policy", "means nothing for an empty drive, leave it out"

    def _check_optical(self) -> Sentences:
        for name in ("volume", "pool", "capacity", "format", "encryption"):
            if getattr(self, name) is not None:
                yield name, "is not for an optical drive, write an image or nothing (DISK-T1.1)"
        if self.bus == "virtio":
            yield "bus", "an optical drive cannot be on virtio, write sata, ide or scsi"

    def _check_source(self) -> Sentences:
        if self.tray == "open":
            yield "tray", "is for an optical drive (DISK-T1.7)"
        if self.volume:
            for name in ("image", "pool", "capacity", "format", "encryption"):
                if getattr(self, name) is not None:
                    yield name, "is the volume's own affair, leave it out or leave out the volume"
        elif self.pool is None:
            yield from self._check_without_pool()
        elif self.image is None and self.capacity is None:
            yield "capacity", "is required for an empty volume of its own, write one like 10 GiB"
        elif self.image and (self.format or "qcow2") not in LAYERED:
            yield "format", f"{self.format} cannot be layered over an image, write qcow2"
        if self.encryption and (self.format or "qcow2") not in ENCRYPTED:
            yield "encryption", f"is for qcow2 and raw, and the format is {self.format} (VOL-13)"

    def _check_without_pool(self) -> Sentences:
        if self.image is None:
            yield (
                "volume",
                "a disk needs a volume, an image, or a pool and a capacity; only an optical drive may be empty",
            )
        for name in ("capacity", "format", "encryption"):
            if getattr(self, name) is not None:
                yield name, "is of a volume of the machine's own, write the pool it goes to"


@declaration
class InstanceInterface:
    """A network card of each machine."""

    network: Name = option("Network it is plugged into.", spec="NIC-T1.1")
    port_group: Name | None = option("Port group of the network.", spec="NIC-T1.2", default=None)
    mac: Mac | None = option(
        "Address, which makes the instance unique; computed for each machine when not given.",
        spec="NIC-T1.3",
        default=None,
    )
    ip: Address | None = option(
        "Address that DHCP reserves, for an instance with one machine.", spec="NIC-02", default=None
    )
    ip6: Address | None = option(
        "IPv6 address beside that of IPv4, for an instance with one machine.", spec="LIMIT-18", default=None
    )
    tap: DeviceName | None = option(
        "Name of the tap device; libvirt's own when not given.", spec="NIC-T1.4", default=None
    )
    security_group: Name | None = option("Security group laid on the card.", spec="NIC-T1.5", default=None)
    filter_parameters: dict[str, str] | None = option("More variables for its filter.", spec="NWF-01", default=None)
    model: Literal["virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"] = option(
        "Model of the card.", spec="NIC-T1.6", default="virtio"
    )
    link: Literal["up", "down"] = option("Whether the cable is plugged.", spec="NIC-T1.7", default="up")
    mtu: int | None = option("MTU.", default=None, low=68, high=65535)
    bandwidth: Bandwidth | None = option("Limits of this card.", spec="PGRT-01", default=None)
    vlan: Vlan | None = option(
        "VLANs of this card, over those of its port group and network, on Open vSwitch.", spec="PGRT-04", default=None
    )
    boot_order: int | None = option(
        "Place in the boot order of devices, from 1.", spec="INST-T1.4", default=None, low=1
    )
    boot_rom: bool = option(
        "Whether the card's network boot ROM is loaded; a guest starts sooner without.", default=True
    )

    def check(self) -> Sentences:
        if self.filter_parameters and self.security_group is None:
            yield "filter_parameters", "are for a security group, and none is named"
        if self.ip6 and self.ip6.version != 6:
            yield "ip6", f"{self.ip6} is an IPv4 address, write it as ip"
        if self.ip6 and self.ip and self.ip.version == 6:
            yield "ip", f"{self.ip} is a second IPv6 address, leave one of them out"


@declaration
class InstanceSerial:
    """The first serial port."""

    log: bool = option("Whether the host keeps what each machine writes to it.", spec="DOMX-10", default=False)


@declaration
class Vm:
    """A virtual machine: what it has beyond its instance."""

    power: Literal["on", "off"] = option("Whether it should run.", spec="VM-T1.6", default="on")
    host: Name | None = option("Host it runs on; chosen when not given.", spec="VM-T1.4", default=None)
    label: str | None = option("Label in any script.", default=None)
    mac: dict[Name, Mac] | None = option("Address of the card by network.", spec="NIC-T1.3", default=None)
    ip: dict[Name, Address] | None = option("Address that DHCP reserves, by network.", spec="NIC-02", default=None)
    ip6: dict[Name, Address] | None = option(
        "IPv6 address beside that of IPv4, by network.", spec="LIMIT-18", default=None
    )

    def check(self) -> Sentences:
        for name, address in (self.ip6 or {}).items():
            other = (self.ip or {}).get(name)
            if address.version != 6:
                yield f"ip6.{name}", f"{address} is an IPv4 address, write it under ip"
            elif other is not None and other.version == 6:
                yield f"ip.{name}", f"{other} is a second IPv6 address, leave one of them out"


DEFAULT_VM = Vm()


@declaration
class Instance:
    """The template of virtual machines that are all alike, with the machines."""

    project: Name = option("Project it belongs to.", spec="PROJ-01")
    label: str | None = option("Label in any script.", spec="INST-07", default=None)
    description: str | None = option("Free text.", default=None)
    enabled: bool = option("Whether its machines may be on.", spec="INST-04", default=True)
    unique: bool | None = option(
        "Whether there may be one machine only; seen from MACs and writable disks when not given.",
        spec="INST-10",
        default=None,
    )
    host: Name | None = option("The one host its machines may run on.", spec="CUST-T1.1", default=None)
    hosts: Hosts | None = option(
        "The hosts its machines may run on; all when not given.", spec="CUST-T1.2", default=None
    )
    host_group: Name | None = option(
        "The host group its machines may run in, instead of host or hosts.", spec="CUST-T1.2", default=None
    )
    placement: InstancePlacement | None = option("What it asks of its hosts.", spec="SCHED-01", default=None)
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
    memory: ByteSize = option("Memory.", spec="INST-T1.10", low=2**20, example="1 GiB")
    memory_max: ByteSize | None = option(
        "How much it may come to while it runs, by its balloon; only up to there `memory` changes live.",
        spec="LIMIT-24",
        default=None,
        low=2**20,
    )
    cpu: Cpu | None = option("Processor; libvirt's default when not given.", spec="DOMX-09", default=None)
    firmware: Literal["bios", "uefi"] = option("Firmware.", default="bios")
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
        high=65535,
    )
    kernel: AbsolutePath | None = option("Kernel on the host, for a boot without firmware disk.", default=None)
    initrd: AbsolutePath | None = option("Initial RAM disk for the kernel.", default=None)
    cmdline: str | None = option("Command line of the kernel.", default=None)
    clock: Literal["utc", "localtime"] = option(
        "Offset of the guest's clock; localtime for Windows.", spec="DOMX-05", default="utc"
    )
    disks: tuple[InstanceDisk, ...] = option("Disks and optical drives.", spec="DISK-01", default=())
    interfaces: tuple[InstanceInterface, ...] = option("Network cards.", spec="NIC-T1", default=())
    graphics: tuple[Graphics, ...] = option("Remote consoles.", spec="GFX-T1", default=())
    video: Literal["virtio", "vga", "qxl", "cirrus", "vmvga", "bochs", "none"] | None = option(
        "Video card; one that fits the console when not given.", spec="DOMX-11", default=None
    )
    tablet: bool = option("Absolute pointer.", spec="INST-T1.11", default=False)
    serial: InstanceSerial | None = option("Serial console.", spec="DOMX-10", default=None)
    rng: bool = option("Random numbers from the host.", default=True)
    balloon: bool = option("Memory balloon.", spec="DOMX-12", default=True)
    balloon_period: int | None = option("Seconds between memory statistics.", spec="DOMX-12", default=None, low=1)
    agent: bool = option("Channel of the guest agent.", default=False)
    seed: InstanceSeed | None = option(
        "What cloud-init or its like sets each guest up from.", spec="CFGD-01", default=None
    )
    stop_timeout: int = option(
        "Seconds a guest gets to power off before it is forced.", spec="AMB-32", default=120, low=0, high=3600
    )
    autostart: bool = option("Whether libvirt starts its machines when the host comes up.", default=False)
    xml: tuple[str, ...] = option(
        "Fragments with the root `domain` or `devices`, laid over the rest.", spec="CUST-T1.3", default=()
    )
    vms: dict[Name, Vm] | None = option("The machines by name.", spec="VM-T1.2", default=None)
    count: int | None = option(
        "How many machines, named after the instance with -1, -2 and so on; instead of vms.",
        spec="VM-02",
        default=None,
        low=0,
        high=10000,
    )

    def machines(self, name: str) -> dict[Name, Vm]:
        """The machines by name; `name` is the instance's own."""
        if self.count is None:
            return self.vms or {}
        return {Name(f"{name}-{number}"): DEFAULT_VM for number in range(1, self.count + 1)}

    def check(self) -> Sentences:
        yield from check_bound(self)
        for wrong, path, text in self._together():
            if wrong:
                yield path, text
        yield from maxima(self)
        yield from self._check_devices()

    def _together(self) -> Iterator[tuple[bool, str, str]]:
        """What must not stand together: whether it does, where, and what to write."""
        orders = any(disk.boot_order for disk in self.disks) or any(card.boot_order for card in self.interfaces)
        bound = self.host is not None or self.hosts is not None
        yield self.host_group is not None and bound, "host_group", "write one of host, hosts and host_group (CUST-01)"
        yield self.vms is not None and self.count is not None, "count", "write either vms or count"
        yield (
            len(self.disks) > MOST_DISKS,
            "disks",
            f"has {len(self.disks)} entries, write at most {MOST_DISKS} (PERF-T1.1)",
        )
        yield self.boot_menu_timeout is not None and not self.boot_menu, "boot_menu_timeout", "needs boot_menu: true"
        yield self.reboot_timeout == 0, "reboot_timeout", "0 is out of range, write -1 or 1 to 65535 (INST-12)"
        yield bool((self.initrd or self.cmdline) and not self.kernel), "kernel", "is required with initrd or cmdline"
        yield bool(self.boot and orders), "boot", "write either boot or the boot_order of devices"
        yield bool(self.balloon_period and not self.balloon), "balloon_period", "needs balloon: true"
        yield (
            self._cpus() not in (None, self.vcpus_max or self.vcpus),
            "cpu.sockets",
            f"sockets, cores and threads must multiply to {'vcpus_max' if self.vcpus_max else 'vcpus'}, which is "
            f"{self.vcpus_max or self.vcpus}",
        )

    def _cpus(self) -> int | None:
        if self.cpu is None or not self.cpu.sockets:
            return None
        return self.cpu.sockets * (self.cpu.cores or 1) * (self.cpu.threads or 1)

    def _check_devices(self) -> Sentences:
        """Fragments of XML, and each target and each address once (DISK-01)."""
        for at, fragment in enumerate(self.xml):
            refused = refusal(fragment, roots=("domain", "devices"))
            if refused:
                yield f"xml[{at}]", refused
        yield from _twice((f"disks[{at}].target", disk.target) for at, disk in enumerate(self.disks))
        yield from _twice((f"interfaces[{at}].mac", card.mac) for at, card in enumerate(self.interfaces))


def _twice(values: Iterator[tuple[str, str | None]]) -> Sentences:
    seen: dict[str, str] = {}
    for path, value in values:
        if value is not None and value in seen:
            yield path, f"{value} is at {seen[value]} already, write another"
        elif value is not None:
            seen[value] = path
