# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup put back in place of the disks of a VM that is off. All drafts are whole before the first disk is replaced."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import ConflictError, HypervisorError, PermissionNeeded
from ..model.address import Address
from ..model.backup import BackingUp
from ..plan.checkpoint import targets
from ..plan.layers import layers
from ..xml.build import parse
from ..xml.common import not_of
from .connection import saying
from .libvirt import LibvirtHypervisor
from .outside_layers import outside_layers
from .power import state_of
from .sides import place_of

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

DRAFT = ".restoring"


def in_place(
    asked: BackingUp, sources: Mapping[str, Path], hypervisor: LibvirtHypervisor, *, dry_run: bool
) -> dict[str, str]:
    """Replace the disks of a VM by these backups, by target. Returns their paths.

    Raises `ConflictError` with every reason against it, and `PermissionNeeded` with each volume that is not allowed to go.
    """
    with hypervisor.lock(), saying(f"restore domain {asked.vm}"):
        domain = hypervisor._connection.lookupByName(asked.vm)
        xml = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        disks = {target: disk for target, disk in targets(xml).items() if target in sources}
        places = {target: place_of(hypervisor._connection, disk) for target, disk in disks.items()}
        reasons = [*_of_vm(asked, domain, xml), *_of_disks(sources, disks, places, hypervisor, asked.site)]
        if reasons:
            raise ConflictError("\n  ".join([f"domain {asked.vm} is not restored in place:", *reasons]))
        _refuse_loss(asked, places)
        files = {target: path for target, (_, _, path) in places.items()}
        if not dry_run:
            _replace(domain, {target: (sources[target], disks[target], path) for target, path in files.items()})
            for pool in {str(pool) for pool, _, _ in places.values()}:
                hypervisor.refresh(Address("pool", pool))
        return files


def _of_vm(asked: BackingUp, domain: Any, xml: Element) -> Iterator[str]:
    if why := not_of(asked.site, xml):
        yield why
    if (state := state_of(domain)) != "shut off":
        yield f"is {state}: stop it first (dos.vm.power -e dos_order=stop), and without saved memory"
    for target, layer in outside_layers(domain).items():
        yield f"disk {target} is on layer {layer}, made outside dos.vm: merge it first, as dos.vm.plan says"
    if domain.snapshotNum():
        yield "has checkpoints, which would no longer match its disks: delete them, or restore to a directory (to)"


def _of_disks(
    sources: Mapping[str, Path],
    disks: Mapping[str, Element],
    places: Mapping[str, tuple[str | None, str | None, str]],
    hypervisor: LibvirtHypervisor,
    site: str,
) -> Iterator[str]:
    yield from (
        f"has no disk {target} any more: restore to a directory (to)" for target in sources if target not in disks
    )
    over = layers(hypervisor.observe(site)).over
    for target, (pool, _, path) in places.items():
        if pool is None or not os.path.isfile(path):
            yield f"disk {target} is no file of a pool: restore to a directory (to)"
            continue
        if disks[target].find(".//encryption") is not None:
            yield f"disk {target} is encrypted, and a backup is not: restore to a directory (to)"
        if over.get(path):
            yield f"disk {target} has {over[path][0]} layered over it, which would be ruined"
        if (why := _open_elsewhere(path)) is not None:
            yield f"disk {target} is in use: {why}"


def _open_elsewhere(path: str) -> str | None:
    """What QEMU says of a file that another QEMU has open, also on another host where the file system has locks."""
    done = subprocess.run(["qemu-img", "info", path], capture_output=True, text=True, check=False)
    return (done.stderr.strip() or "it cannot be read") if done.returncode else None


def _refuse_loss(asked: BackingUp, places: Mapping[str, tuple[str | None, str | None, str]]) -> None:
    names = [f"volume {pool}/{volume}" for pool, volume, _ in places.values()]
    named = asked.allow.data_loss if asked.allow else ()
    if missing := [name for name in names if name not in named]:
        listed = ", ".join(f'"{name}"' for name in missing)
        raise PermissionNeeded(
            f"{', '.join(missing)} would be replaced by the backup: set allow: {{data_loss: [{listed}]}}, "
            "or restore to a directory (to)"
        )


def _replace(domain: Any, disks: Mapping[str, tuple[Path, Element, str]]) -> None:
    try:
        for source, disk, path in disks.values():
            driver = disk.find("driver")
            _draft(source, "raw" if driver is None else driver.get("type", "raw"), path)
        if state_of(domain) != "shut off":
            raise ConflictError(f"domain {domain.name()} was started meanwhile: stop it, and restore again")
        for _, _, path in disks.values():
            os.replace(path + DRAFT, path)
    finally:
        for _, _, path in disks.values():
            Path(path + DRAFT).unlink(missing_ok=True)
    for held in domain.listAllCheckpoints():  # the records went with the files that had them
        held.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)


def _draft(source: Path, format_: str, path: str) -> None:
    """The backup beside the disk that it is to replace, as that disk is: in format, owner and mode, and on the disk for good."""
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", format_, str(source), path + DRAFT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HypervisorError("run qemu-img convert", done.stderr.strip())
    before = os.stat(path)
    os.chown(path + DRAFT, before.st_uid, before.st_gid)
    os.chmod(path + DRAFT, before.st_mode & 0o7777)
    with open(path + DRAFT, "rb") as draft:
        os.fsync(draft.fileno())
