# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools and volumes of a host, in the operator's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import DeclarationError
from ..model.address import Address
from ..model.decode import decode
from ..model.lenient import decode_most
from ..model.pool import KINDS
from ..model.types import Name, VolumeName
from ..model.volume import Backing
from ..model.volume import Volume as HostVolume
from ..plan.describe import READERS
from ..plan.plan import Observed
from ..site.pool import Pool
from ..site.volume import Volume
from ..xml import pool as pool_xml
from ..xml import volume as volume_xml
from ..xml.normalize import normalize
from ..xml.residue import unsaid
from .register import Register
from .storage import compile_pool


def export_pool(register: Register, host: str, observed: Observed) -> None:
    """A pool, if it is of a kind that can be declared."""
    address, reader = observed.address, READERS["pool"]
    read = reader.parse(normalize(observed.xml, reader.shape), address)
    if read.get("type") not in KINDS:
        register.leave_out(
            host, address, f"is of type {read.get('type')}, and pools are declared of {', '.join(KINDS)}"
        )
        return
    if "secret" in read.get("source", {}):
        register.leave_out(host, address, "logs in with a secret, whose value nobody can read back: declare both")
        return
    said = {name: read[name] for name in ("type", "path", "source", "permissions") if name in read}
    try:
        name = Name(address.name)
        pool = decode_most(Pool, {**said, "host": host, "autostart": observed.autostart})
    except (DeclarationError, ValueError) as refused:
        register.leave_out(host, address, _why(refused))
        return
    rest = unsaid(observed.xml, pool_xml.render(compile_pool(name, pool, {})), None, pool_xml.SHAPE)
    if rest:
        register.leave_out(host, address, f"has what no field says: {', '.join(held.path for held in rest)}")
    elif (
        register.add(host, address, "pools", name, pool, "another host has a pool of this name that differs")
        and not observed.active
    ):
        register.note(host, address, "is not active; declared pools are started once they are ours")


def export_volumes(
    register: Register, host: str, observed: Mapping[Address, Observed], chosen: Iterable[Address]
) -> None:
    """The volumes of declared pools, those that others are layered over first."""
    waiting = [observed[address] for address in chosen if address.kind == "volume"]
    paths = {held.info.get("path", ""): held.address for held in waiting}
    done: set[Address] = set()
    while waiting:
        ready = [held for held in waiting if paths.get(_backing_path(held)) in (*done, None, held.address)] or waiting
        for held in ready:
            _export_volume(register, host, held, paths)
            done.add(held.address)
        waiting = [held for held in waiting if held.address not in done]


def _backing_path(observed: Observed) -> str:
    return observed.xml.findtext("backingStore/path") or ""


def _export_volume(register: Register, host: str, observed: Observed, paths: Mapping[str, Address]) -> None:
    address, reader = observed.address, READERS["volume"]
    pool, _, own = address.name.partition("/")
    if pool not in register.held["pools"]:
        register.leave_out(host, address, f"its pool {pool} is not declared")
        return
    read = reader.parse(normalize(observed.xml, reader.shape), address)
    # Who owns the file is not said: libvirt gives it to the guest's user while a guest runs.
    said = {name: read[name] for name in ("capacity", "format", "compat", "lazy_refcounts") if name in read}
    try:
        name = Name(own)
        volume = decode(Volume, {"pool": pool, "host": host, **said, **_layered(register, host, observed, paths)})
        made = _on_host(register, name, volume)
    except (DeclarationError, ValueError) as refused:
        register.leave_out(host, address, _why(refused))
        return
    directory = compile_pool(Name(pool), register.held["pools"][Name(pool)], {}).target
    rest = unsaid(observed.xml, volume_xml.render(made, directory), None, volume_xml.SHAPE)
    if rest:
        register.leave_out(host, address, f"has what no field says: {', '.join(held.path for held in rest)}")
    else:
        twice = "another volume has this name, and names of volumes are unique in a site"
        register.add(host, address, "volumes", name, volume, twice)


def _layered(register: Register, host: str, observed: Observed, paths: Mapping[str, Address]) -> dict[str, str]:
    """What the volume is layered over: a declared volume of the same pool, or any other file as an image."""
    path = _backing_path(observed)
    if not path:
        return {}
    pool, _, base = paths.get(path, Address("volume", "/")).name.partition("/")
    below = register.held["volumes"].get(base)
    format_ = _backing_format(observed)
    if below is not None and pool == observed.address.name.partition("/")[0] == below.pool and below.format == format_:
        return {"base": base}
    image = register.image(host, path, format_, read_only=None)
    if image is None:
        raise ValueError(f"is layered over {path}, which cannot be declared as an image of format {format_}")
    return {"image": image}


def _backing_format(observed: Observed) -> str | None:
    found = observed.xml.find("backingStore/format")
    return None if found is None else found.get("type")


def _on_host(register: Register, name: Name, volume: Volume) -> HostVolume:
    backing = None
    if volume.image:
        image = register.held["images"][volume.image]
        backing = Backing(path=image.file, format=image.format)
    elif volume.base:
        backing = Backing(volume=volume.base, format=register.held["volumes"][volume.base].format)
    same = {field: getattr(volume, field) for field in ("pool", "capacity", "format", "compat", "lazy_refcounts")}
    return HostVolume(name=VolumeName(name), backing=backing, **same)


def _why(refused: DeclarationError | ValueError) -> str:
    return f"cannot be declared: {' '.join(str(refused).split())}"
