# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a running machine: what changed since the one before, in files that are a chain; QEMU writes them, or serves them to
be read (`pulled.py`).

libvirt's checkpoints mark in the disks what changes from one backup to the next. A list beside the files says what belongs
together; it is written last, so that what was interrupted is no backup. See https://libvirt.org/formatbackup.html
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import durable
from .._thirdparty import libvirt
from ..chain import keeps_changes
from ..errors import ConflictError, DosVmError, HypervisorError
from ..model.backup import BackingUp
from ..plan.checkpoint import targets
from ..xml.build import E, parse, to_text
from ..xml.common import not_of
from . import pulled, pushed, records, restored
from .connection import allowing, saying
from .libvirt import LibvirtHypervisor
from .power import state_of
from .sides import place_of

LIST = "backups.json"
PREFIX = "dos-backup-"  # of libvirt's checkpoints
STEP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One of a chain. `parent` is the one it continues, nothing for a full one; `disks` are file names by target.

    `mark` is libvirt's checkpoint of it; empty where the disks keep no record of changes, so that nothing continues it.
    """

    name: str
    mark: str | None = None
    parent: str | None = None
    at: float = 0.0
    disks: dict[str, str] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a call came to: every backup there is, what was done, and what is wrong with the chain."""

    backups: tuple[Backup, ...]
    performed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def carry_out(asked: BackingUp, hypervisor: LibvirtHypervisor, *, dry_run: bool, now: float) -> Told:
    """One order about the backups of a machine."""
    folder = Path(asked.directory)
    known = listed(folder)
    match asked.order:
        case "check":
            return Told(backups=known, broken=tuple(broken(folder, known)))
        case "restore":
            return _restore(asked, folder, known, hypervisor, dry_run)
        case "forget":
            with saying(f"forget the backups of domain {asked.vm}"):
                gone = 0 if dry_run else _forget(hypervisor._connection.lookupByName(asked.vm))
            return Told(backups=known, performed=(f"domain {asked.vm} begins a new chain",) if gone else ())
        case "create":
            with saying(f"back up domain {asked.vm}"):
                return _create(asked, folder, known, hypervisor, dry_run, now)


