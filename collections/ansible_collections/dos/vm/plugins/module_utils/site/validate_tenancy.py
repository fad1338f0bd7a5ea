# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about people, projects and project groups: who operates what, and who sees whose files."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.nwfilter import PREDEFINED
from ..model.types import Name
from .index import Finding, Index, Place
from .project import Project


def administrators_have_one_project(index: Index) -> Iterator[Finding]:
    """USER-02, PROJ-06: an administrator operates one project, whether the account names it or the project names them."""
    operated: dict[Name, tuple[Name, Place]] = {
        name: (user.project, ("dos_users", name, "project"))
        for name, user in index.site.users.items()
        if user.project is not None
    }
    for project, held in index.site.projects.items():
        for at, account in enumerate(held.administrators):
            place = ("dos_projects", project, "administrators", at)
            first, where = operated.setdefault(account, (project, place))
            if first != project:
                text = (
                    f"{account} operates project {first} already, name somebody else or take them out there (PROJ-06)"
                )
                yield Finding(place, text, where)


def addresses_are_of_one_user(index: Index) -> Iterator[Finding]:
    """USER-11: a commit is somebody's: no address, and no account, stands for two."""
    owners: dict[str, Name] = {str(name).lower(): name for name in index.site.users}
    for name, user in index.site.users.items():
        fields: list[tuple[Place, str | None]] = [(("email",), user.email)]
        fields += [(("aliases", at), alias) for at, alias in enumerate(user.aliases)]
        for field, address in fields:
            owner = owners.setdefault(address.lower(), name) if address else name
            if owner != name:
                text = f"{address} is an address of {owner} already, keep it at one of them"
                yield Finding(("dos_users", name, *field), text, ("dos_users", owner))


def somebody_configures(index: Index) -> Iterator[Finding]:
    """USER-01: a site that names its people has a system administrator who is not frozen."""
    users = index.site.users
    if users and not any(user.role == "system" and not user.frozen for user in users.values()):
        yield Finding(
            ("dos_users", next(iter(users))), "nobody may configure the site, write role: system for somebody"
        )


def projects_are_in_a_group(index: Index) -> Iterator[Finding]:
    """PGRP-02, PGRP-05, PROJ-02: where there are project groups every project is in one."""
    for name, project in index.site.projects.items():
        if index.site.project_groups and not project.groups:
            listed = ", ".join(list(index.site.project_groups)[:5])
            yield Finding(
                ("dos_projects", name), f"is in no project group, write groups: with some of {listed} (PGRP-02)"
            )


def images_are_of_the_group(index: Index) -> Iterator[Finding]:
    """PROJ-10, PGRP-01: a machine starts from images of its own project, of its group's, or of nobody's."""
    for at, _, instance, number in index.each_disk():
        disk = instance.disks[number]
        image = index.site.images.get(disk.image) if disk.image else None
        if image is None or image.project in (None, instance.project):
            continue
        owner: Project | None = index.site.projects.get(image.project) if image.project else None
        user: Project | None = index.site.projects.get(instance.project)
        if owner and user and index.site.project_groups and not {*owner.groups} & {*user.groups}:
            text = f"{disk.image} belongs to project {image.project}, which shares no project group with {instance.project} (PROJ-10)"
            yield Finding((*at, "image"), text, ("dos_images", str(disk.image), "project"))


def images_are_in_their_groups_directory(index: Index) -> Iterator[Finding]:
    """IMG-02, IMG-T1.7: a project's images are files in the directory of one of its groups."""
    for name, image in index.site.images.items():
        owner: Project | None = index.site.projects.get(image.project) if image.project else None
        groups = (
            [index.site.project_groups[held] for held in owner.groups if held in index.site.project_groups]
            if owner
            else []
        )
        if groups and not any(image.file.startswith(f"{group.directory}/") for group in groups):
            listed = " or ".join(str(group.directory) for group in groups)
            text = f"is of project {image.project}, whose images are in {listed}: put the file there (IMG-02)"
            yield Finding(("dos_images", name, "file"), text, ("dos_projects", str(image.project), "groups"))


def filters_are_granted(index: Index) -> Iterator[Finding]:
    """ARCH-14: the security groups of a project's machines are made of filters it is granted, when it is granted any."""
    for at, _, instance, number in index.each_card():
        card = instance.interfaces[number]
        project: Project | None = index.site.projects.get(instance.project)
        group = index.site.security_groups.get(card.security_group) if card.security_group else None
        top = getattr(group, "filter", None)
        if project is None or top is None or not project.filters or top in project.filters or top in PREDEFINED:
            continue
        text = f"is made of filter {top}, which is not granted to project {instance.project}: add it to dos_projects.{instance.project}.filters"
        yield Finding((*at, "security_group"), text, ("dos_projects", instance.project, "filters"))
