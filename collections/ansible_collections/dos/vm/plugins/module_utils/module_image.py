# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible front end of what is done to disk files: conversion, editing, upload. Apart from `module`, whose payload is small.

These are long deeds. Each runs as a job of the host (`image/job.py`); a call starts it or finds it, waits a little, and tells
how far it is. The action plugins call until it is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .errors import ConflictError, DeclarationError
from .hypervisor.block_copy import block_copy, source_of
from .hypervisor.capabilities import kvm_works
from .hypervisor.file_marks import is_one
from .hypervisor.libvirt import LibvirtHypervisor
from .image import convert, edit, file, shared
from .image.header import read_header, shown
from .image.job import Job, Report
from .image.program import require
from .model.address import Address
from .model.argument_spec import Spec, argument_spec, fields_of
from .model.decode import decode, encode
from .model.front import Connection, SecretValues
from .model.image import BlockCopy, Convert, DiskName, Edit, ImageFile, Patience, Rebase, SharedPath, Upload
from .model.slice import Slice
from .module import Module, Result, given, report
from .plan.layers import layers
from .plan.plan import Layers, Observed

Held = Mapping[Address, Observed]
MORE: Mapping[type[Any], tuple[type[Any], ...]] = {Edit: (SecretValues,), ImageFile: (Upload,)}


def spec_of(model: type[Any]) -> dict[str, Spec]:
    """What the module of a deed takes."""
    found: dict[str, Spec] = {}
    for each in (model, Patience, Connection, *MORE.get(model, ())):
        found |= argument_spec(each)
    return found


def _module(model: type[Any]) -> tuple[Module, Callable[[], Any]]:
    names = {field.name for field in fields_of(model)}

    def read(params: Mapping[str, Any]) -> Any:
        return decode(model, {name: given(params[name]) for name in names if params.get(name) is not None})

    module = Module(spec_of(model), read)
    return module, partial(read, module.params)


# ------------------------------------------------------------------------------------------------------ deeds


def run_convert() -> None:
    """The module `image_convert`."""
    module, read = _module(Convert)
    report(module, lambda: _convert(module, read()))


def _convert(module: Module, asked: Convert) -> Result:
    with _Disks(module) as disks:
        source = disks.path(asked.source)
        destination = source if asked.destination is None else disks.path(asked.destination)
        job = Job({"convert": encode(asked), "source": source, "destination": destination})
        if not job.begun and destination == source:
            disks.refuse_users(source)
        elif not job.begun:
            disks.refuse_writers(source)
    if not job.begun and destination != source and os.path.exists(destination):
        held = read_header(destination)
        if held.format != asked.format:
            raise ConflictError(
                f"{destination} is there, and is {held.format}: write another destination, or delete it"
            )
        return {"changed": False, "file": destination, **shown(held)}
    if not job.begun:
        convert.chain(source, asked.source_format, flatten=asked.flatten)
    require("virt-sparsify" if asked.sparsify else "qemu-img")
    work = partial(convert.convert, asked, source, destination, environment=_environment())
    if asked.destination is not None and asked.destination.is_path:
        work = partial(_as_image, work, destination)
    return _advance(module, job, work, destination)


def _as_image(work: Callable[[Report], Mapping[str, Any]], path: str, report: Report) -> Mapping[str, Any]:
    """A disk saved as a file of its own, and what there is to declare of it (VOL-12)."""
    return {**work(report), "image": file.declaration(path, report)}


