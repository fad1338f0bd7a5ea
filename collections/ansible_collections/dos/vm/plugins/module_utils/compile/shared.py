# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that a host sees and another host's slice declares: a shared pool shows every host all of them.

Without being told, each host would call the others' volumes undeclared, and offer to delete them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from ..model.slice import Slice
from ..site.site import Site
from .machine import Machine
from .storage import compile_volumes

ALL = "*"


def elsewhere(site: Site, slices: Mapping[str, Slice], waiting: Iterable[Machine]) -> dict[str, tuple[str, ...]]:
    """By host, what its slice does not declare and others do: `pool/name`, or `pool/*` for whatever is there.

    The first host by name of those that share a pool knows all its volumes, and so finds those that nobody declares. The
    others look away: a list of all volumes for every host would grow with both.
    """
    volumes = _by_pool(site, [*slices.values(), Slice(volumes=compile_volumes(site, waiting, ()))])
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, pool in site.pools.items():
        if pool.is_shared:
            first, *others = sorted(site.hosts_of(pool) or site.hosts)
            own = {f"{volume.pool}/{volume.name}" for volume in slices[first].volumes}
            found[first] += sorted(volumes[name] - own)
            for host in others:
                found[host].append(f"{name}/{ALL}")
    return {host: tuple(held) for host, held in found.items()}


def _by_pool(site: Site, slices: Iterable[Slice]) -> defaultdict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for held in slices:
        for volume in held.volumes:
            if site.pools[volume.pool].is_shared:
                found[volume.pool].add(f"{volume.pool}/{volume.name}")
    return found
