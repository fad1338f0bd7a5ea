# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, volumes, images and secrets as rows for people, with who uses each (POOL-05, VOL-01, IMG-09, SECO-05). Pure.

What hosts have of them, and how full it is, `dos.vm.pool_info`, `dos.vm.volume_info` and `dos.vm.image` show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ..model.pool import KINDS
from .bound import Bound
from .index import Index
from .site import Site

Row = Mapping[str, Any]


def pools(site: Site) -> Iterator[Row]:
    """POOL-05. Those of a project's grant count from either side."""
    for name, pool in sorted(site.pools.items()):
        granted = {*pool.projects, *(project for project, held in site.projects.items() if name in held.pools)}
        yield {
            "name": name,
            "type": pool.type,
            "capacity": pool.capacity,
            "place": pool.path or KINDS[pool.type].path or None,
            "shared": pool.is_shared,
            "hosts": _hosts(site, pool),
            "projects": sorted(granted) or "all",
            "description": pool.description,
        }


def volumes(site: Site) -> Iterator[Row]:
    """VOL-01, the declared part of it, with snapshots among them (VSNP-02)."""
    users = _users(site, "volume")
    for name, volume in sorted(site.volumes.items()):
        layers = [other for other, held in site.volumes.items() if held.base == name]
        yield {
            "name": name,
            "label": volume.label,
            "pool": volume.pool,
            "format": volume.format,
            "capacity": volume.capacity,
            "base": volume.base or volume.image,
            "used_by": sorted({*users[name], *layers}),
            "project": volume.project,
        }


def images(site: Site) -> Iterator[Row]:
    """IMG-09."""
    users = _users(site, "image")
    for name, image in sorted(site.images.items()):
        layers = [other for other, held in site.volumes.items() if held.image == name]
        yield {
            "name": name,
            "label": image.label,
            "file": image.file,
            "format": image.format,
            "arch": image.arch,
            "size": image.size,
            "read_only": image.read_only,
            "used_by": sorted({*users[name], *layers}),
            "project": image.project,
        }


def secrets(site: Site) -> Iterator[Row]:
    """SECO-05. Nothing of a value, not even how long it is."""
    users = _secrets(site)
    for name, secret in sorted(site.secrets.items()):
        yield {
            "name": name,
            "label": secret.label,
            "usage_type": secret.usage_type,
            "used_by": sorted(users[name]),
            "project": secret.project,
            "description": secret.description,
        }


def _hosts(site: Site, bound: Bound) -> Any:
    hosts = site.hosts_of(bound)
    return "all" if hosts is None else sorted(hosts)


def _users(site: Site, field: str) -> defaultdict[str, set[str]]:
    """The instances by what their disks name in `field`."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for _, name, instance, number in Index(site).each_disk():
        if held := getattr(instance.disks[number], field):
            found[held].add(name)
    return found


def _secrets(site: Site) -> defaultdict[str, set[str]]:
    """Who names a secret: pools and volumes by their names, instances by theirs."""
    found = _users(site, "encryption")
    for name, pool in site.pools.items():
        if pool.source is not None and pool.source.secret is not None:
            found[pool.source.secret].add(name)
    for name, volume in site.volumes.items():
        if volume.encryption is not None:
            found[volume.encryption].add(name)
    for name, instance in site.instances.items():
        for console in instance.graphics:
            if console.password is not None:
                found[console.password].add(name)
    return found
