# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices of a machine, as an instance and a domain say them alike; see https://libvirt.org/formatdomain.html#devices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .network import Bandwidth, Vlan
from .types import AbsolutePath, DeviceName, Mac, Name, PciAddress, UsbId

Sentences = Iterator[tuple[str, str]]
# What libvirt's schema takes, and what a guest mounts by.
DISK_SERIAL = re.compile(r"[A-Za-z0-9_.+ -]+")
TARGET = re.compile(r"(vd|sd|hd|fd|xvd|ubd)([a-z]{1,2})")  # virDiskNameParse of libvirt
TARGET_PREFIXES: dict[str, str] = {"virtio": "vd", "sata": "sd", "scsi": "sd", "usb": "sd", "ide": "hd"}
GENERATED = ("vnet", "macvtap", "macvlan")  # https://libvirt.org/formatdomain.html#overriding-the-target-element
TAG = re.compile(r"[A-Za-z0-9_.-]{1,36}")

Cache = Literal["default", "none", "directsync", "unsafe", "writeback", "writethrough"]
Bus = Literal["virtio", "sata", "ide", "scsi", "usb"]
CardModel = Literal["virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"]
ScsiModel = Literal["virtio-scsi", "lsilogic", "lsisas1068", "lsisas1078", "vmpvscsi"]


@declaration
class Drive:
    """A disk or an optical drive, whatever its data is."""

    device: Literal["disk", "cdrom"] = option("What the guest sees.", spec="DISK-T1.2", default="disk")
    target: str | None = option(
        "Device name such as vda; made from the bus when not given.", spec="DISK-T1.6", default=None
    )
    bus: Bus | None = option(
        "Bus; virtio for disks, sata or ide for optical drives and for Windows when not given (DOMX-06).",
        spec="DISK-T1.5",
        default=None,
    )
    cache: Cache | None = option(
        "Cache mode; when nobody says one, `none` of a LUN and QEMU's own, writeback, of the others (DOMX-14).",
        spec="DISK-T1.3",
        default=None,
    )
    io: Literal["threads", "native", "io_uring"] | None = option("How the host reads and writes for it.", default=None)
    discard: Literal["unmap", "ignore"] | None = option("Whether the guest may give space back.", default=None)
    copy_on_read: bool = option(
        "Copy what is read from a backing file, which helps where that is behind a slow network (DISK-05); a machine with such a "
        "disk has no checkpoints.",
        spec="DISK-T1.4",
        default=False,
    )
    read_only: bool = option(
        "Read-only; always so for optical media, and otherwise only when it is said (DISK-03).",
        spec="DISK-T1.9",
        default=False,
    )
    removable: bool = option("Removable, on bus usb.", spec="DISK-T1.8", default=False)
    tray: Literal["open", "closed"] = option("Tray of an optical drive.", spec="DISK-T1.7", default="closed")
    startup_policy: Literal["mandatory", "requisite", "optional"] | None = option(
        "What happens when the file is missing; for files, not for block volumes.", spec="DISK-T1.12", default=None
    )
    relabel: bool | None = option("Whether the security label is rewritten.", spec="DISK-T1.14", default=None)
    serial: str | None = option(
        "Serial number the guest sees; of a LUN the name of its volume when not given.", spec="HOT-01", default=None
    )
    boot_order: int | None = option(
        "Place in the boot order of devices, from 1.", spec="INST-T1.4", default=None, low=1
    )

    def check(self) -> Sentences:
        yield from self._check_target()
        if self.removable and self.bus != "usb":
            yield "removable", "is for bus usb (DISK-T1.8)"
        if self.tray == "open" and self.device != "cdrom":
            yield "tray", "is for an optical drive (DISK-T1.7)"
        if self.device == "cdrom" and self.bus == "virtio":
            yield "bus", "an optical drive cannot be on virtio, write sata, ide or scsi"
        if self.read_only and self.device == "disk" and self.bus in ("sata", "ide"):
            yield "read_only", f"QEMU has no read-only disks on {self.bus}, write bus: virtio, scsi or usb (DISK-T1.9)"
        if self.copy_on_read and (self.read_only or self.device == "cdrom"):
            yield "copy_on_read", "writes what is read, and the disk is read-only: leave one of them out (DISK-T1.4)"
        if self.startup_policy == "requisite" and self.device == "disk":
            yield "startup_policy", "requisite is for optical drives, write mandatory or optional (AMB-31)"
        if self.serial is not None and not DISK_SERIAL.fullmatch(self.serial):
            yield "serial", "must be letters, digits, spaces and '_', '.', '+', '-'"
        if self.io == "native" and self.cache not in ("none", "directsync"):
            yield "io", "native goes past the host's cache, write cache: none or directsync with it"

    def _check_target(self) -> Sentences:
        """DISK-T1.6: libvirt counts devices by these names, and refuses others."""
        if self.target is not None and not TARGET.fullmatch(self.target):
            last = self.target.rpartition("/")[2]
            hint = last if TARGET.fullmatch(last) else "vda"
            yield "target", f"{self.target} is not the name of a disk, write one like {hint}"


