# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about things that disks write to: each has one writer at a time, whatever names it has (`writes.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..model.on_boot import OnBoot
from .index import Finding, Index, Machine, Place, turned_off
from .instance import Instance
from .writes import Hosts, Identity, Meeting, Use, owner_of


class Writer(NamedTuple):
    """A VM, and the disk that it writes by."""

    machine: Machine
    use: Use

    @property
    def place(self) -> Place:
        return ("dos_instances", self.machine.instance_name, *self.use.field)


def nothing_is_written_twice(index: Index) -> Iterator[Finding]:
    """VM-08, IMG-05, LIMIT-28: of the VMs that are on, one writes to a thing, under whatever name."""
    writers: Meeting[Writer] = Meeting()
    reported: set[Place] = set()
    for writer in _writers(index):
        met = (pair for pair in writers.met(writer.use.identities) if _clash(pair[1], writer))
        identity, first = next(met, (None, None))
        writers.add(writer.use.identities, writer)
        if identity is not None and first is not None and writer.place not in reported:
            reported.add(writer.place)
            text = _written_twice(identity, first, writer)
            yield Finding(writer.place, text, first.place if first.place != writer.place else None)


def _writers(index: Index) -> Iterator[Writer]:
    """What the VMs that are on write, and the volumes of their own that other names lead to."""
    found: set[tuple[str, Place]] = set()
    for machine in index.machines:
        for use in index.writes.written(machine.instance, _reach(index, machine)) if machine.on else ():
            for owner in _owners(index, [use]):
                if owner.machine.on and (owner.machine.name, owner.place) not in found:
                    found.add((owner.machine.name, owner.place))
                    yield owner
            yield Writer(machine, use)


def _owners(index: Index, uses: Iterable[Use]) -> Iterator[Writer]:
    """The VMs whose own volume one of these things is, and which write to it."""
    for identity in (identity for use in uses for identity in use.identities):
        machine = index.named.get(owner_of(identity.name))
        if machine is not None:
            own = index.writes.own_volume(identity, machine.name, machine.instance, _reach(index, machine))
            if own is not None and machine.instance.disks[int(own.field[1])].writable:
                yield Writer(machine, own)


def _reach(index: Index, machine: Machine) -> Hosts:
    return index.writes.reach(machine.instance, machine.vm.host)


def _clash(first: Writer, second: Writer) -> bool:
    """Whether two disks on one thing are one writer too many, and no other rule refuses them."""
    if first.use.shareable and second.use.shareable:
        return False
    if first.machine.name == second.machine.name:
        return not first.use.may_replace(second.use)
    is_unique = first.machine.instance is second.machine.instance and first.machine.instance.unique is not False
    return not (is_unique and first.use.field == second.use.field and first.use.field[0] == "disks")


def _written_twice(identity: Identity, first: Writer, second: Writer) -> str:
    names = (first.machine.name, second.machine.name)
    who = f"twice by {names[0]}" if names[0] == names[1] else f"by both {names[0]} and {names[1]}"
    remedy = f"{turned_off(first.machine, second.machine)}, or write read_only: true"
    return f"{_in_words(identity, first.use, second.use)} written {who}: {remedy} (VM-08)"


def _in_words(identity: Identity, first: Use, second: Use) -> str:
    if first.words == second.words:
        return f"{first.words} is"
    return f"{first.words} and {second.words} are one thing, {identity}, and it is"


class Layer(NamedTuple):
    """What stands on something: a volume or the disks of an instance over an image or a volume, a pool on a device."""

    place: Place
    words: str
    base: Use


def bases_are_not_written(index: Index) -> Iterator[Finding]:
    """VSNP-03: what others are layered over, or a pool stands on, is never written again, under whatever name."""
    layers: Meeting[Layer] = Meeting()
    for layer in _layers(index):
        layers.add(layer.base.identities, layer)
        for owner in _owners(index, [layer.base]):
            text = f"{layer.words} {layer.base.words}, and {owner.use.words} is that file: write another file"
            yield Finding(layer.place, f"{text} (VSNP-03)", owner.place)
    for name, instance in index.site.instances.items():
        for use in index.writes.written(instance, _hosts(index, instance)):
            identity, over = next(layers.met(use.identities), (None, None))
            if identity is not None and over is not None:
                same = "" if over.base.words == use.words else f", which is one thing with {use.words}, {identity}"
                text = f"{over.words} {over.base.words}{same}: write read_only: true, or use the layer (VSNP-03)"
                yield Finding(("dos_instances", name, *use.field), text, over.place)


