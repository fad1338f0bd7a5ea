# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine, as a host holds it; see https://libvirt.org/formatdomain.html."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from .address import Mark
from .declaration import declaration, option
from .device import Card, Drive
from .fragment_rules import Fixed, refusal, refusals
from .hardware import Hardware
from .injection import Injection
from .on_boot import RENAMED, OnBoot
from .seed import Seed
from .types import AbsolutePath, DeviceName, Name, Uuid, VolumeName
from .volume import Encryption, Format

Sentences = Iterator[tuple[str, str]]
# What libvirt's schema takes.
VARIABLE = re.compile(r"[A-Za-z0-9_]+")
VALUES = re.compile(r"[A-Za-z0-9_.:]+(,[A-Za-z0-9_.:]+)*")


@declaration
class Disk(Drive):
    """A disk or an optical drive, from a volume, from a file, or empty (optical only)."""

    pool: Name | None = option("Pool of the volume.", spec="DISK-T1.10", default=None)
    volume: VolumeName | None = option("Volume of that pool.", spec="DISK-T1.11", default=None)
    file: AbsolutePath | None = option("File of the host.", spec="DISK-T1.13", default=None)
    format: Format | None = option(
        "Format of the source; never guessed. Required with a source.", spec="IMG-11", default=None
    )
    transient: bool = option(
        "Writes go to an overlay that is dropped when the machine stops.", spec="IMG-04", default=False
    )
    overlays: AbsolutePath | None = option(
        "Directory of that overlay; that of the file when not given.", spec="DMN-T1.15", default=None
    )
    shareable: bool = option("Whether several machines may write at once; the guests must know how.", default=False)
    encryption: Encryption | None = option("What unlocks an encrypted source.", spec="VOL-13", default=None)

    def check(self) -> Sentences:
        yield from Drive.check(self)
        yield from self._check_source()
        if self.transient:
            yield from self._check_transient()
        elif self.overlays:
            yield "overlays", "is for a disk that forgets, write transient: true"
        if self.startup_policy and not (self.volume or self.file):
            yield "startup_policy", "needs a medium that may be missing"

    def _check_source(self) -> Sentences:
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
        if self.shareable and source and self.format != "raw":
            yield "shareable", "is for raw images: several writers would ruin the tables of any other format"

    def _check_transient(self) -> Sentences:
        if self.read_only or self.device == "cdrom":
            yield "transient", "means nothing for what is never written"
        if self.bus in ("sata", "ide"):
            why = f"cannot be on {self.bus}: the overlay is plugged in at start, write bus: virtio, scsi or usb"
            yield "transient", why
        if self.volume:
            yield "transient", "is for files: libvirt makes no overlay of a volume, write file with the volume's path"


@declaration
class Interface(Card):
    """A network card."""

    network: Name | None = option("Virtual network it is plugged into.", spec="NIC-T1.1", default=None)
    bridge: DeviceName | None = option("Bridge of the host, instead of a network.", spec="NIC-T1.1", default=None)
    filter: Name | None = option("Filter laid on the card.", spec="NIC-T1.5", default=None)
    port_id: Uuid | None = option(
        "Identity of its port on Open vSwitch; made anew at each start when not given.", spec="PGRT-T2.1", default=None
    )

    def check(self) -> Sentences:
        yield from Card.check(self)
        if (self.network is None) == (self.bridge is None):
            yield "network", "write the network or the bridge it is plugged into"
        if self.port_group and self.network is None:
            yield "port_group", "belongs to a network"
        if self.tap and self.tap.startswith("vnet"):
            yield (
                "tap",
                f"{self.tap} is of the names that libvirt gives out itself and would drop, write another such as tap0",
            )
        yield from self._check_filter()

    def _check_filter(self) -> Sentences:
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
class Serial:
    """The first serial port."""

    log: AbsolutePath | None = option(
        "File on the host that receives what the guest writes.", spec="DOMX-10", default=None
    )


@declaration
class Domain(Hardware):
    """A virtual machine."""

    retired: ClassVar[Mapping[str, str]] = RENAMED
    name: Name = option("Name, unique in the system.", spec="VM-T1.2")
    uuid: Uuid | None = option("libvirt's own when not given.", spec="VM-T1.2", default=None)
    title: str | None = option("Label in any script.", spec="INST-07", default=None)
    active: bool = option("Whether the machine runs.", spec="VM-T1.6", default=True)
    on_boot: OnBoot = option(
        "What becomes of it when its host boots: V(start) starts it, V(stay_off) does not, V(last) starts it if it is meant to be on. "
        "libvirt's autostart is set accordingly.",
        default="stay_off",
    )
    mark: Mark | None = option("Whose the machine is.", spec="DOMX-03", default=None)
    disks: tuple[Disk, ...] = option("Disks and optical drives.", spec="DISK-01", default=())
    interfaces: tuple[Interface, ...] = option("Network cards.", spec="NIC-T1", default=())
    serial: Serial | None = option("Serial console; one without log when not given.", spec="DOMX-10", default=None)
    seed: Seed | None = option("Disc that sets the guest up when it boots first.", spec="CFGD-01", default=None)
    injection: Injection | None = option(
        "What is written into its disk before it is defined, and so before it starts for the first time.",
        spec="INJ-10",
        default=None,
    )

    def check(self) -> Sentences:
        yield from Hardware.check(self)
        if self.title and "\n" in self.title:
            yield "title", "must be one line"
        if self.machine.startswith(("q35", "pc-q35")):
            for index, disk in enumerate(self.disks):
                if disk.bus == "ide":
                    yield f"disks[{index}].bus", f"{self.machine} has no ide, write sata"
        yield from self._check_injection()
        yield from self._check_fragments() if self.xml else ()
        yield from self.check_order(self.disks, self.interfaces)
        targets = [disk.target for disk in self.disks if disk.target]
        for target in sorted({target for target in targets if targets.count(target) > 1}):
            yield "disks", f"target {target} is there twice (DISK-01)"
        macs = [card.mac for card in self.interfaces if card.mac]
        for mac in sorted({mac for mac in macs if macs.count(mac) > 1}):
            yield "interfaces", f"mac {mac} is there twice"

    def _check_fragments(self) -> Sentences:
        """CUST-02: XML, and nothing in it that a field decides."""
        beside = Fixed(
            targets=frozenset(disk.target for disk in self.disks if disk.target),
            macs=frozenset(card.mac for card in self.interfaces if card.mac),
        )
        for at, fragment in enumerate(self.xml):
            wrong = refusal(fragment, roots=("domain", "devices"))
            if wrong:
                yield f"xml[{at}]", wrong
            for refused in () if wrong else refusals("domain", fragment, beside):
                yield f"xml[{at}]", refused.remedy()

    def _check_injection(self) -> Sentences:
        if self.injection is None:
            return
        if self.seed is not None:
            yield "injection", "is instead of a seed, leave out one of them (INJ-01)"
        disk = next((held for held in self.disks if held.target == self.injection.disk), None)
        if disk is None or disk.volume is None or disk.device != "disk" or disk.read_only or disk.shareable:
            text = "names no disk with a volume that this machine alone writes, write its target (INJ-10)"
            yield "injection.disk", text
        elif disk.encryption is not None:
            yield "injection.disk", "is encrypted, write a seed instead"
