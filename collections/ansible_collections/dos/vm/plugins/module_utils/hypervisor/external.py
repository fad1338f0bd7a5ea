# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints of a machine in files of their own: each begins a new layer over every disk, and keeps the memory beside.

libvirt makes them and keeps their tree, and up to 9.8 can neither go back to one nor merge one away; that is done here. A file that a
checkpoint froze is written by nobody until that checkpoint is deleted: its layers, and those of what stood below it, are merged
into it if the machine runs on them, or go. What no checkpoint and no disk needs any longer is swept up afterwards, so that
whatever was interrupted costs room until the next order and nothing else.
See https://libvirt.org/kbase/snapshots.html and docs/design/0048.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import ConflictError, HypervisorError
from ..model.checkpoint import Checkpointing
from ..model.overlay import Layer, image_of, layered
from ..plan.checkpoint import targets
from ..plan.disks import FORM
from ..xml.build import E, parse, to_text
from .ready import is_here

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

MEMORY = "memory"  # the file beside the layers
SEARCHABLE = 0o711  # QEMU is another user, and need not see what else there is
STEP = 0.1
SECURE = 1  # VIR_DOMAIN_XML_SECURE, and the same number for snapshots and saved memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One external checkpoint. `frozen` are the disks at that moment by target, as their elements name them; `layers` what was
    begun over them; `memory` the file of the memory, if it was kept."""

    name: str
    state: str
    frozen: Mapping[str, Element]
    layers: Mapping[str, Layer]
    memory: str | None

    @property
    def layer(self) -> Layer:
        return next(iter(self.layers.values()))


# --- made ----------------------------------------------------------------------------------------------------------------


def create(asked: Checkpointing, domain: Any, xml: Element) -> None:
    """A checkpoint of all disks, and of the memory where that is asked for."""
    if not is_here(domain.connect()):
        raise ConflictError("external checkpoints are made on the host itself: give an uri without a host")
    name, directory = str(asked.name), str(asked.directory)
    layers = {
        target: Layer(directory, domain.name(), name, target, image_of(path_of(domain.connect(), disk)))
        for target, disk in targets(xml).items()
    }
    for layer in layers.values():
        _folder(layer)
    keeps = asked.memory and bool(domain.isActive())
    memory = f"{next(iter(layers.values())).folder}/{name}/{MEMORY}"
    wanted = E(
        "domainsnapshot",
        E("name", name),
        E("description", asked.label) if asked.label else None,
        E("memory", snapshot="external", file=memory) if keeps else E("memory", snapshot="no"),
        E("disks", [_wanted(target, layers.get(target)) for target in _all(xml)]),
    )
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_LIVE if keeps else libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE if asked.quiesce and domain.isActive() else 0
    try:
        domain.snapshotCreateXML(to_text(wanted), flags)
    except libvirt.libvirtError:
        sweep(domain, next(iter(layers.values())).folder)
        raise


def _all(xml: Element) -> list[str]:
    return [target.get("dev", "") for target in xml.iterfind("devices/disk/target")]


def _wanted(target: str, layer: Layer | None) -> Element:
    if layer is None:
        return E("disk", name=target, snapshot="no")
    return E(
        "disk", E("driver", type=FORM), E("source", file=layer.path), name=target, snapshot="external", type="file"
    )


def _folder(layer: Layer) -> None:
    """The folders down to a layer; the directory is the operator's, and its rights are left as they are."""
    path, directory = Path(layer.path), Path(layer.directory)
    directory.mkdir(mode=SEARCHABLE, parents=True, exist_ok=True)
    for folder in reversed([held for held in path.parents if directory in held.parents]):
        folder.mkdir(exist_ok=True)
        folder.chmod(SEARCHABLE)


# --- read ----------------------------------------------------------------------------------------------------------------


