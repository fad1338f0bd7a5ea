# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance: the template that virtual machines are made of, and the machines themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar, Literal

from ..model.declaration import declaration, option
from ..model.device import TARGET, TARGET_PREFIXES, Bus, Card, Drive
from ..model.fragment_rules import refusal
from ..model.hardware import Hardware
from ..model.on_boot import RENAMED, OnBoot
from ..model.types import Address, ByteSize, Mac, Name
from ..model.volume import ENCRYPTED, LAYERED, RETIRED, Format
from .after import After
from .bound import Hosts, check_bound
from .placement import InstancePlacement
from .seed import InstanceSeed

Sentences = Iterator[tuple[str, str]]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PREFIXES = {"virtio": "vd", "ide": "hd"}
MOST_DISKS = 4  # PERF-T1.1; optical drives count, the config drive does not (AMB-22)


@declaration
class InstanceDisk(Drive):
    """A disk. Its data is one of: a declared volume, an image, a volume of each machine's own, nothing (optical only)."""

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

    @property
    def writable(self) -> bool:
        """Whether the guest may write to it."""
        return self.device == "disk" and not self.read_only

    @property
    def takes_injection(self) -> bool:
        """Whether it is each machine's own, so that something may be written into it before the first start (INJ-10)."""
        return self.writable and self.pool is not None and self.encryption is None

    def check(self) -> Sentences:
        yield from Drive.check(self)
        yield from self._check_fit()
        yield from self._check_optical() if self.device == "cdrom" else self._check_source()
        if self.startup_policy and not (self.volume or self.image or self.pool):
            yield "startup_policy", "means nothing for an empty drive, leave it out"

    def _check_fit(self) -> Sentences:
        """DISK-T1.6: a guest reads the bus out of the name."""
        found = TARGET.fullmatch(self.target) if self.target is not None else None
        wanted = TARGET_PREFIXES.get(self.bus) if self.bus else None
        if found is not None and wanted and found[1] != wanted:
            yield "target", f"{self.target} does not fit bus {self.bus}, write {wanted}{found[2]}"

    def _check_optical(self) -> Sentences:
        for name in ("volume", "pool", "capacity", "format", "encryption"):
            if getattr(self, name) is not None:
                yield name, "is not for an optical drive, write an image or nothing (DISK-T1.1)"

    def _check_source(self) -> Sentences:
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
class InstanceInterface(Card):
    """A network card of each machine."""

    network: Name = option("Network it is plugged into.", spec="NIC-T1.1")
    ip: Address | None = option(
        "Address that DHCP reserves, for an instance with one machine.", spec="NIC-02", default=None
    )
    ip6: Address | None = option(
        "IPv6 address beside that of IPv4, for an instance with one machine.", spec="LIMIT-18", default=None
    )
    security_group: Name | None = option("Security group laid on the card.", spec="NIC-T1.5", default=None)

    def check(self) -> Sentences:
        yield from Card.check(self)
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


def check_label(label: str | None) -> Sentences:
    """INST-07: a label is the title of a domain, which libvirt takes on one line."""
    if label is not None and not set(label).isdisjoint("\n\r"):
        yield "label", "has a line break, write it on one line: 'label: TEXT', or '>-' before a text of several lines"


@declaration
class Vm:
    """A virtual machine: what it has beyond its instance."""

    retired: ClassVar[Mapping[str, str]] = RENAMED
    power: Literal["on", "off"] = option(
        "Whether it should run, as long as its instance is enabled and its project active (VM-16).",
        spec="VM-T1.6",
        default="on",
    )
    host: Name | None = option("Host it runs on; chosen when not given.", spec="VM-T1.4", default=None)
    label: str | None = option("Label in any script.", default=None)
    mac: dict[Name, Mac] | None = option("Address of the card by network.", spec="NIC-T1.3", default=None)
    ip: dict[Name, Address] | None = option("Address that DHCP reserves, by network.", spec="NIC-02", default=None)
    ip6: dict[Name, Address] | None = option(
        "IPv6 address beside that of IPv4, by network.", spec="LIMIT-18", default=None
    )
    on_boot: OnBoot | None = option(
        "What becomes of it when its host boots; as its instance says if unset.", default=None
    )
    after: tuple[After, ...] = option(
        "Who must be ready before it is started, besides those that its instance names.", default=()
    )

    def check(self) -> Sentences:
        yield from check_label(self.label)
        for name, address in (self.ip6 or {}).items():
            other = (self.ip or {}).get(name)
            if address.version != 6:
                yield f"ip6.{name}", f"{address} is an IPv4 address, write it under ip"
            elif other is not None and other.version == 6:
                yield f"ip.{name}", f"{other} is a second IPv6 address, leave one of them out"


DEFAULT_VM = Vm()