def _environment() -> dict[str, str]:
    """How libguestfs is run: on its own, and emulated where KVM is offered and would hang."""
    settings = {} if kvm_works(os.uname().machine) else {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    return {"LIBGUESTFS_BACKEND": "direct", **settings}


def run_rebase() -> None:
    """The module `image_rebase`."""
    module, read = _module(Rebase)
    report(module, lambda: _rebase(module, read()))


def _rebase(module: Module, asked: Rebase) -> Result:
    with _Disks(module) as disks:
        disk, base = disks.path(asked.disk), disks.path(asked.base)
        job = Job({"rebase": encode(asked), "disk": disk, "base": base})
        if not job.begun and read_header(disk).backing == base:
            return {"changed": False, "file": disk, "backing": base}
        if not job.begun:
            disks.refuse_users(disk)
    return _advance(module, job, partial(convert.rebase, asked, disk, base), disk)


def run_edit() -> None:
    """The module `image_edit`."""
    module, read = _module(Edit)
    report(module, lambda: _edit(module, read()))


def _edit(module: Module, asked: Edit) -> Result:
    values = module.params["secrets"] or {}
    missing = sorted(set((asked.passwords or {}).values()) - values.keys())
    if missing:
        raise DeclarationError.at(
            f"dos_secrets.{missing[0]}.value", "is needed now and this run has none: give it, from a vault"
        )
    with _Disks(module) as disks:
        disk = disks.path(asked.disk)
        job = Job({"edit": encode(asked), "disk": disk})
        if not job.begun:
            disks.refuse_users(disk)
            convert.chain(disk, asked.format, flatten=False)
    require("virt-sysprep" if asked.seal else "virt-customize")
    return _advance(module, job, partial(edit.edit, asked, disk, values, environment=_environment()), disk)


def _advance(module: Module, job: Job, work: Callable[[Report], Mapping[str, Any]], path: str) -> Result:
    """Begin or go on with a deed; when it is done, let libvirt see the file."""
    if module.check_mode:
        return {"changed": True, "file": path, "remaining": 0}
    told = job.advance(work, module.params["seconds"])
    if told["state"] == "running":
        return {"changed": False, "remaining": 1, "step": told.get("step", "begin"), "percent": told.get("percent", 0)}
    with _Disks(module) as disks:
        disks.refresh(path)
    more = {name: value for name, value in told.items() if name not in ("state", "pid", "step", "percent")}
    return {"changed": True, "remaining": 0, **more, **shown(read_header(path))}


def run_block_copy() -> None:
    """The module `block_copy`."""
    module, read = _module(BlockCopy)
    report(module, lambda: _block_copy(module, read()))


def _block_copy(module: Module, asked: BlockCopy) -> Result:
    address = Address("domain", asked.domain)
    with _Disks(module) as disks:
        held = disks.held.get(address)
        volume = disks.held.get(Address("volume", asked.destination))
        if held is None or held.live is None:
            raise ConflictError(f"{address} does not run: convert its disk instead (dos.vm.image_convert)")
        if volume is None:
            raise ConflictError(f"volume {asked.destination} is not on the host: declare it first, and make it")
        path = volume.info["path"]
        domain = disks.handle(address)
        if path in (source_of(domain, asked.target), disks.path_of(source_of(domain, asked.target))):
            return {"changed": False, "remaining": 0, "file": path}
        if module.check_mode:
            return {"changed": True, "remaining": 0, "file": path}
        pool, _, name = asked.destination.partition("/")
        if not domain.blockJobInfo(asked.target):
            disks.refuse_users(path)
        format_ = read_header(path).format
        copied = block_copy(domain, asked.target, pool, name, path, format_, module.params["seconds"])
    if not copied.done:
        return {"changed": False, "remaining": 1, "step": f"copy {asked.target}", "percent": copied.percent}
    return {"changed": True, "remaining": 0, "file": path}


# ------------------------------------------------------------------------------------------------------ files


def run_image() -> None:
    """The module `image`. Its action plugin calls it before an upload and, with `finish`, after."""
    module, read = _module(ImageFile)
    report(module, lambda: _image(module, read()))


def _image(module: Module, asked: ImageFile) -> Result:
    params = module.params
    if asked.state == "absent":
        with _Disks(module) as disks:
            users = disks.users(asked.file)
        return {"changed": file.remove(asked, users, dry_run=module.check_mode), "file": asked.file}
    if params["finish"]:
        told = file.finish(asked, params["seconds"])
    else:
        told = file.look(asked, params["size"], params["seconds"])
        if _is_ours_to_copy(params, asked, told) and not module.check_mode:
            told = file.bring(asked, params["seconds"])
            return {"changed": not told.get("running"), "file": asked.file, "copied": not told.get("running"), **told}
    return {"changed": bool(params["finish"]) or not told.get("present"), "file": asked.file, **told}


def _is_ours_to_copy(params: Mapping[str, Any], asked: ImageFile, told: Mapping[str, Any]) -> bool:
    """Whether the source is a file of this machine, which we may read, and its image is not there."""
    missing = not told.get("present") and not told.get("running")
    return bool(params["here"]) and missing and asked.source is not None and os.access(asked.source, os.R_OK)


def run_pool_check() -> None:
    """The module `pool_check`."""
    module, read = _module(SharedPath)
    report(module, lambda: _pool_check(read(), dry_run=module.check_mode))


def _pool_check(asked: SharedPath, *, dry_run: bool) -> Result:
    folder = str(shared.note(asked.path, asked.mark).parent)
    if not dry_run:
        match asked.state:
            case "left":
                folder = shared.leave(asked.path, asked.mark)
            case "seen":
                shared.find(asked.path, asked.mark, str(asked.folder))
            case "gone":
                shared.take_away(asked.path, asked.mark)
    return {"changed": False, "folder": folder}


# ------------------------------------------------------------------------------------------------------ who has what


class _Disks:
    """What libvirt knows of a host's disks: which file a volume is, and who has it."""

    def __init__(self, module: Module) -> None:
        self._hypervisor = LibvirtHypervisor(module.params["uri"])
        self._site = module.params["site"]
        self._held: Held | None = None

    def __enter__(self) -> _Disks:
        return self

    def __exit__(self, *how: object) -> None:
        self._hypervisor.close()

    @property
    def held(self) -> Held:
        if self._held is None:
            decode(Slice, {"site": self._site})
            self._held = self._hypervisor.observe(self._site)
        return self._held

    def path(self, name: DiskName) -> str:
        """The file of a disk, which need not be there."""
        if name.is_path:
            return str(name)
        found = self.held.get(Address("volume", name))
        pool_name, _, volume = name.partition("/")
        pool = self.held.get(Address("pool", pool_name))
        if pool is None:
            raise DeclarationError.at(str(name), f"pool {pool_name} is not on the host")
        folder = pool.xml.findtext("target/path") or ""
        return found.info["path"] if found and found.info.get("path") else os.path.join(folder, volume)

    def handle(self, address: Address) -> Any:
        """libvirt's own object."""
        return self._hypervisor._find(address)

    def path_of(self, volume: str) -> str:
        """The file of `pool/name`; nothing for one that is not there."""
        held = self.held.get(Address("volume", volume))
        return held.info.get("path", "") if held else ""

    def users(self, path: str) -> list[str]:
        """The machines that are defined with a file, and what is layered over it."""
        found, running = self._layers, self._hypervisor.running.users(path)
        names = [name for name in {**found.opened, **found.over} if is_one(name, path)]
        users = [user for name in names for user in (*map(str, found.opened.get(name, ())), *found.over.get(name, ()))]
        return list(dict.fromkeys([*users, *(f"domain {name}" for name in running)]))

    def refuse_users(self, path: str) -> None:
        """A disk that is replaced is nobody's just now, and nothing is layered over it (EDIT-01)."""
        self.refuse_open(path)
        over = list(self._layers.over.get(path, ()))
        if over:
            raise ConflictError(
                f"{over[0]} is layered over {path}, and would be ruined: use the layer, or convert into another file"
            )

    def refuse_open(self, path: str) -> None:
        """A file that is written is open in no domain that runs, by whatever path (EDIT-01)."""
        users = self._hypervisor.running.users(path)
        if users:
            raise ConflictError(f"{path} is open in domain {users[0]}, which runs: stop it first (EDIT-01)")

    def refuse_writers(self, path: str) -> None:
        """A disk that somebody writes is not the same at the end of reading as at its beginning."""
        running = self._hypervisor.running.users(path, writing=True)
        if running:
            raise ConflictError(
                f"{path} is written by domain {running[0]}, which runs: stop it first, or copy it live (dos.vm.block_copy)"
            )

    @property
    def _layers(self) -> Layers:
        return layers(self.held)

    def refresh(self, path: str) -> None:
        """Let libvirt read the directory of a file again, where that is a pool."""
        folder = os.path.dirname(path)
        for address, held in self.held.items():
            if address.kind == "pool" and held.active and held.xml.findtext("target/path") == folder:
                self._hypervisor.refresh(address)
