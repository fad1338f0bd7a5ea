# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints of a machine, carried out: libvirt's snapshots, with the memory of the guest, inside the qcow2 disks or in files.

What is different about those in files is in `external.py`. See https://libvirt.org/formatsnapshot.html. Whatever is refused or fails leaves the machine and its tree as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._thirdparty import libvirt
from ..errors import ConflictError, PermissionNeeded
from ..model.checkpoint import Checkpointing
from ..plan.checkpoint import descendants, losses, refusals, targets
from ..xml.build import E, parse, to_text
from ..xml.common import not_of
from . import external
from .connection import saying
from .libvirt import LibvirtHypervisor
from .outside_layers import outside_layers
from .power import state_of
from .ready import refuse_files

INTERNAL, EXTERNAL = "internal", "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint as libvirt keeps it. `at` is in seconds since 1970; `disks` are those captured; `memory` is whether it is
    gone back to without a boot."""

    name: str
    label: str = ""
    parent: str | None = None
    current: bool = False
    at: int = 0
    disks: tuple[str, ...] = ()
    stored: str = INTERNAL
    memory: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a call came to: the tree as it is now, and what was done, in sentences."""

    tree: tuple[Checkpoint, ...]
    performed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def carry_out(asked: Checkpointing, hypervisor: LibvirtHypervisor, *, dry_run: bool) -> Told:
    """One order about the checkpoints of a machine. Raises `ConflictError` with every reason, `PermissionNeeded` for a loss."""
    with saying(f"{asked.order} a checkpoint of domain {asked.vm}"):
        domain = hypervisor._connection.lookupByName(asked.vm)
        xml = parse(domain.XMLDesc())
        if why := not_of(asked.site, xml):
            raise ConflictError(f"domain {asked.vm} {why}")
        held = {checkpoint.name: checkpoint for checkpoint in tree(domain)}
        if asked.order == "list":
            return Told(tree=tuple(held.values()))
        if asked.order != "rename" and (outside := outside_layers(domain)):
            listed = (f"disk {target} is on layer {layer}, made outside dos.vm" for target, layer in outside.items())
            raise ConflictError(f"domain {asked.vm}: {'; '.join(listed)}: merge it first, as dos.vm.plan says")
        with hypervisor.lock():
            performed, notes = _ORDERS[asked.order](asked, domain, xml, held, dry_run)
        return Told(tree=tree(domain), performed=performed, notes=notes)


def tree(domain: Any) -> tuple[Checkpoint, ...]:
    """Every checkpoint, parents before children."""
    return tuple(_read(snapshot) for snapshot in domain.listAllSnapshots(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL))


def _read(snapshot: Any) -> Checkpoint:
    xml = parse(snapshot.getXMLDesc())
    captured = {kind: tuple(_captured(xml, kind)) for kind in (INTERNAL, EXTERNAL)}
    memory = xml.find("memory")
    return Checkpoint(
        name=snapshot.getName(),
        label=xml.findtext("description") or "",
        parent=xml.findtext("parent/name"),
        current=bool(snapshot.isCurrent()),
        at=int(xml.findtext("creationTime") or 0),
        disks=captured[EXTERNAL] or captured[INTERNAL],
        stored=EXTERNAL if captured[EXTERNAL] else INTERNAL,
        memory=memory is not None and memory.get("snapshot") != "no",
    )


def _captured(xml: Any, kind: str) -> Iterator[str]:
    return (disk.get("name", "") for disk in xml.iterfind(f"disks/disk[@snapshot='{kind}']"))


Done = tuple[tuple[str, ...], tuple[str, ...]]
Held = dict[str, Checkpoint]


