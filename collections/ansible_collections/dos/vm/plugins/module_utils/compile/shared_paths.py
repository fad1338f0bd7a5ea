# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts must see the same files in which directories."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.types import Name
from ..site.site import Site


def shared_paths(site: Site) -> Iterator[tuple[str, list[Name]]]:
    """The directory of each pool that more than one host shares, with these hosts by name."""
    for pool in site.pools.values():
        hosts = sorted(site.hosts_of(pool) or site.hosts)
        path = getattr(pool, "path", None)
        if pool.is_shared and path is not None and pool.type == "dir" and len(hosts) > 1:
            yield str(path), hosts


def notes(site: Site) -> dict[str, dict[str, list[str]]]:
    """By host the directories that it leaves a note in (`leave`), and those in which it looks for another's (`look`)."""
    found: dict[str, dict[str, list[str]]] = {str(host): {"leave": [], "look": []} for host in site.hosts}
    for path, (first, *others) in shared_paths(site):
        found[str(first)]["leave"].append(path)
        for host in others:
            found[str(host)]["look"].append(path)
    return found
