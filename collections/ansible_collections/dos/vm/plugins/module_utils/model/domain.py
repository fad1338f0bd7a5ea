# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine, as a host holds it; see https://libvirt.org/formatdomain.html."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from .address import Mark
from .declaration import declaration, option
from .network import Bandwidth, Vlan
from .seed import Seed
from .types import AbsolutePath, Address, ByteSize, DeviceName, Mac, Name, Uuid, VolumeName
from .volume import Encryption, Format

# What libvirt's schema takes.
VARIABLE = re.compile(r"[A-Za-z0-9_]+")
VALUES = re.compile(r"[A-Za-z0-9_.:]+(,[A-Za-z0-9_.:]+)*")
DISK_SERIAL = re.compile(r"[A-Za-z0-9_.+ -]+")

Cache = Literal["default", "none", "directsync", "unsafe", "writeback", "writethrough"]


@declaration
class Cpu:
    """The processor the guest sees."""

    mode: Literal["host-passthrough", "host-model", "maximum", "custom"] = option(
        "How the model is chosen.", spec="DOMX-09", default="host-model"
    )
    model: str | None = option("Named model, with mode custom.", spec="DOMX-09", default=None)
    sockets: int | None = option("Sockets; the vCPUs when no topology is given.", spec="DOMX-09", default=None, low=1)
    cores: int | None = option("Cores of a socket.", spec="DOMX-09", default=None, low=1)
    threads: int | None = option("Threads of a core.", spec="DOMX-09", default=None, low=1)

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.mode == "custom") != (self.model is not None):
            yield "model", "goes with mode: custom, and only with it"
        given = [name for name in ("sockets", "cores", "threads") if getattr(self, name) is not None]
        if given and len(given) < 3:
            yield "sockets", "write sockets, cores and threads together"


@declaration
class Disk:
    """A disk or an optical drive, from a volume, from a file, or empty (optical only)."""

    target: str | None = option(
        "Device name such as vda; made from the bus when not given.", spec="DISK-T1.6", default=None
    )
    device: Literal["disk", "cdrom"] = option("What the guest sees.", spec="DISK-T1.2", default="disk")
    bus: Literal["virtio", "sata", "ide", "scsi", "usb"] | None = option(
        "Bus; virtio for disks, sata or ide for optical drives when not given.", spec="DOMX-06", default=None
    )
    pool: Name | None = option("Pool of the volume.", spec="DISK-T1.10", default=None)
    volume: VolumeName | None = option("Volume of that pool.", spec="DISK-T1.11", default=None)
    file: AbsolutePath | None = option("File of the host.", spec="DISK-T1.13", default=None)
    format: Format | None = option(
        "Format of the source; never guessed. Required with a source.", spec="IMG-11", default=None
    )
    cache: Cache | None = option("Cache mode.", spec="DISK-T1.3", default=None)
    discard: Literal["unmap", "ignore"] | None = option("Whether the guest may give space back.", default=None)
    copy_on_read: bool = option("Copy what is read from a backing file.", spec="DISK-T1.4", default=False)
    read_only: bool = option("Read-only; always so for optical media.", spec="DISK-T1.9", default=False)
    transient: bool = option(
        "Writes go to an overlay that is dropped when the machine stops.", spec="IMG-04", default=False
    )
    overlays: AbsolutePath | None = option(
        "Directory of that overlay; that of the file when not given.", spec="DMN-T1.15", default=None
    )
    shareable: bool = option("Whether several machines may write at once; the guests must know how.", default=False)
    removable: bool = option("Removable, on bus usb.", spec="DISK-T1.8", default=False)
    tray: Literal["open", "closed"] = option("Tray of an optical drive.", spec="DISK-T1.7", default="closed")
    startup_policy: Literal["mandatory", "requisite", "optional"] | None = option(
        "What happens when the file is missing; for files, not for block volumes.", spec="DISK-T1.12", default=None
    )
    encryption: Encryption | None = option("What unlocks an encrypted source.", spec="VOL-13", default=None)
    relabel: bool | None = option("Whether the security label is rewritten.", spec="DISK-T1.14", default=None)
    serial: str | None = option("Serial number the guest sees.", spec="HOT-01", default=None)
    boot_order: int | None = option(
        "Place in the boot order of devices, from 1.", spec="INST-T1.4", default=None, low=1
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.volume is None) != (self.pool is None):
            yield "volume" if self.volume is None else "pool", "write pool and volume together"
        if self.volume and self.file:
            yield "file", "a disk is a volume or a file, not both"
        source = self.volume or self.file
        if not source and self.device == "disk":
            yield "volume", "a disk needs a volume or a file; only an optical drive may be empty"
        if source and self.format is None:
            yield "format", "is required with a source, write qcow2 or raw"
        if self.volume and self.device == "cdrom":
            yield "volume", "an optical drive takes a file (DISK-T1.1)"
        if self.encryption and not source:
            yield "encryption", "needs a source that is encrypted"
        if self.read_only and self.device == "disk" and self.bus in ("sata", "ide"):
            yield "read_only", f"QEMU has no read-only disks on {self.bus}, write bus: virtio, scsi or usb (DISK-T1.9)"
        if self.removable and self.bus != "usb":
            yield "removable", "is for bus usb (DISK-T1.8)"
        if self.tray == "open" and self.device != "cdrom":
            yield "tray", "is for an optical drive (DISK-T1.7)"
        if self.device == "cdrom" and self.bus == "virtio":
            yield "bus", "an optical drive cannot be on virtio, write sata, ide or scsi"
        if self.transient and (self.read_only or self.device == "cdrom"):
            yield "transient", "means nothing for what is never written"
        if self.transient and self.bus in ("sata", "ide"):
            yield (
                "transient",
                f"cannot be on {self.bus}: the overlay is plugged in at start, write bus: virtio, scsi or usb",
            )
        if self.transient and self.volume:
            yield "transient", "is for files: libvirt makes no overlay of a volume, write file with the volume's path"
        if self.overlays and not self.transient:
            yield "overlays", "is for a disk that forgets, write transient: true"
        if self.serial is not None and not DISK_SERIAL.fullmatch(self.serial):
            yield "serial", "must be letters, digits, spaces and '_', '.', '+', '-'"
        if self.shareable and source and self.format != "raw":
            yield "shareable", "is for raw images: several writers would ruin the tables of any other format"
        if self.startup_policy == "requisite" and self.device == "disk":
            yield "startup_policy", "requisite is for optical drives, write mandatory or optional (AMB-31)"
        if self.startup_policy and not source:
            yield "startup_policy", "needs a medium that may be missing"