def listed(folder: Path) -> tuple[Backup, ...]:
    """What is in a directory, oldest first."""
    path = folder / LIST
    if not path.exists():
        return ()
    try:
        return tuple(_read(held) for held in json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as refused:
        raise ConflictError(f"{path} is not a list of backups: {refused}") from None


def _read(held: dict[str, Any]) -> Backup:
    # Lists of before did not name the mark.
    return Backup(**{"mark": f"{PREFIX}{held.get('name')}", **held})


def chain(known: tuple[Backup, ...], name: str) -> list[Backup]:
    """A backup and all that it continues, the full one first. Raises `ConflictError` where one is missing."""
    by_name = {held.name: held for held in known}
    found: list[Backup] = []
    wanted: str | None = name
    while wanted is not None:
        if wanted not in by_name:
            raise ConflictError(f"backup {name} continues {wanted}, which is not there")
        found.insert(0, by_name[wanted])
        wanted = by_name[wanted].parent
    return found


def broken(folder: Path, known: tuple[Backup, ...]) -> list[str]:
    """What is wrong with the files: missing, changed since they were written, or not readable as what they are."""
    found = []
    for held in known:
        for target, name in held.disks.items():
            path = folder / name
            if not path.exists():
                found.append(f"{held.name}: {name} is not there")
            elif _sum(path) != held.sums.get(target):
                found.append(f"{held.name}: {name} is not what was written")
            elif (why := _checked(path)) is not None:
                found.append(f"{held.name}: {name}: {why}")
        with suppress(ConflictError):
            chain(known, held.name)
            continue
        found.append(f"{held.name}: {held.parent} before it is not there")
    return found


# Creating


def _create(
    asked: BackingUp, folder: Path, known: tuple[Backup, ...], hypervisor: LibvirtHypervisor, dry_run: bool, now: float
) -> Told:
    domain = hypervisor._connection.lookupByName(asked.vm)
    xml = parse(domain.XMLDesc())
    _refuse(asked, domain, xml)
    name = str(asked.name or f"{len(known) + 1:04d}")
    if any(held.name == name for held in known):
        return Told(backups=known)
    disks = list(targets(xml))
    forgetful = list(_without_record(hypervisor, xml))
    _refuse_incremental(asked, forgetful)
    parent = None if asked.full or forgetful else _parent(domain, known, disks)
    notes = tuple(_notes(asked, known, forgetful, parent))
    done = (
        f"domain {asked.vm} has been backed up {'in full' if parent is None else f'since {parent.name}'} as {name}",
    )
    if dry_run:
        return Told(backups=known, performed=done, notes=notes)
    _make(folder)
    if parent is None:
        _forget(domain)  # a new chain needs no marks of the old one, and every mark costs each write something
    files = {target: f"{name}-{target}.qcow2" for target in disks}
    mark = None if forgetful else f"{PREFIX}{name}-{uuid.uuid4().hex[:8]}"  # no other one of the disk is called so
    with hypervisor.lock():
        _taken(asked, domain, mark, parent, {target: folder / file for target, file in files.items()})
    for target, file in files.items():
        _link(folder, file, None if parent is None else parent.disks[target])
    made = Backup(
        name=name,
        mark=mark,
        parent=None if parent is None else parent.name,
        at=now,
        disks=files,
        sums={target: _sum(folder / file) for target, file in files.items()},
    )
    _write(folder, (*known, made))
    return Told(backups=(*known, made), performed=done, notes=notes)


def _make(folder: Path) -> None:
    """The directory, which is root's, and which QEMU passes through. One that is there stays as it is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(pushed.PASSABLE)


def _without_record(hypervisor: LibvirtHypervisor, xml: Any) -> Iterator[str]:
    """The disks that keep no record of what changes in them, each with what to do."""
    for target, disk in targets(xml).items():
        _, _, path = place_of(hypervisor._connection, disk)
        driver = disk.find("driver")
        if driver is None or driver.get("type") != "qcow2":
            yield f"disk {target} is raw, and keeps no record of what changes: only qcow2 does"
        elif not path or not keeps_changes(path):
            yield (
                f"disk {target} is qcow2 of compatibility level 0.10, and keeps no record of what changes: shut the VM down, run "
                f"qemu-img amend -f qcow2 -o compat=1.1 {path} on its host, and start it"
            )


def _notes(asked: BackingUp, known: tuple[Backup, ...], forgetful: list[str], parent: Backup | None) -> Iterator[str]:
    """Why a backup is in full that was not asked to be."""
    if asked.full or parent is not None:
        return
    yield from (f"{why}; this backup is in full" for why in forgetful)
    if known and not forgetful:
        yield f"the record of what changed since {known[-1].name} is not there; this backup is in full"


def _refuse_incremental(asked: BackingUp, forgetful: list[str]) -> None:
    if asked.full is False and forgetful:
        raise ConflictError("\n  ".join([f"domain {asked.vm} has no incremental backup:", *forgetful]))


def _refuse(asked: BackingUp, domain: Any, xml: Any) -> None:
    reasons = [why] if (why := not_of(asked.site, xml)) else []
    if state_of(domain) not in ("running", "paused"):
        reasons.append(f"is {state_of(domain)}: QEMU keeps what changed, and it does not run")
    for target, disk in targets(xml).items():
        if disk.find("transient") is not None:
            reasons.append(f"disk {target} forgets what is written to it")
    if reasons:
        raise ConflictError("\n  ".join([f"domain {asked.vm} cannot be backed up:", *reasons]))


def _parent(domain: Any, known: tuple[Backup, ...], disks: list[str]) -> Backup | None:
    """The newest backup, if the machine still has the mark of it for every disk; otherwise the next one is full."""
    marks = {held.getName(): held for held in domain.listAllCheckpoints()}
    newest = known[-1] if known else None
    if newest is None or newest.mark not in marks or set(newest.disks) != set(disks):
        return None
    return newest if records.define(domain, marks[newest.mark].getXMLDesc()) else None


def _forget(domain: Any) -> int:
    marks = [held for held in domain.listAllCheckpoints() if held.getName().startswith(PREFIX)]
    for held in marks:
        try:
            held.delete()
        except libvirt.libvirtError:  # the record is lost already
            held.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    return len(marks)


def _taken(asked: BackingUp, domain: Any, mark: str | None, parent: Backup | None, files: dict[str, Path]) -> None:
    """The blocks into the files, by either way; the mark of a backup that fails is taken away."""
    since = parent.mark if parent else None
    owner, directory = pushed.owner_of(parse(domain.XMLDesc())), next(iter(files.values())).parent
    try:
        if asked.mode == "push" or (asked.mode is None and pushed.reaches(directory, owner)):
            with pushed.room(directory, owner) as room:
                _begin(asked, domain, mark, pushed.element({at: room / path.name for at, path in files.items()}, since))
                _wait(domain, asked.timeout)
                pushed.take(room, files)
            return
        with pulled.served(domain) as folder:
            _begin(asked, domain, mark, pulled.element(folder, iter(files), since))
            pulled.read(domain, folder, files, changed=parent is not None, seconds=asked.timeout)
    except (DosVmError, OSError, libvirt.libvirtError):
        # Without the file its mark must not count: the next backup would lack what changed until now.
        with allowing("VIR_ERR_NO_DOMAIN_CHECKPOINT"):
            domain.checkpointLookupByName(mark or "").delete()
        raise


def _begin(asked: BackingUp, domain: Any, mark: str | None, backup: Any) -> None:
    checkpoint = None if mark is None else to_text(E("domaincheckpoint", E("name", mark)))
    frozen = asked.quiesce and _freeze(domain)
    try:
        domain.backupBegin(to_text(backup), checkpoint, 0)
    finally:
        if frozen:
            domain.fsThaw()


def _freeze(domain: Any) -> bool:
    """Whether the guest's agent holds its file systems still; one that does not answer is no reason to have no backup."""
    with allowing("VIR_ERR_AGENT_UNRESPONSIVE", "VIR_ERR_ARGUMENT_UNSUPPORTED", "VIR_ERR_OPERATION_INVALID"):
        domain.fsFreeze()
        return True
    return False


def _wait(domain: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
        if time.monotonic() > deadline:
            domain.abortJob()
            raise HypervisorError(f"back up domain {domain.name()}", f"not done within {seconds:.0f} s, and given up")
        time.sleep(STEP)
    told = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    if not told.get("success", told.get("type") == libvirt.VIR_DOMAIN_JOB_COMPLETED):
        raise HypervisorError(f"back up domain {domain.name()}", str(told.get("errmsg", "QEMU gave up")))


# Files


def _link(folder: Path, file: str, before: str | None) -> None:
    """Name the file before it in the chain, by name alone: a directory may be moved as a whole."""
    if before is not None:
        _run("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", before, str(folder / file))
    os.chmod(folder / file, 0o600)
    durable.settle(folder / file)  # before the list names it


def _restore(
    asked: BackingUp, folder: Path, known: tuple[Backup, ...], hypervisor: LibvirtHypervisor, dry_run: bool
) -> Told:
    if not known:
        raise ConflictError(f"{folder} has no backup")
    name = str(asked.name or known[-1].name)
    wanted = chain(known, name)
    wrong = broken(folder, tuple(wanted))
    if wrong:
        raise ConflictError("\n  ".join([f"backup {name} cannot be restored:", *wrong]))
    if asked.to is None:
        sources = {target: folder / file for target, file in wanted[-1].disks.items()}
        files = restored.in_place(asked, sources, hypervisor, dry_run=dry_run)
        done = f"backup {name} of domain {asked.vm} has been restored in place"
        return Told(backups=known, performed=(done,), files=files)
    to = Path(asked.to)
    files = {target: str(to / f"{asked.vm}-{target}.qcow2") for target in wanted[-1].disks}
    there = [path for path in files.values() if os.path.exists(path)]
    if there:
        raise ConflictError(
            f"{', '.join(there)} is there already: restore to another directory, nothing is written over"
        )
    if not dry_run:
        to.mkdir(parents=True, exist_ok=True)
        for target, path in files.items():
            half = f"{path}.part"
            _run("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", str(folder / wanted[-1].disks[target]), half)
            shutil.move(half, path)
    return Told(
        backups=known, performed=(f"backup {name} of domain {asked.vm} has been restored to {to}",), files=files
    )


def _write(folder: Path, backups: tuple[Backup, ...]) -> None:
    durable.write(folder / LIST, json.dumps([asdict(held) for held in backups], indent=1) + "\n", 0o644)


def _sum(path: Path) -> str:
    with path.open("rb") as held:
        return hashlib.file_digest(held, "sha256").hexdigest()


def _checked(path: Path) -> str | None:
    done = subprocess.run(
        ["qemu-img", "check", "-q", "-f", "qcow2", str(path)], capture_output=True, text=True, check=False
    )
    return done.stderr.strip() or "qemu-img finds it damaged" if done.returncode else None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HypervisorError(f"run {command[0]} {command[1]}", done.stderr.strip())