def _create(asked: Checkpointing, domain: Any, xml: Any, held: Held, dry_run: bool) -> Done:
    if asked.name in held:
        return (), (f"checkpoint {asked.name} is there already",)
    inside = asked.stored == INTERNAL
    reasons = list(refusals(xml, state_of(domain), asked.disks, inside=inside, memory=asked.memory))
    reasons += [
        f"it has {checkpoint.name}, which is {checkpoint.stored}: all of a machine are of one kind"
        for checkpoint in held.values()
        if checkpoint.stored != asked.stored
    ]
    if reasons:
        raise ConflictError(_listed(f"domain {asked.vm} can have no checkpoint:", reasons))
    if not dry_run:
        _inside(asked, domain, xml) if inside else external.create(asked, domain, xml)
    return (f"checkpoint {asked.name} of domain {asked.vm} has been created",), ()


def _inside(asked: Checkpointing, domain: Any, xml: Any) -> None:
    wanted = E(
        "domainsnapshot",
        E("name", asked.name),
        E("description", asked.label) if asked.label else None,
        E("memory", snapshot=INTERNAL),
        E("disks", (E("disk", name=name, snapshot=INTERNAL) for name in targets(xml))),
    )
    domain.snapshotCreateXML(to_text(wanted), 0)


def _rollback(asked: Checkpointing, domain: Any, xml: Any, held: Held, dry_run: bool) -> Done:
    snapshot = _found(asked, domain, held)
    captured = parse(snapshot.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE)).find("domain")
    refuse_files(domain.connect(), captured, f"roll domain {asked.vm} back")
    lost = list(losses(xml, captured)) if captured is not None else []
    if not asked.confirm:
        present = ["what the machine did since then is lost", *lost]
        raise PermissionNeeded(_listed(f"rolling domain {asked.vm} back to {asked.name} needs confirm: true:", present))
    if not dry_run and held[str(asked.name)].stored == EXTERNAL:
        external.rollback(domain, snapshot)
    elif not dry_run:
        domain.revertToSnapshot(snapshot, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING)
    return (f"domain {asked.vm} has been rolled back to checkpoint {asked.name}",), tuple(lost)


def _delete(asked: Checkpointing, domain: Any, xml: Any, held: Held, dry_run: bool) -> Done:
    if asked.name not in held:
        return (), (f"there is no checkpoint {asked.name}",)
    below = descendants({name: checkpoint.parent for name, checkpoint in held.items()}, str(asked.name))
    if below and not asked.confirm:
        text = (
            f"checkpoint {asked.name} has {', '.join(below)} below it, which go with it: write confirm: true (CKPT-04)"
        )
        raise PermissionNeeded(text)
    mine = held[str(asked.name)]
    if not dry_run and mine.stored == EXTERNAL:
        external.delete(domain, _found(asked, domain, held), mine.parent, asked.timeout)
    elif not dry_run:
        _found(asked, domain, held).delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN)
    gone = (str(asked.name), *below)
    return tuple(f"checkpoint {name} of domain {asked.vm} has been deleted" for name in gone), ()


def _rename(asked: Checkpointing, domain: Any, xml: Any, held: Held, dry_run: bool) -> Done:
    snapshot = _found(asked, domain, held)
    if held[str(asked.name)].label == asked.label:
        return (), (f"checkpoint {asked.name} is called so already",)
    described = parse(snapshot.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE))
    for old in described.findall("description"):
        described.remove(old)
    described.insert(1, E("description", asked.label))
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
    flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT if snapshot.isCurrent() else 0
    if not dry_run:
        domain.snapshotCreateXML(to_text(described), flags)
    return (f"checkpoint {asked.name} of domain {asked.vm} has been renamed",), ()


_ORDERS = {"create": _create, "rollback": _rollback, "delete": _delete, "rename": _rename}


def _found(asked: Checkpointing, domain: Any, held: Held) -> Any:
    if asked.name not in held:
        known = ", ".join(held) or "none"
        raise ConflictError(f"domain {asked.vm} has no checkpoint {asked.name}; it has: {known}")
    return domain.snapshotLookupByName(asked.name)


def _listed(head: str, reasons: list[str]) -> str:
    return "\n  ".join([head, *reasons])
