# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance with what it does not say itself: the word of its image, else that of the site (DOMX-01). Pure.

In a `Site` silence stays silence, and is settled here for whoever needs to know: else who changes an image, or the site, would
change instances of other projects (see `policy.py`).
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

from ..errors import DeclarationError
from ..model.processor import Cpu
from ..model.types import Name
from .image import Image
from .instance import Instance, InstanceDisk, InstanceInterface
from .properties import SILENT, Properties
from .site import Site

FLEXIBLE = ("virtio", "scsi", "usb")  # buses that any disk can be on


def root_image(site: Site, instance: Instance) -> tuple[Name, Image] | None:
    """The image that its first disk is made of, or what that disk's volume is layered over."""
    disk = next((held for held in instance.disks if held.device == "disk"), None)
    name = None if disk is None else disk.image or _below(site, disk.volume)
    image = site.images.get(name) if name else None
    return (name, image) if name and image else None


def guest_of(instance: Instance, image: Image | None) -> Literal["linux", "windows", "other"] | None:
    """What runs in it: its own word, else that of the image of its first disk."""
    return instance.guest or (image.os_type if image else None)


def _below(site: Site, volume: Name | None) -> Name | None:
    """The image at the bottom of a volume; a circle has none."""
    seen: set[Name] = set()
    while volume is not None and volume not in seen and volume in site.volumes:
        seen.add(volume)
        held = site.volumes[volume]
        if held.image:
            return held.image
        volume = held.base
    return None


def suited(site: Site, instance: Instance) -> Instance:
    """The instance as its machines will be. Raises `DeclarationError` where what is said together cannot be."""
    found = root_image(site, instance)
    image = found[1] if found else None
    said = _over(image.properties if image else None, site.system.properties)
    if said == SILENT and (image is None or image.os_type is None):
        return instance
    return replace(
        instance,
        guest=guest_of(instance, image),
        scsi_model=instance.scsi_model or said.scsi_model,
        cpu=_cpu(instance, said),
        disks=tuple(_disk(disk, said) for disk in instance.disks),
        interfaces=tuple(_card(card, said) for card in instance.interfaces),
    )


def _over(image: Properties | None, site: Properties | None) -> Properties:
    """Field by field the image's word, or the site's."""
    if image is None or site is None:
        return image or site or SILENT
    said = {held.name: getattr(image, held.name) for held in fields(image)}
    return replace(site, **{name: word for name, word in said.items() if word is not None})


def _disk(disk: InstanceDisk, said: Properties) -> InstanceDisk:
    bus = disk.bus or (said.disk_bus if _may_be_on(disk, said.disk_bus) else None)
    return replace(disk, bus=bus, cache=disk.cache or said.disk_cache)


def _card(card: InstanceInterface, said: Properties) -> InstanceInterface:
    # Pairs of queues are virtio's, so who asks for them has said the model.
    return replace(card, model=card.model or (None if card.queues else said.nic_model))


def _may_be_on(disk: InstanceDisk, bus: str | None) -> bool:
    """What is dropped at power off, or never written, cannot be on ide or sata; optical drives are where the board has them."""
    if disk.device == "cdrom":
        return False
    return bus in FLEXIBLE or (not disk.read_only and bool(disk.pool or not disk.image))


def _cpu(instance: Instance, said: Properties) -> Cpu | None:
    """Its processor with the topology that was said, unless it has one of its own."""
    cpu, most = instance.cpu, instance.vcpus_max or instance.vcpus
    if said.cores is said.threads is None or (cpu and cpu.sockets):
        return cpu
    cores, threads = said.cores or 1, said.threads or 1
    if most % (cores * threads):
        field = "vcpus_max" if instance.vcpus_max else "vcpus"
        text = f"{most} is no multiple of {cores} cores with {threads} threads: write another number, or a topology under cpu"
        raise DeclarationError.at(field, text)
    topology: dict[str, Any] = {"sockets": most // (cores * threads), "cores": cores, "threads": threads}
    return replace(cpu or Cpu(), **topology)
