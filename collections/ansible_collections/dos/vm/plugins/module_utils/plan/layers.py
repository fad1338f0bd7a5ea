# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has which file: the machines that are defined with it, and the files that are layered over it.

Read once for a whole host, since every volume and every machine asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.domain import Disk, Domain
from ..model.overlay import image_of
from .plan import Context, Layers, Observed, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def layers(observed: Mapping[Address, Observed]) -> Layers:
    """What `Context.layers` holds, of everything on a host."""
    paths = {address.name: held.info.get("path", "") for address, held in observed.items() if address.kind == "volume"}
    names = dict(_names(observed.values()))
    over: dict[str, list[str]] = {}
    below: dict[str, str] = {}
    opened: dict[str, list[Address]] = {}
    named: dict[str, Address] = {}
    for upper, lower in _pairs(observed.values(), names):
        if below.setdefault(upper, lower) == lower and upper not in over.setdefault(lower, []):
            over[lower].append(upper)
    volumes = {path: name for name, path in paths.items() if path}
    found = Layers(over=over, below=below, opened=opened, named=named, names=names, volumes=volumes)
    for address, held in observed.items():
        for name in _all_named(held) if address.kind == "domain" else ():
            for file in (name, *found.stack(paths.get(name, name))):
                if address not in opened.setdefault(file, []):
                    opened[file].append(address)
                named.setdefault(file, address)
        for name in disk_names(held) if address.kind == "domain" else ():
            named.setdefault(name, address)
    return found


CHAIN = "chain of "  # in `Observed.info`, before the path of a disk's file


def _names(observed: Iterable[Observed]) -> Iterator[tuple[str, str]]:
    """Other paths of the files that are volumes or disks, each with the one that is used here: that of the volume."""
    seen = list(observed)
    volumes = {
        held.info[alias]: held.info.get("path", "") for held in seen for alias in ("real", "node") if alias in held.info
    }
    yield from volumes.items()
    for held in seen:
        for key, text in held.info.items():
            real = text.partition("\n")[0]
            if key.startswith((CHAIN, "node of ")) and (path := key.partition(" of ")[2]) != volumes.get(real, real):
                yield path, volumes.get(real, real)


def _pairs(observed: Iterable[Observed], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each layer with the file directly below it: as libvirt knows of volumes, and as the host read of other files."""
    for held in observed:
        below = held.xml.findtext("backingStore/path") if held.address.kind == "volume" else None
        if below:
            yield held.info.get("path", ""), names.get(below, below)
        for key, text in held.info.items():
            if key.startswith(CHAIN):
                yield from pairwise([names.get(file, file) for file in text.split("\n")])


def _all_named(held: Observed) -> Iterator[str]:
    yield from _named(held.xml)
    if held.live is not None:
        yield from _named(held.live)


def _named(domain: Element) -> Iterator[str]:
    """What the definition of a machine has for disks: files, and volumes as `pool/name`."""
    for source in domain.iterfind("devices/disk/source"):
        if source.get("volume"):
            yield f"{source.get('pool')}/{source.get('volume')}"
        elif source.get("file"):
            yield image_of(str(source.get("file")))


def disk_names(domain: Observed) -> Iterator[str]:
    """The files and volumes (`pool/name`) that a domain has in its disks, also below layers: in its definition, and while it runs."""
    for tree in (domain.xml, domain.live):
        for source in () if tree is None else tree.iterfind("devices/disk//source"):
            if source.get("volume"):
                yield f"{source.get('pool')}/{source.get('volume')}"
            path = source.get("file") or source.get("dev") or ""
            yield from filter(None, {path, image_of(path)})
    for key, text in domain.info.items():
        yield from text.split("\n") if key.startswith(CHAIN) else ()


def refuse_writing_a_base(address: Address, domain: Domain, context: Context) -> Plan | None:
    """VSNP-03: what something is layered over is never written again, since every layer would be ruined by it."""
    for path, layer in _bases(address, domain, context):
        if path not in _written(address, context):
            problem = (
                f"{address} would write {path}, and {layer} is layered over it: write read_only: true, or use the "
                f"layer, or merge it into a volume of its own, or delete it if it was merged (VSNP-03)"
            )
            return Plan(address=address, verdict="conflict", problem=problem)
    return None


def written_bases(address: Address, domain: Domain, context: Context) -> Iterator[str]:
    """Notes about layers over what the guest writes already, such as one that is left when it was merged."""
    for path, layer in _bases(address, domain, context):
        if path in _written(address, context):
            yield f"{layer} is layered over {path}, which the guest writes, so its content is no longer right: delete it (VSNP-03)"


def _bases(address: Address, domain: Domain, context: Context) -> Iterator[tuple[str, str]]:
    """The files that a domain is to write and that are the base of a layer, each with the layer.

    A layer that the domain itself has open is its own checkpoint and no harm.
    """
    for disk in domain.disks:
        path = _path(disk, context) if disk.device == "disk" and not (disk.read_only or disk.transient) else None
        for layer in context.layers.over.get(path, ()) if path else ():
            # A layer of a checkpoint is named after the file that it stands for, by which its domain is found.
            if address not in context.layers.opened.get(path if image_of(layer) == path else layer, ()):
                yield str(path), layer


def _written(address: Address, context: Context) -> set[str]:
    """What a running guest has for disks, of which it writes at least those that are asked for here."""
    held = context.observed.get(address)
    volumes = {name: path for path, name in context.layers.volumes.items()}
    named = [] if held is None or held.live is None else _named(held.live)
    return {context.layers.names.get(file, file) for name in named for file in (volumes.get(name, name),)}


def _path(disk: Disk, context: Context) -> str | None:
    if disk.volume is None:
        return disk.file
    held = context.observed.get(Address("volume", f"{disk.pool}/{disk.volume}"))
    return None if held is None else held.info.get("path")
