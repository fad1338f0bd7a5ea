# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools and volumes as one host holds them: declared ones, and those that each machine has of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..model.pool import KINDS, Pool
from ..model.types import Name, VolumeName
from ..model.volume import Backing, Encryption, Volume
from ..site.instance import InstanceDisk
from ..site.pool import Pool as SitePool
from ..site.secret import Secret
from ..site.site import Site
from ..site.volume import Volume as SiteVolume
from .machine import Machine


def compile_pool(name: Name, pool: SitePool, secrets: Mapping[Name, Secret], *, needed: bool = True) -> Pool:
    """The pool as a host holds it. One on a server is started where it is `needed` (POOL-08). Elsewhere a host logs out of it, and
    not in again when it starts (HOT-02), or it is left as it is."""
    source, kind = pool.source, KINDS[pool.type]
    if source is not None and source.secret is not None:
        source = replace(source, usage=secrets[source.secret].usage if source.secret in secrets else None)
    return Pool(
        name=name,
        type=pool.type,
        path=pool.path,
        source=source,
        permissions=pool.permissions,
        active=True if needed or not kind.networked else False if kind.session else None,
        autostart=pool.autostart and (needed or not kind.session),
    )


def compile_volumes(site: Site, here: Iterable[Machine], own: Iterable[tuple[Name, SiteVolume]]) -> tuple[Volume, ...]:
    """The volumes of one host: those of the machines that run there, and its `own` whether used or not."""
    found: dict[tuple[str, str], Volume] = {}
    for machine in here:
        for target, disk in machine.targets():
            if disk.pool and not disk.volume:
                volume = _own(site, machine, target, disk, disk.pool)
                found[volume.pool, volume.name] = volume
            elif disk.volume:
                for name in with_bases(site, disk.volume):
                    found[site.volumes[name].pool, name] = _declared(site, name)
    for name, declared in own:
        found[declared.pool, name] = _declared(site, name)
    return tuple(found.values())


def homes(site: Site, volume: SiteVolume) -> frozenset[Name]:
    """The hosts that make the volume though no machine there uses it: of those that share its pool, the first by name."""
    pool = site.pools[volume.pool]
    bound = site.hosts_of(pool)
    if pool.is_shared:
        return frozenset(sorted(bound or site.hosts)[:1])
    own = {volume.host} if volume.host else set()
    among = frozenset(site.hosts) if bound is None else bound
    return frozenset(own | among if len(among) == 1 else own)


def volume_names(site: Site, machine: Machine) -> Iterator[str]:
    """The volumes that a VM has, as `pool/name`, with those that these are layered over."""
    for target, disk in machine.targets():
        if disk.volume:
            for name in with_bases(site, disk.volume):
                yield full_name(site, name)
        elif disk.pool:
            yield f"{disk.pool}/{machine.own_volume(target)}"


def full_name(site: Site, name: Name) -> str:
    """A declared volume as its host has it, `pool/name`."""
    return f"{site.volumes[name].pool}/{on_host(site, name)}"


def with_bases(site: Site, name: Name | None) -> Iterator[Name]:
    """A volume, and what it is layered over."""
    while name is not None:
        yield name
        name = site.volumes[name].base


def on_host(site: Site, name: Name) -> VolumeName:
    """What a declared volume is called in its pool."""
    lun = site.volumes[name].lun
    return VolumeName(name if lun is None else f"unit:0:0:{lun}")


def _declared(site: Site, name: Name) -> Volume:
    held = site.volumes[name]
    same = ("pool", "capacity", "format", "permissions", "compat", "lazy_refcounts")
    return Volume(
        name=on_host(site, name),
        backing=_backing(site, held),
        encryption=encryption(site, held.encryption),
        **{field: getattr(held, field) for field in same},
    )


def encryption(site: Site, name: Name | None) -> Encryption | None:
    """What a host needs to unlock a volume."""
    return Encryption(secret=name, usage=site.secrets[name].usage) if name else None


def _backing(site: Site, held: SiteVolume) -> Backing | None:
    if held.image:
        image = site.images[held.image]
        return Backing(path=image.file, format=image.format)
    return Backing(volume=held.base, format=site.volumes[held.base].format) if held.base else None


def _own(site: Site, machine: Machine, target: str, disk: InstanceDisk, pool: Name) -> Volume:
    """The volume that one machine has for one disk: layered over an image, or blank."""
    image = site.images[disk.image] if disk.image else None
    return Volume(
        name=VolumeName(machine.own_volume(target)),
        pool=pool,
        capacity=disk.capacity,
        format=disk.format or "qcow2",
        backing=Backing(path=image.file, format=image.format) if image else None,
        encryption=encryption(site, disk.encryption),
    )
