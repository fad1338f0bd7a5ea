# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about projects: what they are granted, what is theirs, and how much of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ..model.types import Name
from .index import Finding, Index, Place
from .project import Project
from .sizes import remedy
from .usage import Use, shown, uses


def granted(index: Index, kind: str, name: str, project_name: Name) -> bool:
    """Whether a project may use a pool, subnet or host group: nobody says who may, or one of the two names the other (PROJ-06, SUBN-09)."""
    held = getattr(index.site, kind).get(name)
    project: Project | None = index.site.projects.get(project_name)
    if held is None or project is None:
        return True
    of_project = getattr(project, kind)
    return not (of_project or held.projects) or name in of_project or project_name in held.projects


def pools_are_granted(index: Index) -> Iterator[Finding]:
    """POOL-03: a project uses pools that it is granted."""
    for at, _, instance, number in index.each_disk():
        pool = instance.disks[number].pool
        if pool and not granted(index, "pools", pool, instance.project):
            yield Finding((*at, "pool"), _refused("pool", pool, instance.project))
    for name, volume in index.site.volumes.items():
        if volume.project and not granted(index, "pools", volume.pool, volume.project):
            yield Finding(("dos_volumes", name, "pool"), _refused("pool", volume.pool, volume.project))


def subnets_are_granted(index: Index) -> Iterator[Finding]:
    """SUBN-16: a project's network, or a network of everybody's that it plugs into, has a subnet that it is granted."""
    for name, network in index.site.networks.items():
        for field, subnet in network.named_subnets():
            if network.project and not granted(index, "subnets", subnet, network.project):
                yield Finding(("dos_networks", name, field), _refused("subnet", subnet, network.project))
    for at, _, instance, number in index.each_card():
        held = index.site.networks.get(instance.interfaces[number].network)
        if held is None or held.project:
            continue
        for _, subnet in held.named_subnets():
            if not granted(index, "subnets", subnet, instance.project):
                yield Finding((*at, "network"), _refused("subnet", subnet, instance.project))


def _refused(kind: str, name: str, project: str) -> str:
    return f"{kind} {name} is not granted to project {project}: add it to dos_projects.{project}.{kind}s (ARCH-15)"


def objects_are_of_the_same_project(index: Index) -> Iterator[Finding]:
    """PROJ-10: a machine uses what is its project's or nobody's."""
    for name, instance in index.site.instances.items():
        for place, kind, used in _used(index, name):
            held = getattr(index.site, kind).get(used)
            if held is not None and held.project not in (None, instance.project):
                text = f"{used} belongs to project {held.project} and the instance to {instance.project}, write one of its own (PROJ-10)"
                yield Finding(place, text, (f"dos_{kind}", used, "project"))


def _used(index: Index, name: Name) -> Iterator[tuple[Place, str, str]]:
    instance, at = index.site.instances[name], ("dos_instances", name)
    for number, disk in enumerate(instance.disks):
        if disk.volume:
            yield (*at, "disks", number, "volume"), "volumes", disk.volume
        if disk.encryption:
            yield (*at, "disks", number, "encryption"), "secrets", disk.encryption
    for number, card in enumerate(instance.interfaces):
        yield (*at, "interfaces", number, "network"), "networks", card.network
    for number, console in enumerate(instance.graphics):
        if console.password:
            yield (*at, "graphics", number, "password"), "secrets", console.password