def moment(snapshot: Any) -> Moment:
    """What libvirt keeps of a checkpoint."""
    xml = parse(snapshot.getXMLDesc(SECURE))
    layers = {}
    for disk in xml.iterfind("disks/disk[@snapshot='external']"):
        source = disk.find("source")
        layer = None if source is None else layered(source.get("file", ""))
        if layer is None:
            raise ConflictError(
                f"checkpoint {snapshot.getName()} is not of our making: what it keeps is not where ours is"
            )
        layers[disk.get("name", "")] = layer
    captured = xml.find("domain")
    memory = xml.find("memory[@snapshot='external']")
    return Moment(
        name=snapshot.getName(),
        state=xml.findtext("state") or "",
        frozen={} if captured is None else {name: disk for name, disk in targets(captured).items() if name in layers},
        layers=layers,
        memory=None if memory is None else memory.get("file"),
    )


def moments(domain: Any) -> dict[str, Moment]:
    """Every external checkpoint of a machine."""
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL
    return {snapshot.getName(): moment(snapshot) for snapshot in domain.listAllSnapshots(flags)}


def path_of(connection: Any, disk: Element) -> str:
    """The file or device of a disk; that of a volume is libvirt's to tell."""
    source = disk.find("source")
    if source is None:
        return ""
    if source.get("volume"):
        pool = connection.storagePoolLookupByName(source.get("pool"))
        return str(pool.storageVolLookupByName(source.get("volume")).path())
    return source.get("file") or source.get("dev") or ""


def _chain(path: str) -> list[str]:
    """A file and all that it is layered over."""
    if not os.path.exists(path):
        return [path]
    told = json.loads(_run("qemu-img", "info", "-U", "--backing-chain", "--output=json", path))
    return [held["filename"] for held in told]


# --- gone back to --------------------------------------------------------------------------------------------------------


def rollback(domain: Any, snapshot: Any) -> None:
    """The machine goes on from a checkpoint: over fresh layers, with its memory where that was kept."""
    connection, held = domain.connect(), moment(snapshot)
    xml = _definition(domain)
    frozen = {target: path_of(connection, disk) for target, disk in held.frozen.items()}
    _refuse(held, frozen, xml, connection)
    fresh = {target: layer._replace(moment=_next(layer)) for target, layer in held.layers.items()}
    for target, layer in fresh.items():
        _folder(layer)
        driver = held.frozen[target].find("driver")
        form = "raw" if driver is None else driver.get("type", "raw")
        _run("qemu-img", "create", "-q", "-f", FORM, "-b", frozen[target], "-F", form, layer.path)
    was_on = bool(domain.isActive())
    if was_on:
        domain.destroy()
    connection.defineXML(to_text(_over(xml, fresh)))
    if held.memory:
        saved = parse(connection.saveImageGetXMLDesc(held.memory, SECURE))
        connection.restoreFlags(held.memory, to_text(_over(saved, fresh)), libvirt.VIR_DOMAIN_SAVE_RUNNING)
    elif was_on or held.state == "disk-snapshot":
        domain.create()
    _make_current(domain, snapshot)
    sweep(domain, held.layer.folder)


def _refuse(held: Moment, frozen: Mapping[str, str], xml: Element, connection: Any) -> None:
    files = [*frozen.values(), *([held.memory] if held.memory else [])]
    reasons = [f"{path} is not there" for path in files if not os.path.exists(path)]
    reasons += [
        f"{target} is being written where the checkpoint kept it: it was being deleted, delete it"
        for target, disk in targets(xml).items()
        if path_of(connection, disk) == frozen.get(target)
    ]
    if reasons:
        raise ConflictError("\n  ".join([f"checkpoint {held.name} cannot be gone back to:", *reasons]))


def _next(layer: Layer) -> str:
    """A moment that no folder is called by: the checkpoint's name and a number."""
    number = 1
    while os.path.exists(f"{layer.folder}/{layer.moment}.{number}"):
        number += 1
    return f"{layer.moment}.{number}"


def _definition(domain: Any) -> Element:
    return parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | SECURE))


def _over(xml: Element, layers: Mapping[str, Layer]) -> Element:
    """A definition, in place, with layers for disks."""
    for target, layer in layers.items():
        source = E("source", file=layer.path)
        _replace(xml, target, E("disk", E("driver", name="qemu", type=FORM), source, type="file"))
    return xml


