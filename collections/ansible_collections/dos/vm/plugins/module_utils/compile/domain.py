# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine becomes a domain: its disks from volumes and images, its cards with addresses and filters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..model.address import Mark
from ..model.declaration import options
from ..model.device import Card, Drive
from ..model.domain import Disk, Domain, Interface, Serial
from ..model.graphics import Graphics
from ..model.hardware import Hardware
from ..model.types import AbsolutePath, VolumeName
from ..site.instance import Instance, InstanceDisk
from ..site.site import Site
from .machine import Machine
from .port_bridge import bandwidth, has_port_bridge, port_bridge_name
from .security_group import filter_name, parameters
from .seed import compile_injection, compile_seed
from .storage import encryption, on_host

LOGS = "/var/log/libvirt/qemu"

# What an instance says in the very words of a domain.
SAME, OF_A_DISK, OF_A_CARD = (tuple(options(shared)) for shared in (Hardware, Drive, Card))


def compile_domain(site: Site, machine: Machine, host: str) -> Domain:
    """The domain of a machine that has its addresses, on the host it was placed on."""
    instance = machine.instance
    said = {name: getattr(instance, name) for name in SAME}
    said["graphics"] = tuple(_console(site, console) for console in instance.graphics)
    return Domain(
        name=machine.name,
        uuid=machine.uuid,
        title=machine.vm.label or instance.label,
        disks=tuple(_disk(site, machine, host, target, disk) for target, disk in machine.targets()),
        interfaces=tuple(_card(site, machine, place) for place in range(len(instance.interfaces))),
        serial=_serial(instance, machine.name),
        seed=compile_seed(site, machine),
        injection=compile_injection(site, machine),
        active=machine.on,
        # What is off by a power override must not come back with its host (VM-15).
        on_boot="last" if machine.declared_on and not machine.on and machine.on_boot == "start" else machine.on_boot,
        mark=Mark(
            site=site.name,
            project=instance.project,
            origin=machine.path,
            stop_timeout=instance.stop_timeout,
            epoch=machine.epoch,
            on_boot=machine.on_boot,
            image=next((disk.image for disk in instance.disks if disk.device == "disk"), None),
        ),
        **said,
    )


def _console(site: Site, console: Graphics) -> Graphics:
    listen, keymap = console.listen or site.system.console_listen, console.keymap or site.system.console_keymap
    return replace(console, listen=listen, keymap=keymap)


def _serial(instance: Instance, name: str) -> Serial | None:
    return Serial(log=AbsolutePath(f"{LOGS}/{name}-serial.log")) if instance.serial and instance.serial.log else None


def _disk(site: Site, machine: Machine, host: str, target: str, disk: InstanceDisk) -> Disk:
    said = {name: getattr(disk, name) for name in OF_A_DISK}
    settled = {"target": target, "bus": machine.bus(disk), "read_only": disk.read_only or disk.device == "cdrom"}
    return Disk(**{**said, **settled, **_source(site, machine, host, target, disk)})


def _source(site: Site, machine: Machine, host: str, target: str, disk: InstanceDisk) -> dict[str, Any]:
    """Where a disk's data is: a declared volume, a volume of the machine's own, an image, or nowhere."""
    if disk.volume:
        volume = site.volumes[disk.volume]
        named = {"pool": volume.pool, "volume": on_host(site, disk.volume), "format": volume.format}
        # HOT-01, DOMX-13: no host keeps what another would miss, and the guest can tell LUNs apart.
        lun = {"cache": disk.cache or "none", "serial": disk.serial or disk.volume} if volume.lun is not None else {}
        return {**named, **lun, "shareable": volume.shareable, "encryption": encryption(site, volume.encryption)}
    if disk.pool:
        own = {"pool": disk.pool, "volume": VolumeName(machine.own_volume(target)), "format": disk.format or "qcow2"}
        return {**own, "encryption": encryption(site, disk.encryption)}
    if disk.image is None:
        return {}
    image = site.images[disk.image]
    # A read-only image under a writable disk: what is written lives until the machine stops (IMG-04).
    overlay = image.read_only and disk.device == "disk" and not disk.read_only
    directory = site.overlays(host) if overlay else None
    return {"file": image.file, "format": image.format, "transient": overlay, "overlays": directory}


def _card(site: Site, machine: Machine, place: int) -> Interface:
    card = machine.instance.interfaces[place]
    said = {name: getattr(card, name) for name in OF_A_CARD}
    settled = {"mac": machine.addresses[place], "filter_parameters": None}
    return Interface(**{**said, **settled, **_plug(site, machine, place), **_filter(site, machine, place)})


def _plug(site: Site, machine: Machine, place: int) -> dict[str, Any]:
    if not has_port_bridge(site, machine, place):
        return {"network": machine.instance.interfaces[place].network}
    bridge, limits = port_bridge_name(site, machine, place), bandwidth(site, machine, place)
    return {"bridge": bridge, "bandwidth": limits, "port_group": None, "vlan": None}  # what the port says instead


def _filter(site: Site, machine: Machine, place: int) -> dict[str, Any]:
    card, name = machine.instance.interfaces[place], filter_name(site, machine, place)
    if name is None:
        return {}
    return {
        "filter": name,
        "filter_parameters": {**parameters(site, machine, place), **(card.filter_parameters or {})} or None,
    }