def _layers(index: Index) -> Iterator[Layer]:
    for name, volume in index.site.volumes.items():
        words, at = f"volume {name} is layered over", ("dos_volumes", name)
        where = frozenset([str(volume.host)]) if volume.host else None
        if volume.base and volume.base in index.site.volumes:
            yield Layer((*at, "base"), words, index.writes.of_volume(volume.base, where))
        if volume.image and volume.image in index.site.images:
            yield Layer((*at, "image"), words, index.writes.of_image(volume.image, where))
    for name, instance in index.site.instances.items():
        for use in index.writes.layers(instance, _hosts(index, instance)):
            yield Layer(("dos_instances", name, *use.field), f"disks of {name} are layered over", use)
    for name, pool in index.site.pools.items():
        for device in pool.source.devices if pool.source else ():
            use = index.writes.of_device(device, pool.host)
            yield Layer(("dos_pools", name, "source", "devices"), f"pool {name} stands on", use)


def _hosts(index: Index, instance: Instance) -> Hosts:
    """The hosts that its VMs may run on."""
    own = [vm.host for vm in (instance.vms or {}).values()]
    return frozenset(map(str, own)) if own and all(own) else index.writes.reach(instance)


class Named(NamedTuple):
    """Something that is declared by a name of its own, or made for a VM."""

    place: Place
    field: str  # that the format, or what else it must agree in, is written in
    use: Use
    content: tuple[object, ...] = ()


def names_of_one_thing_agree(index: Index) -> Iterator[Finding]:
    """IMG-05, VOL-10, POOL-13: two names of one thing agree in its format and in what its content must be."""
    known: Meeting[Named] = Meeting()
    for named in _named(index):
        for identity, first in known.met(named.use.identities):
            text = _disagreement(first, named)
            if text:
                words = f"{named.use.words} is one thing with {first.use.words}, {identity}"
                yield Finding((*named.place, named.field), f"{words}{text}", first.place)
                break
        known.add(named.use.identities, named)
        for owner in _owners(index, [named.use]) if named.place[0] == "dos_images" else ():
            text = _disagreement(Named(owner.place, "pool", owner.use), named)
            if text:
                yield Finding((*named.place, "file"), f"is {owner.use.words}{text}", owner.place)


def _named(index: Index) -> Iterator[Named]:
    for name in index.site.volumes:
        use = index.writes.of_volume(name)
        yield Named(("dos_volumes", name), "lun" if index.site.volumes[name].lun is not None else "pool", use)
    for name, image in index.site.images.items():
        content = (image.checksum,) if image.checksum else ()
        yield Named(("dos_images", name), "file", index.writes.of_image(name), content)


def _disagreement(first: Named, second: Named) -> str:
    """Why two names must not be of one thing, as the end of a sentence, or nothing."""
    kinds = {first.place[0], second.place[0]}
    if kinds == {"dos_volumes"}:
        return ": declare one volume (POOL-13)"
    if first.use.format != second.use.format:
        return (
            f", in format {second.use.format} here and {first.use.format} there: write what qemu-img info says (IMG-05)"
        )
    if second.content and (kinds != {"dos_images"} or first.content not in ((), second.content)):
        return ", and its checksum says what only this image would have: write another file (IMG-05)"
    return ""


def own_disks_boot_with_their_host(index: Index) -> Iterator[Finding]:
    """VM-08, LIMIT-28: what starts with a host writes to nothing that another host could be writing by then."""
    for name, instance in index.site.instances.items():
        at: Place = ("dos_instances", name)
        fields = [(*at, *field) for field, word in _boots(instance) if word in ("start", "last")]
        field, words, hosts = next(index.writes.reached(instance) if fields else iter(()), ((), "", []))
        if not hosts:
            continue
        listed = ", ".join(hosts) if len(hosts) < 5 else f"{len(hosts)} hosts"
        text = f"{words} is reached by {listed}, and a host that boots does not ask the others: write on_boot: stay_off (VM-08)"
        yield from (Finding(declared, text, (*at, *field)) for declared in fields)


def _boots(instance: Instance) -> Iterator[tuple[Place, OnBoot | None]]:
    """What is declared for the boot of a host, of the instance and of its VMs, with its field."""
    yield ("on_boot",), instance.on_boot
    yield from ((("vms", str(name), "on_boot"), vm.on_boot) for name, vm in (instance.vms or {}).items())
