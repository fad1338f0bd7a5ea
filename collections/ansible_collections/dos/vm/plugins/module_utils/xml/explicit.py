# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes without saying of a machine: names of disks, buses, cards and clocks that a declaration leaves open and we choose.

Everything is said before anything is rendered, so `xml/domain.py` and `xml/devices.py` decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any, Literal

from ..errors import InternalError
from ..model.domain import Disk, Domain, Interface, Serial
from ..model.graphics import Graphics
from ..model.hardware import keeps_local_time
from ..model.types import AbsolutePath, Address, ByteSize
from . import device_habits

LAST = {"ide": "hdd", "sata": "sdf", "scsi": "sdg", "virtio": "vdz"}  # where a seed lies, by bus
PREFIX = {"virtio": "vd", "sata": "sd", "scsi": "sd", "usb": "sd", "ide": "hd"}  # of disk names, by bus

LOCAL = Address("127.0.0.1")  # a console that nobody asked for is nobody else's


def explicit(domain: Domain) -> Domain:
    """The same machine with everything said that we would have chosen: it renders like `domain` without its fragments."""
    disks = tuple(_named(domain))
    return replace(
        domain,
        memory=_settled(domain, domain.memory),
        memory_max=_more(domain.memory_max and _settled(domain, domain.memory_max), _settled(domain, domain.memory)),
        vcpus_max=_more(domain.vcpus_max, domain.vcpus),
        # What libvirt writes when nobody says where to boot from. It cannot stand beside an order of devices.
        boot=domain.boot or (() if any(domain.boot_orders(disks, domain.interfaces)) else ("hd",)),
        disks=disks,
        scsi_model=domain.scsi_model if any(disk.bus == "scsi" for disk in disks) else None,
        seed=None,
        injection=None,
        # What Windows wants is settled here; that it is Windows stands nowhere in the XML.
        guest=None,
        clock=_clock(domain),
        hyperv=_hyperv(domain),
        tablet=_tablet(domain),
        cpu=domain.cpu and replace(domain.cpu, features=domain.cpu.features or None),
        graphics=tuple(
            replace(held, listen=held.listen or LOCAL, channels=_channels(held)) for held in domain.graphics
        ),
        interfaces=tuple(_card(domain, held) for held in domain.interfaces),
        video=domain.video or _video(domain),
        serial=domain.serial or Serial(),
        xml=(),
    )


def _settled(domain: Domain, memory: ByteSize) -> ByteSize:
    """Whole MiB, as QEMU rounds memory up; that of NUMA cells is their sum, to the KiB."""
    return ByteSize(memory.kib * 1024 if domain.numa else device_habits.whole(memory.kib) * 1024)


def _hyperv(domain: Domain) -> bool | None:
    if domain.hyperv is not None:
        return domain.hyperv or None
    return (domain.guest == "windows" and domain.virt_type == "kvm" and domain.arch != "aarch64") or None


def _clock(domain: Domain) -> Literal["localtime"] | None:
    return "localtime" if keeps_local_time(domain.clock, domain.guest) else None


def _tablet(domain: Domain) -> bool | None:
    if domain.tablet is not None:
        return domain.tablet or None
    return (domain.guest == "windows" and bool(domain.graphics)) or None


def _card(domain: Domain, card: Interface) -> Interface:
    return replace(
        card, model=card.model or device_habits.card_model(domain), filter_parameters=card.filter_parameters or None
    )


def _more(most: Any, now: int) -> Any:
    """A maximum that is one: libvirt does not write what it is at already."""
    return most if most and most > now else None


def _seed(domain: Domain, taken: set[str | None]) -> Disk:
    """The drive that a seed lies in, at the end of its bus, so that disks which come later find their places."""
    if domain.seed is None:
        raise InternalError(f"domain {domain.name} has no seed")
    disc = domain.seed.format == "iso9660"
    bus = domain.seed.bus or (_bus(Disk(device="cdrom"), domain) if disc else "virtio")
    disk = Disk(
        device="cdrom" if disc and bus != "virtio" else "disk",
        bus=bus,
        file=AbsolutePath(domain.seed.path(domain.name)),
        format="raw",
        read_only=True,
    )
    wanted = LAST.get(str(disk.bus))
    return replace(disk, target=wanted) if wanted not in taken else disk


def _named(domain: Domain) -> Iterator[Disk]:
    taken = {disk.target for disk in domain.disks}
    for disk in [*domain.disks, *([_seed(domain, taken)] if domain.seed else [])]:
        bus = disk.bus or _bus(disk, domain)
        target = disk.target or next(name for name in _names(PREFIX[bus]) if name not in taken)
        taken.add(target)
        optical = disk.device == "cdrom"
        yield replace(
            disk,
            bus=bus,
            target=target,
            format=disk.format if disk.volume or disk.file else None,
            cache=None if disk.cache == "default" else disk.cache,
            read_only=disk.read_only or optical,
            relabel=False if disk.relabel is False else None,
        )


def _channels(console: Graphics) -> Any:
    # To libvirt `any` is the same as silence: such a channel follows the default.
    return {name: mode for name, mode in (console.channels or {}).items() if mode != "any"} or None


def _bus(disk: Disk, domain: Domain) -> Any:
    """Where a disk is when nothing is said: where the guest has a driver for it, and the board has the bus."""
    built_in = {"pc": "ide", "q35": "sata"}.get(device_habits.family(domain.machine), "scsi")
    plain = domain.guest == "windows" and not (disk.read_only or disk.transient)  # those two cannot be on ide or sata
    return built_in if disk.device == "cdrom" or (plain and built_in != "scsi") else "virtio"


def _names(prefix: str) -> Iterator[str]:
    """`vda` … `vdz`, `vdaa` …"""
    for number in count():
        letters = ""
        while number >= 0:
            letters = chr(ord("a") + number % 26) + letters
            number = number // 26 - 1
        yield prefix + letters


def _video(domain: Domain) -> Any:
    if not domain.graphics:
        return None
    if domain.arch == "aarch64":
        return "virtio"
    # DOMX-11 says cirrus otherwise: an ISA-age card of 4 MiB. vga is as simple and QEMU's own default.
    return "qxl" if any(console.type == "spice" for console in domain.graphics) else "vga"
