# SPDX-License-Identifier: GPL-3.0-or-later
"""What projects use of their quotas: sums over what is intended, so that they cannot drift from it (AMB-06).

Processors and memory count for VMs that are on, by declaration or power override. Disk is the logical capacity of volumes,
snapshots are volumes that are layered over another. Images count for the project that brought them.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..model.types import ByteSize, Name
from .index import Index, Intent, Orphan, Place
from .project import Quota
from .site import Site
from .sizes import Observed, own_disks

QUOTAS = tuple(field.name for field in dataclasses.fields(Quota))
SIZES = frozenset(["memory", "disk", "image_size"])

Used = Mapping[tuple[str, str], int]  # by project and quota


class Use(NamedTuple):
    """Something that counts: where it is, for whom, against which quota, how much. An `orphan` is declared nowhere."""

    at: Place
    project: Name
    quota: str
    amount: int
    orphan: Orphan | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One quota of one project. `before` is nothing where it is not known, `limit` where there is none."""

    project: str
    quota: str
    before: int | None
    after: int
    limit: int | None

    @property
    def share(self) -> float | None:
        """How much of the limit is used, 1 for all of it."""
        if self.limit is None:
            return None
        return self.after / self.limit if self.limit else float(self.after > 0)

    def __str__(self) -> str:
        change = f"{shown(self.quota, self.before)} → " if self.before not in (None, self.after) else ""
        limit = f" of {shown(self.quota, self.limit)}" if self.limit is not None else ""
        return f"{self.quota} {change}{shown(self.quota, self.after)}{limit}"


def uses(index: Index) -> Iterator[Use]:
    """Everything that counts, in the order of the declaration, after what is no longer in it."""
    for orphan in index.orphans:
        for quota in ("vcpus", "memory", "disk") if orphan.project in index.site.projects else ():
            at: Place = ("dos_projects", orphan.project, "quota", quota)
            yield Use(at, Name(orphan.project), quota, getattr(orphan, quota), orphan)
    for name, instance in index.site.instances.items():
        yield Use(("dos_instances", name), instance.project, "instances", 1)
    for name, image in index.site.images.items():
        if image.project:
            yield Use(("dos_images", name), image.project, "images", 1)
            yield Use(("dos_images", name), image.project, "image_size", image.size or 0)
    for name, volume in index.site.volumes.items():
        if volume.project:
            yield Use(("dos_volumes", name), volume.project, "disk", index.sizes.of_volume(name) or 0)
            yield Use(("dos_volumes", name), volume.project, "snapshots", int(volume.base is not None))
    for machine in index.machines:
        project = machine.instance.project
        if machine.on:
            yield Use(machine.at, project, "vcpus", machine.instance.vcpus)
            yield Use(machine.at, project, "memory", machine.instance.memory)
        for number, disk in own_disks(machine.instance):
            yield Use(machine.at, project, "disk", index.sizes.of_disk(disk, machine.name, number) or 0)


def used(
    site: Site,
    intent: Intent | None = None,
    orphans: tuple[Orphan, ...] = (),
    observed: Observed | None = None,
) -> dict[tuple[str, str], int]:
    """The sums by project and quota; every project has every one. The rest is as for an `Index`."""
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for use in uses(Index(site, intent=intent, orphans=orphans, observed=observed)):
        found[str(use.project), use.quota] += use.amount
    return {(str(project), quota): found[str(project), quota] for project in site.projects for quota in QUOTAS}


def rows(
    site: Site,
    before: Used | None = None,
    intent: Intent | None = None,
    orphans: tuple[Orphan, ...] = (),
    observed: Observed | None = None,
) -> list[Row]:
    """Each quota of each project: used before, used after, limit (QUOTA-03, QUOTA-04)."""
    return list(_rows(site, used(site, intent, orphans, observed), before))


def _rows(site: Site, after: Used, before: Used | None) -> Iterator[Row]:
    for project, held in site.projects.items():
        for quota in QUOTAS:
            limit = getattr(held.quota, quota) if held.quota else None
            was = None if before is None else before.get((str(project), quota), 0)
            yield Row(str(project), quota, was, after[str(project), quota], None if limit is None else int(limit))


def summary(held: Iterable[Row]) -> Iterator[str]:
    """A line for each project that has limits: what is used of each, and what it was before."""
    by_project: defaultdict[str, list[Row]] = defaultdict(list)
    for row in held:
        if row.limit is not None:
            by_project[row.project].append(row)
    for project, limited in by_project.items():
        yield f"project {project}: {', '.join(map(str, limited))}"


def shown(quota: str, amount: int | None) -> str:
    """An amount as people read it."""
    if amount is None:
        return "?"
    return str(ByteSize(amount)) if quota in SIZES else str(amount)
