# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's domain becomes an instance with one machine. What its fields cannot say goes to its overlay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import DeclarationError, Problem
from ..model.host import HostFacts
from ..model.lenient import decode_most, without
from ..model.nwfilter import PREDEFINED
from ..model.types import AbsolutePath, Name
from ..plan.describe import READERS
from ..plan.domain import settled
from ..plan.plan import Observed
from ..site.host import HostSettings
from ..site.instance import MOST_DISKS, Instance, InstanceDisk, InstanceInterface
from ..site.security_group import SecurityGroup
from ..xml import domain as domain_xml
from ..xml.build import to_text
from ..xml.common import mark_of
from ..xml.normalize import normalize
from ..xml.residue import residue, unsaid
from .domain import LOGS, OF_A_CARD, OF_A_DISK, SAME, compile_domain
from .identity import allocate
from .machine import Machine, machines
from .register import Register

CARD = ("network", *OF_A_CARD)


def export_domain(register: Register, host: str, observed: Observed, facts: HostFacts) -> None:
    """A domain, with all that it stands on already found."""
    address, reader = observed.address, READERS["domain"]
    if observed.xml.find("devices/graphics[@passwd]") is not None:
        why = "its console has a password, which is not written to files: declare it in dos_secrets and name it in graphics"
        register.leave_out(host, address, why)
        return
    try:
        name = Name(address.name)
        key = _key(name, observed)
        if key in register.held["instances"]:
            key = name
        read = reader.parse(normalize(observed.xml, reader.shape), address)
        # Not only an instance as such: what it comes to on the host must be one that can be, too.
        instance = decode_most(
            Instance,
            _allowed(register, key, _instance(register, host, name, read, observed)),
            also=lambda found: _rendered(register, key, found, host, facts),
        )
        rendered = _rendered(register, key, instance, host, facts)
    except (DeclarationError, ValueError) as refused:
        register.leave_out(host, address, f"cannot be declared: {' '.join(str(refused).split())}")
        return
    patch = residue(observed.xml, rendered, domain_xml.SHAPE)
    if rest := unsaid(observed.xml, rendered, patch, domain_xml.SHAPE):
        register.leave_out(host, address, f"has what not even an overlay says: {', '.join(held.path for held in rest)}")
        return
    if patch is not None:
        instance = replace(instance, xml=(to_text(patch),))
    if key in register.held["instances"]:
        register.leave_out(host, address, "another host has a machine of this name")
        return
    register.claim("instances", key, instance)


def _allowed(register: Register, key: Name, said: dict[str, Any]) -> dict[str, Any]:
    """Without what the rules are against (a MAC that another machine has): the overlay says that instead.

    Raises `DeclarationError` when the rules are against the machine as such.
    """
    refused = register.refusals.get(("instances", str(key)), {})
    problems = [Problem(path, text) for path, text in refused.items()]
    if problems and not without(said, problems):
        raise DeclarationError(problems)
    return said


def _key(name: Name, observed: Observed) -> Name:
    """The instance it was declared in, if it is ours; its own name otherwise."""
    origin = (mark_of(observed.xml) or {}).get("origin", "")
    key, found, _ = origin.removeprefix("dos_instances.").partition(".vms.")
    return Name(key) if found and origin.startswith("dos_instances.") else name


def _instance(register: Register, host: str, name: Name, read: Mapping[str, Any], observed: Observed) -> dict[str, Any]:
    mark = mark_of(observed.xml) or {}
    said = {field: read[field] for field in SAME if field in read and field != "xml"}
    if said.get("boot") == ["hd"]:
        del said["boot"]  # what goes without saying
    log = (read.get("serial") or {}).get("log")
    return {
        # KVM or not is said as it is: `auto` could choose otherwise than whoever made the machine.
        **said,
        "virt_type": read["virt_type"] if read.get("virt_type") in ("kvm", "qemu") else "qemu",
        "project": register.project_of(mark.get("project")),
        "host": host,
        "on_boot": mark.get("on_boot") or ("start" if observed.autostart else "stay_off"),
        **({"stop_timeout": mark["stop_timeout"]} if "stop_timeout" in mark else {}),
        **({"label": read["title"]} if read.get("title") else {}),
        **({"serial": {"log": True}} if log == f"{LOGS}/{name}-serial.log" else {}),
        "disks": _disks(register, host, read),
        "interfaces": [
            card for held in read.get("interfaces", ()) if (card := _card(register, host, held)) is not None
        ],
        "vms": {str(name): {} if observed.active else {"power": "off"}},
    }