@declaration
class Interface:
    """A network card."""

    network: Name | None = option("Virtual network it is plugged into.", spec="NIC-T1.1", default=None)
    bridge: DeviceName | None = option("Bridge of the host, instead of a network.", spec="NIC-T1.1", default=None)
    port_group: Name | None = option("Port group of the network.", spec="NIC-T1.2", default=None)
    mac: Mac | None = option("Address; libvirt's own when not given.", spec="NIC-T1.3", default=None)
    tap: DeviceName | None = option(
        "Name of the tap device; libvirt's own when not given.", spec="NIC-T1.4", default=None
    )
    filter: Name | None = option("Filter laid on the card.", spec="NIC-T1.5", default=None)
    filter_parameters: dict[str, str] | None = option(
        "Variables of the filter; several values of one with commas between.", spec="NWF-01", default=None
    )
    model: Literal["virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"] = option(
        "Model of the card.", spec="NIC-T1.6", default="virtio"
    )
    link: Literal["up", "down"] = option("Whether the cable is plugged.", spec="NIC-T1.7", default="up")
    mtu: int | None = option("MTU.", default=None, low=68, high=65535)
    bandwidth: Bandwidth | None = option("Limits of this card.", spec="PGRT-01", default=None)
    vlan: Vlan | None = option(
        "VLANs of this card, over those of its port group and network, on Open vSwitch.", spec="PGRT-04", default=None
    )
    port_id: Uuid | None = option(
        "Identity of its port on Open vSwitch; made anew at each start when not given.", spec="PGRT-T2.1", default=None
    )
    boot_order: int | None = option(
        "Place in the boot order of devices, from 1.", spec="INST-T1.4", default=None, low=1
    )
    boot_rom: bool = option(
        "Whether the card's network boot ROM is loaded; without it a guest starts sooner.", default=True
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.network is None) == (self.bridge is None):
            yield "network", "write the network or the bridge it is plugged into"
        if self.port_group and self.network is None:
            yield "port_group", "belongs to a network"
        if self.tap and self.tap.startswith("vnet"):
            yield (
                "tap",
                f"{self.tap} is of the names that libvirt gives out itself and would drop, write another such as tap0",
            )
        if self.filter_parameters and self.filter is None:
            yield "filter_parameters", "are for a filter, and none is named"
        if self.filter and not self.filter[0].isalpha():
            yield "filter", f"{self.filter} begins with a digit, which libvirt refuses in the name of a filter"
        for name, value in (self.filter_parameters or {}).items():
            if not VARIABLE.fullmatch(name) or not VALUES.fullmatch(value):
                yield (
                    f"filter_parameters.{name}",
                    "must be letters, digits, '_', '.' and ':'; several values have commas between",
                )