def quotas_hold(index: Index) -> Iterator[Finding]:
    """QUOTA-02, AMB-06: the sums stay within the limits. Told once for each, where the limit is passed.

    QUOTA-06: who uses more than a limit that was lowered keeps it, and gets no more.
    """
    total: defaultdict[tuple[str, str], int] = defaultdict(int)
    told: set[tuple[str, str]] = set()
    orphaned: defaultdict[tuple[str, str], list[Use]] = defaultdict(list)
    for use in uses(index):
        key = (str(use.project), use.quota)
        if use.orphan is not None:
            total[key] += use.amount
            orphaned[key].append(use)
            continue
        project: Project | None = index.site.projects.get(use.project)
        limit = getattr(project.quota, use.quota) if project and project.quota else None
        before = index.used.get(key, 0)
        if limit is not None and total[key] + use.amount > max(limit, before) and key not in told:
            told.add(key)
            asked = [shown(use.quota, amount) for amount in (limit, total[key], use.amount)]
            was = f", and it was {shown(use.quota, before)} before the limit" if before > limit else ""
            text = f"quota {use.quota} of project {use.project} is {asked[0]}: {asked[1]} used, {asked[2]} requested{was}{_of_orphans(orphaned[key])} (QUOTA-02)"
            yield Finding(use.at, text, ("dos_projects", use.project, "quota", use.quota))
        total[key] += use.amount


def _of_orphans(found: Iterable[Use]) -> str:
    """What is used that is not declared, as part of a sentence, with the remedy."""
    named = [
        f"{shown(use.quota, use.amount)} by {use.orphan.name} on {use.orphan.host}, {use.orphan.remedy}"
        for use in found
        if use.orphan and use.amount
    ]
    more = " …" if len(named) > 3 else ""
    return f"; of that {'; '.join(named[:3])}{more}" if named else ""


def counted_images_have_a_size(index: Index) -> Iterator[Finding]:
    """QUOTA-T1.5: an image whose size is limited says how large it is."""
    for name, image in index.site.images.items():
        project: Project | None = index.site.projects.get(image.project) if image.project else None
        if project and project.quota and project.quota.image_size is not None and image.size is None:
            text = f"counts for quota image_size of project {image.project}, write its size"
            yield Finding(("dos_images", name), text, ("dos_projects", str(image.project), "quota", "image_size"))


def counted_disks_have_a_size(index: Index) -> Iterator[Finding]:
    """QUOTA-T1.4, VOL-03, POOL-07: what counts for a quota or for the capacity of a pool says how large it is, or its image does."""
    used = {machine.instance_name for machine in index.machines}
    for at, name, instance, number in index.each_disk():
        disk = instance.disks[number]
        if disk.pool and not disk.volume and name in used and index.sizes.of_own(disk) is None:
            yield from _unsized(index, (*at, "capacity"), instance.project, disk.pool, disk.image)
    for own, volume in index.site.volumes.items():
        if volume.lun is None and index.sizes.of_volume(own) is None:
            yield from _unsized(index, ("dos_volumes", own, "capacity"), volume.project, volume.pool, volume.image)


def _unsized(index: Index, at: Place, project: Name | None, pool: Name, image: Name | None) -> Iterator[Finding]:
    """Where a size that is not known would count: for the quota of a project first, else in a pool."""
    owner: Project | None = index.site.projects.get(project) if project else None
    where = index.site.pools.get(pool)
    if owner and owner.quota and owner.quota.disk is not None:
        text = f"counts for quota disk of project {project}, and its size is unknown: {remedy(image)} (QUOTA-T1.4)"
        yield Finding(at, text, ("dos_projects", str(project), "quota", "disk"))
    elif where is not None and where.capacity is not None:
        text = f"counts for the capacity of pool {pool}, and its size is unknown: {remedy(image)} (POOL-07)"
        yield Finding(at, text, ("dos_pools", pool, "capacity"))


def projects_can_run_machines(index: Index) -> Iterator[Finding]:
    """ARCH-15: a project without a pool or without a subnet is legal, and can hardly run a machine."""
    for name in index.site.projects:
        for kind in ("pools", "subnets"):
            declared = getattr(index.site, kind)
            if declared and not any(granted(index, kind, held, name) for held in declared):
                yield Finding(
                    ("dos_projects", name), f"is granted none of the {kind}, so its machines cannot use any (ARCH-15)"
                )