def _disks(register: Register, host: str, read: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that fields can say, as many as an instance may have; the overlay has the others whole."""
    found = (_disk(register, host, held) for held in read.get("disks", ()))
    return [disk for disk in found if disk is not None][:MOST_DISKS]


def _disk(register: Register, host: str, read: Mapping[str, Any]) -> dict[str, Any] | None:
    if read.get("device", "disk") not in ("disk", "cdrom") or not read.get("target"):
        return None
    source = _source(register, host, read)
    if source is None:
        return None
    said = {name: read[name] for name in OF_A_DISK if name in read} | source
    try:
        decode_most(InstanceDisk, said)
    except DeclarationError:
        return None
    return said


def _source(register: Register, host: str, read: Mapping[str, Any]) -> dict[str, Any] | None:
    if read.get("volume"):
        return _volume(register, host, read)
    if read.get("file"):
        # Written and kept, written and dropped, or only read: what an image is follows from its use.
        written = read.get("device", "disk") == "disk" and not read.get("read_only")
        read_only = bool(read.get("transient")) if written else None
        image = register.image(host, read["file"], read.get("format"), read_only=read_only)
        if image is not None and read.get("overlays"):
            register.claim("host_settings", Name(host), HostSettings(overlays=AbsolutePath(read["overlays"])))
        return None if image is None else {"image": image}
    return {} if read.get("device") == "cdrom" and not read.get("pool") else None


def _volume(register: Register, host: str, read: Mapping[str, Any]) -> dict[str, Any] | None:
    name = read["volume"]
    volume = register.held["volumes"].get(name)
    if volume is None or volume.pool != read.get("pool") or volume.format != read.get("format"):
        return None
    if volume.host != host or read.get("device") == "cdrom":
        return None
    if read.get("shareable") and not volume.shareable:
        register.held["volumes"][name] = replace(volume, shareable=True)
    return {"volume": name}


def _card(register: Register, host: str, read: Mapping[str, Any]) -> dict[str, Any] | None:
    """A card on a declared network; the overlay has any other whole."""
    network = register.held["networks"].get(read.get("network", ""))
    if network is None or host not in (network.hosts or (network.host,)):
        return None
    said = {name: read[name] for name in CARD if name in read}
    if said.get("model") == "virtio":
        del said["model"]  # what goes without saying
    filter_ = read.get("filter")
    if filter_ is not None:
        if filter_ not in PREDEFINED and filter_ not in register.held["filters"]:
            return None
        register.claim("security_groups", Name(filter_), SecurityGroup(filter=Name(filter_)))
        said["security_group"] = filter_
    try:
        decode_most(InstanceInterface, said)
    except DeclarationError:
        return None
    return said


def _rendered(register: Register, key: Name, instance: Instance, host: str, facts: HostFacts) -> Any:
    """What the fields come to on the host, by the very road that a converge takes."""
    site = replace(register.as_site(), instances={key: instance})
    machine = next(iter(machines(site)), None)
    if machine is None:
        raise DeclarationError.at("vms", "names no machine")
    declared = compile_domain(site, machine.settled(_macs(site.name, machine), {}, on=True), host)
    return domain_xml.render(settled(replace(declared, mark=None), facts))


def _macs(site: str, machine: Machine) -> Any:
    return allocate(site, ((machine.name, card) for card in machine.cards_without_mac()), machine.macs())