@declaration
class Instance(Hardware):
    """The template of virtual machines that are all alike, with the machines (INST-01)."""

    retired: ClassVar[Mapping[str, str]] = RENAMED
    project: Name = option("Project it belongs to.", spec="PROJ-01")
    from_: Name | None = option(
        "Another instance that this one is a copy of: what is not said here is as it is there, also what is required, but for vms, count "
        "and label. A field with nothing in it is not copied.",
        spec="INST-02",
        default=None,
    )
    label: str | None = option("Label in any script.", spec="INST-07", default=None)
    enabled: bool = option(
        "Whether its machines may be on, also by order and for those who come after them.", spec="INST-03", default=True
    )
    unique: bool | None = option(
        "Whether there may be one machine only; seen from MACs and writable disks when not given.",
        spec="INST-10",
        default=None,
    )
    host: Name | None = option("The one host its machines may run on.", spec="CUST-T1.1", default=None)
    hosts: Hosts | None = option(
        "The hosts its machines may run on; all of the system when neither these nor host nor host_group is given (CUST-03).",
        spec="CUST-T1.2",
        default=None,
    )
    host_group: Name | None = option(
        "The host group its machines may run in, instead of host or hosts.", spec="CUST-T1.2", default=None
    )
    placement: InstancePlacement | None = option("What it asks of its hosts.", spec="SCHED-01", default=None)
    disks: tuple[InstanceDisk, ...] = option("Disks and optical drives.", spec="DISK-01", default=())
    interfaces: tuple[InstanceInterface, ...] = option(
        "Network cards, of each machine its own (VM-09).", spec="NIC-T1", default=()
    )
    serial: InstanceSerial | None = option("Serial console.", spec="DOMX-10", default=None)
    seed: InstanceSeed | None = option(
        "What cloud-init or its like sets each guest up from.", spec="CFGD-01", default=None
    )
    on_boot: OnBoot | None = option(
        "What becomes of its VMs when their host boots. V(start) starts them; V(stay_off) leaves them off until the next run; V(last) "
        "starts those that are meant to be on. If unset, V(last) where every disk that a VM writes to is its host's own, otherwise "
        "V(stay_off), and only that is accepted.",
        default=None,
    )
    after: tuple[After, ...] = option(
        "Who must be ready before its machines are started. What runs already is left running.", default=()
    )
    vms: dict[Name, Vm] | None = option(
        "The machines by name. One that is taken out, or whose instance is, stays until a run may remove it (INST-08).",
        spec="VM-T1.2",
        default=None,
    )
    count: int | None = option(
        "How many machines (VM-02), named after the instance with -1, -2 and so on; instead of vms.",
        spec="VM-07",
        default=None,
        low=0,
        high=10000,
    )

    def machines(self, name: str) -> dict[Name, Vm]:
        """The machines by name; `name` is the instance's own."""
        if self.count is None:
            return self.vms or {}
        return {Name(f"{name}-{number}"): DEFAULT_VM for number in range(1, self.count + 1)}

    def targets(self) -> list[tuple[str, InstanceDisk]]:
        """Its disks with their device names: the declared one, or the next of its bus."""
        taken = {disk.target for disk in self.disks if disk.target}
        found: list[tuple[str, InstanceDisk]] = []
        for disk in self.disks:
            target = disk.target or _next(PREFIXES.get(self.bus(disk), "sd"), taken)
            taken.add(target)
            found.append((target, disk))
        return found

    def bus(self, disk: InstanceDisk) -> Bus:
        """The bus of a disk: the declared one, or what suits the device and the board (DOMX-06)."""
        if disk.bus:
            return disk.bus
        built_in: Bus = "ide" if self.machine.startswith(("pc-i440fx", "pc")) and "q35" not in self.machine else "sata"
        # What is dropped at power off, or never written, cannot be on ide or sata.
        plain = self.guest == "windows" and not disk.read_only and (disk.pool or not disk.image)
        return built_in if disk.device == "cdrom" or plain else "virtio"

    def check(self) -> Sentences:
        yield from Hardware.check(self)
        yield from check_label(self.label)
        yield from check_bound(self)
        for wrong, path, text in self._together():
            if wrong:
                yield path, text
        yield from self.check_order(self.disks, self.interfaces)
        yield from self._check_devices_of_its_own()

    def _together(self) -> Iterator[tuple[bool, str, str]]:
        """What must not stand together: whether it does, where, and what to write."""
        bound = self.host is not None or self.hosts is not None
        yield self.host_group is not None and bound, "host_group", "write one of host, hosts and host_group (CUST-01)"
        yield self.vms is not None and self.count is not None, "count", "write either vms or count"
        yield (
            len(self.disks) > MOST_DISKS,
            "disks",
            f"has {len(self.disks)} entries, write at most {MOST_DISKS} (PERF-T1.1)",
        )
        injected = self.seed is not None and self.seed.type == "injected"
        needs = "injected needs a disk of each machine's own that is not encrypted, write pool at a disk (INJ-10)"
        yield injected and not any(disk.takes_injection for disk in self.disks), "seed.type", needs

    def _check_devices_of_its_own(self) -> Sentences:
        """Fragments of XML, and each target and each address once (DISK-01)."""
        for at, fragment in enumerate(self.xml):
            refused = refusal(fragment, roots=("domain", "devices"))
            if refused:
                yield f"xml[{at}]", refused
        yield from _twice((f"disks[{at}].target", disk.target) for at, disk in enumerate(self.disks))
        yield from _twice((f"interfaces[{at}].mac", card.mac) for at, card in enumerate(self.interfaces))
        yield from _twice((f"interfaces[{at}].tap", card.tap) for at, card in enumerate(self.interfaces))


def _next(prefix: str, taken: Collection[str]) -> str:
    return next(prefix + letter for letter in LETTERS if prefix + letter not in taken)


def _twice(values: Iterator[tuple[str, str | None]]) -> Sentences:
    seen: dict[str, str] = {}
    for path, value in values:
        if value is not None and value in seen:
            yield path, f"{value} is at {seen[value]} already, write another"
        elif value is not None:
            seen[value] = path