@declaration
class Graphics:
    """A remote console."""

    type: Literal["vnc", "spice"] = option("Protocol.", spec="GFX-T1.1", default="vnc")
    port: int | None = option(
        "Fixed port; chosen at each start when not given.", spec="GFX-T1.3", default=None, low=5900, high=65535
    )
    tls_port: int | None = option("TLS port of SPICE.", spec="GFX-T1.9", default=None, low=5900, high=65535)
    listen: Address = option("Address it listens on.", spec="GFX-T1.8", default=Address("127.0.0.1"))
    password: Name | None = option("Name of the secret that holds the password.", spec="GFX-T1.4", default=None)
    password_valid_to: str | None = option(
        "When the password ends, 2026-12-31T23:59:59 in UTC.", spec="GFX-T1.5", default=None
    )
    keep_connections: bool = option("Keep connections when the password changes.", spec="GFX-T1.6", default=False)
    share_policy: Literal["allow-exclusive", "force-shared", "ignore"] | None = option(
        "Who may connect beside others.", spec="GFX-T1.7", default=None
    )
    keymap: str | None = option("Keymap such as en-us.", spec="GFX-05", default=None)
    default_mode: Literal["any", "insecure", "secure"] = option(
        "Policy of SPICE's channels.", spec="GFX-T1.10", default="any"
    )
    channels: dict[str, Literal["any", "insecure", "secure"]] | None = option(
        "Policy by channel.", spec="GFX-T1.11", default=None
    )
    image_compression: Literal["auto_glz", "auto_lz", "quic", "glz", "lz", "off"] | None = option(
        "Image compression of SPICE.", spec="GFX-T1.13", default=None
    )
    jpeg_compression: Literal["auto", "never", "always"] | None = option(
        "JPEG over slow links.", spec="GFX-T1.14", default=None
    )
    zlib_compression: Literal["auto", "never", "always"] | None = option(
        "zlib over slow links.", spec="GFX-T1.15", default=None
    )
    playback_compression: bool | None = option("Compression of sound.", spec="GFX-T1.16", default=None)
    streaming: Literal["filter", "all", "off"] | None = option("Streaming of video.", spec="GFX-T1.17", default=None)
    file_transfer: bool | None = option("Whether files may be sent to the guest.", spec="GFX-T1.18", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("password_valid_to", "keep_connections"):
            if getattr(self, name) and self.password is None:
                yield name, "needs a password"
        spice_only = ("tls_port", "channels", "image_compression", "jpeg_compression", "zlib_compression", "streaming",
                      "playback_compression", "file_transfer")  # fmt: skip
        if self.type == "vnc":
            for name in spice_only:
                if getattr(self, name) is not None:
                    yield name, "is for type: spice (GFX-T1)"
            if self.default_mode != "any":
                yield "default_mode", "is for type: spice (GFX-T1.10)"
        else:
            if self.share_policy is not None:
                yield "share_policy", "is for type: vnc (GFX-T1.7)"
            secure = self.default_mode == "secure" or "secure" in (self.channels or {}).values()
            if secure and self.tls_port is None and self.port is not None:
                yield "tls_port", "is required where a channel is secure (GFX-04)"


@declaration
class Serial:
    """The first serial port."""

    log: AbsolutePath | None = option(
        "File on the host that receives what the guest writes.", spec="DOMX-10", default=None
    )


def maxima(machine: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with how far a machine may grow while it runs."""
    if machine.vcpus_max and machine.vcpus_max < machine.vcpus:
        yield "vcpus_max", f"is less than vcpus, write at least {machine.vcpus}"
    if machine.memory_max and machine.memory_max < machine.memory:
        yield "memory_max", f"is less than memory, write at least {machine.memory}"
    if machine.memory_max and not machine.balloon:
        yield "memory_max", "needs balloon: true, which is how memory changes while it runs"


@declaration
class Domain:
    """A virtual machine."""

    name: Name = option("Name, unique in the system.", spec="VM-T1.2")
    uuid: Uuid | None = option("libvirt's own when not given.", spec="VM-T1.2", default=None)
    title: str | None = option("Label in any script.", spec="INST-07", default=None)
    description: str | None = option("Free text.", default=None)
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
    cpu: Cpu | None = option(
        "Processor; libvirt's default for the kind of virtualisation when not given.", spec="DOMX-09", default=None
    )
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
        high=32767,
    )
    kernel: AbsolutePath | None = option("Kernel on the host, for a boot without firmware disk.", default=None)
    initrd: AbsolutePath | None = option("Initial RAM disk for the kernel.", default=None)
    cmdline: str | None = option("Command line of the kernel.", default=None)
    clock: Literal["utc", "localtime"] = option(
        "Offset of the guest's clock; localtime for Windows.", spec="DOMX-05", default="utc"
    )
    disks: tuple[Disk, ...] = option("Disks and optical drives.", spec="DISK-01", default=())
    interfaces: tuple[Interface, ...] = option("Network cards.", spec="NIC-T1", default=())
    graphics: tuple[Graphics, ...] = option("Remote consoles.", spec="GFX-T1", default=())
    video: Literal["virtio", "vga", "qxl", "cirrus", "vmvga", "bochs", "none"] | None = option(
        "Video card; one that fits the console when not given.", spec="DOMX-11", default=None
    )
    tablet: bool = option("Absolute pointer.", spec="INST-T1.11", default=False)
    serial: Serial | None = option("Serial console; one without log when not given.", spec="DOMX-10", default=None)
    rng: bool = option("Random numbers from the host.", default=True)
    balloon: bool = option("Memory balloon.", spec="DOMX-12", default=True)
    balloon_period: int | None = option("Seconds between memory statistics.", spec="DOMX-12", default=None, low=1)
    agent: bool = option("Channel of the guest agent.", default=False)
    seed: Seed | None = option("Disc that sets the guest up when it boots first.", spec="CFGD-01", default=None)
    active: bool = option("Whether the machine runs.", spec="VM-T1.6", default=True)
    autostart: bool = option("Whether libvirt starts it when the host comes up.", default=False)
    stop_timeout: int = option(
        "Seconds a guest gets to power off before it is forced.", spec="AMB-32", default=120, low=0, high=3600
    )
    mark: Mark | None = option("Whose the machine is.", spec="DOMX-03", default=None)
    xml: tuple[str, ...] = option(
        "Fragments with the root `domain` or `devices`, laid over the rest.", spec="CUST-T1.3", default=()
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.boot_menu_timeout is not None and not self.boot_menu:
            yield "boot_menu_timeout", "needs boot_menu: true"
        if (self.initrd or self.cmdline) and not self.kernel:
            yield "kernel", "is required with initrd or cmdline"
        if self.title and "\n" in self.title:
            yield "title", "must be one line"
        if self.machine.startswith(("q35", "pc-q35")):
            for index, disk in enumerate(self.disks):
                if disk.bus == "ide":
                    yield f"disks[{index}].bus", f"{self.machine} has no ide, write sata"
        orders = [disk.boot_order for disk in self.disks] + [card.boot_order for card in self.interfaces]
        if self.boot and any(orders):
            yield "boot", "write either boot or the boot_order of devices"
        targets = [disk.target for disk in self.disks if disk.target]
        for target in sorted({target for target in targets if targets.count(target) > 1}):
            yield "disks", f"target {target} is there twice (DISK-01)"
        macs = [card.mac for card in self.interfaces if card.mac]
        for mac in sorted({mac for mac in macs if macs.count(mac) > 1}):
            yield "interfaces", f"mac {mac} is there twice"
        most = self.vcpus_max or self.vcpus
        if self.cpu and self.cpu.sockets and self.cpu.sockets * (self.cpu.cores or 1) * (self.cpu.threads or 1) != most:
            named = "vcpus_max" if self.vcpus_max else "vcpus"
            yield "cpu.sockets", f"sockets, cores and threads must multiply to {named}, which is {most}"
        yield from maxima(self)
        if self.balloon_period and not self.balloon:
            yield "balloon_period", "needs balloon: true"