def _replace(xml: Element, target: str, other: Element) -> None:
    """Of a disk what says where its data is, as `other` has it."""
    disk = xml.find(f"devices/disk/target[@dev='{target}']/..")
    if disk is None:
        return
    for name in ("source", "backingStore"):
        for held in disk.findall(name):
            disk.remove(held)
    driver, theirs, source = disk.find("driver"), other.find("driver"), other.find("source")
    if driver is not None and theirs is not None:
        driver.set("type", theirs.get("type", "raw"))
    if source is not None:
        source.attrib.pop("index", None)
        disk.insert(1 if driver is not None else 0, source)
    disk.set("type", other.get("type", "file"))


def _make_current(domain: Any, snapshot: Any) -> None:
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
    domain.snapshotCreateXML(snapshot.getXMLDesc(SECURE), flags)


# --- deleted -------------------------------------------------------------------------------------------------------------


def delete(domain: Any, snapshot: Any, parent: str | None, timeout: float) -> None:
    """A checkpoint and all below it go. What the machine runs on is merged into the disks that the checkpoint froze."""
    connection, held = domain.connect(), moment(snapshot)
    now = {target: path_of(connection, disk) for target, disk in targets(_definition(domain)).items()}
    merged = {}
    for target, disk in held.frozen.items():
        frozen, top = path_of(connection, disk), now.get(target, "")
        if frozen not in (chain := _chain(top)):
            continue  # the machine went another way
        merged[target] = disk
        if chain[0] != frozen:
            _merge(domain, target, top, frozen, timeout)
    if merged:
        xml = _definition(domain)
        for target, disk in merged.items():
            _replace(xml, target, disk)
        connection.defineXML(to_text(xml))
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN | libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
    was_current = merged or snapshot.isCurrent()
    snapshot.delete(flags)
    if was_current and parent is not None:
        _make_current(domain, domain.snapshotLookupByName(parent))
    sweep(domain, held.layer.folder)


def _merge(domain: Any, target: str, top: str, base: str, timeout: float) -> None:
    if not domain.isActive():
        _run("qemu-img", "commit", "-q", "-b", base, top)
        return
    if not domain.blockJobInfo(target):
        domain.blockCommit(target, base, None, 0, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
    deadline = time.monotonic() + timeout
    while not _is_ready(domain, target):
        if time.monotonic() > deadline:
            domain.blockJobAbort(target, 0)
            raise HypervisorError(
                f"merge {target} of domain {domain.name()}", f"not done within {timeout:.0f} s, and given up"
            )
        time.sleep(STEP)
    domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)


def _is_ready(domain: Any, target: str) -> bool:
    mirror = parse(domain.XMLDesc()).find(f"devices/disk/target[@dev='{target}']/../mirror")
    return mirror is not None and mirror.get("ready") == "yes"


# --- swept up ------------------------------------------------------------------------------------------------------------


def sweep(domain: Any, folder: str) -> None:
    """Remove what neither a checkpoint nor a disk of the machine needs, of all that its checkpoints ever kept in the folder."""
    connection = domain.connect()
    needed = {path for moment_ in moments(domain).values() for path in _of_moment(connection, moment_)}
    for xml in (_definition(domain), parse(domain.XMLDesc())):
        for disk in targets(xml).values():
            needed.update(_chain(path_of(connection, disk)))
    _remove(Path(folder), needed)


def _of_moment(connection: Any, held: Moment) -> Iterator[str]:
    if held.memory:
        yield held.memory
    for disk in held.frozen.values():
        yield from _chain(path_of(connection, disk))


def _remove(folder: Path, needed: Collection[str]) -> None:
    for path, _, files in os.walk(folder, topdown=False):
        for name in files:
            if (whole := os.path.join(path, name)) not in needed:
                os.unlink(whole)
        with suppress(OSError):  # what is needed is in it
            os.rmdir(path)
    with suppress(OSError):
        folder.parent.rmdir()


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise HypervisorError(
            f"run {command[0]}", "it is not installed: apt install qemu-utils, or dnf install qemu-img"
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HypervisorError(f"run {command[0]} {command[1]}", done.stderr.strip())
    return done.stdout