@declaration
class Card:
    """A network card, whatever it is plugged into."""

    port_group: Name | None = option("Port group of the network.", spec="NIC-T1.2", default=None)
    mac: Mac | None = option("Address; made when not given.", spec="NIC-T1.3", default=None)
    tap: DeviceName | None = option(
        "Name of the tap device; libvirt's own when not given.", spec="NIC-T1.4", default=None
    )
    filter_parameters: dict[str, str] | None = option(
        "Variables of the filter; several values of one with commas between.", spec="NWF-01", default=None
    )
    model: CardModel | None = option(
        "Model of the card; virtio when not given, with guest windows e1000e or e1000.", spec="NIC-T1.6", default=None
    )
    queues: int | None = option(
        "Pairs of queues of a virtio card, so that several vCPUs serve it.", default=None, low=1, high=256
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
        "Whether the card's network boot ROM is loaded; without it a guest starts sooner.", default=True
    )

    def check(self) -> Sentences:
        generated = next((prefix for prefix in GENERATED if self.tap and self.tap.startswith(prefix)), None)
        if generated:
            yield (
                "tap",
                f"names that begin with {generated} are libvirt's own, which forgets them: write another (NIC-T1.4)",
            )
        if self.queues and self.model not in (None, "virtio"):
            yield "queues", "are virtio's, leave them or the model out"


@declaration
class Tpm:
    """A trusted platform module, emulated by swtpm on the host."""

    model: Literal["crb", "tis"] = option("How the guest speaks to it.", default="crb")
    version: Literal["2.0", "1.2"] = option("Version of the standard.", default="2.0")

    def check(self) -> Sentences:
        if self.model == "crb" and self.version == "1.2":
            yield "version", "crb is of 2.0, write model: tis"


@declaration
class Smbios:
    """What the firmware tells the guest about the machine (`dmidecode -t system`). Its UUID is always the machine's own."""

    manufacturer: str = option("Who made it.", default="dos.vm", low=1)
    product: str = option("What it is.", default="virtual machine", low=1)
    version: str | None = option("Version of the product.", default=None, low=1)
    serial: str = option(
        "Serial number; V(host) stands for the identity of the host that the machine started on.", default="host", low=1
    )
    sku: str | None = option("Number it is ordered by.", default=None, low=1)
    family: str | None = option("Family of the product.", default=None, low=1)

    def check(self) -> Sentences:
        for name in ("manufacturer", "product", "version", "serial", "sku", "family"):
            value = getattr(self, name)
            if value is not None and (not value.isprintable() or value != value.strip()):
                yield name, "must be one line without blanks at its ends"


@declaration
class Watchdog:
    """A watchdog; what is not fed in time by the guest is acted on."""

    model: Literal["i6300esb", "ib700"] = option("Model.", default="i6300esb")
    action: Literal["reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi"] = option(
        "What becomes of a guest that has not fed it.", default="reset"
    )


@declaration
class Share:
    """A directory of the host that the guest mounts with `mount -t virtiofs TAG /somewhere`."""

    path: AbsolutePath = option("Directory of the host.")
    tag: str = option("What the guest mounts it by.")

    def check(self) -> Sentences:
        if not TAG.fullmatch(self.tag):
            yield "tag", "must be at most 36 letters, digits, '_', '.' and '-'"


@declaration
class HostDevice:
    """A device of the host that is given to the guest whole."""

    pci: PciAddress | None = option(
        "Address on the host's PCI buses; taken from its driver and given back.", default=None
    )
    usb: UsbId | None = option("Vendor and product of a USB device.", default=None)
    boot_order: int | None = option(
        "Place in the boot order of devices, from 1.", spec="INST-T1.4", default=None, low=1
    )

    def check(self) -> Sentences:
        if (self.pci is None) == (self.usb is None):
            yield "pci", "write either pci or usb"
