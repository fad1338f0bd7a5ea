# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared, as rows for people: one table for each kind that is managed by lists (IAC-07). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import listing_instances as made
from . import listing_networks as nets
from . import listing_storage as storage
from .site import Site

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The rows of a kind, what its columns are called, and the columns that a name is looked for in, in part."""

    columns: Mapping[str, str]
    rows: Callable[[Site], Iterator[Row]]
    found_by: tuple[str, ...] = ("name",)


def host_groups(site: Site) -> Iterator[Row]:
    """HGRP-02. Those of a project's grant count from either side (HGRP-04)."""
    for name, group in sorted(site.host_groups.items()):
        granted = {*group.projects, *(project for project, held in site.projects.items() if name in held.host_groups)}
        yield {
            "name": name,
            "description": group.description,
            "key": group.key,
            "hosts": sorted(site.members(name)),
            "projects": sorted(granted) or "all",
        }


def projects(site: Site) -> Iterator[Row]:
    """PROJ-08."""
    for name, project in sorted(site.projects.items()):
        own = (account for account, user in site.users.items() if user.project == name)
        yield {
            "name": name,
            "active": project.active,
            "administrators": sorted({*project.administrators, *own}),
            "groups": sorted(project.groups),
            "pools": sorted(project.pools),
            "subnets": sorted(project.subnets),
            "description": project.description,
        }


def project_groups(site: Site) -> Iterator[Row]:
    """PGRP-03: a row for each pair; a group without a project has one of its own."""
    for name, group in sorted(site.project_groups.items()):
        members = sorted(project for project, held in site.projects.items() if name in held.groups)
        for project in (*members, *([] if members else [None])):
            yield {
                "name": name,
                "project": project,
                "directory": group.directory,
                "description": group.description,
            }


def users(site: Site) -> Iterator[Row]:
    """USER-04. Nothing of a password, not even whether there is one."""
    for account, user in sorted(site.users.items()):
        also = next((name for name, project in site.projects.items() if account in project.administrators), None)
        yield {
            "label": user.label,
            "name": account,
            "role": user.role,
            "project": user.project or also,
            "phone": user.phone,
            "frozen": user.frozen,
        }


LISTINGS: Mapping[str, Listing] = {
    "host_groups": Listing(
        columns={
            "name": "HOST GROUP",
            "key": "KEY",
            "hosts": "HOSTS",
            "projects": "PROJECTS",
            "description": "DESCRIPTION",
        },
        rows=host_groups,
    ),
    "projects": Listing(
        columns={
            "name": "PROJECT",
            "active": "ACTIVE",
            "administrators": "ADMINISTRATORS",
            "groups": "GROUPS",
            "pools": "POOLS",
            "subnets": "SUBNETS",
            "description": "DESCRIPTION",
        },
        rows=projects,
    ),
    "project_groups": Listing(
        columns={"name": "GROUP", "project": "PROJECT", "directory": "DIRECTORY", "description": "DESCRIPTION"},
        rows=project_groups,
        found_by=("name", "project"),
    ),
    "users": Listing(
        columns={
            "label": "NAME",
            "name": "ACCOUNT",
            "role": "ROLE",
            "project": "PROJECT",
            "phone": "PHONE",
            "frozen": "FROZEN",
        },
        rows=users,
        found_by=("name", "label"),
    ),
    "instances": Listing(
        columns={
            "name": "INSTANCE",
            "label": "LABEL",
            "project": "PROJECT",
            "host": "BOUND TO",
            "vcpus": "VCPUS",
            "memory": "MEMORY",
            "enabled": "ENABLED",
            "machines": "MACHINES",
            "unique": "UNIQUE",
        },
        rows=made.instances,
        found_by=("name", "label"),
    ),
    "machines": Listing(
        columns={
            "project": "PROJECT",
            "instance": "INSTANCE",
            "name": "MACHINE",
            "enabled": "ENABLED",
            "power": "POWER",
            "host": "BOUND TO",
        },
        rows=made.machines,
        found_by=("name", "instance"),
    ),
    "pools": Listing(
        columns={
            "name": "POOL",
            "type": "TYPE",
            "capacity": "CAPACITY",
            "place": "PLACE",
            "hosts": "HOSTS",
            "projects": "PROJECTS",
            "description": "DESCRIPTION",
        },
        rows=storage.pools,
        found_by=("name", "type"),
    ),
    "volumes": Listing(
        columns={
            "name": "VOLUME",
            "pool": "POOL",
            "format": "FORMAT",
            "capacity": "CAPACITY",
            "base": "OVER",
            "used_by": "USED BY",
            "project": "PROJECT",
        },
        rows=storage.volumes,
        found_by=("name", "label"),
    ),
    "images": Listing(
        columns={
            "name": "IMAGE",
            "file": "FILE",
            "format": "FORMAT",
            "arch": "FOR",
            "size": "SIZE",
            "read_only": "READ ONLY",
            "used_by": "USED BY",
            "project": "PROJECT",
        },
        rows=storage.images,
        found_by=("name", "label"),
    ),
    "secrets": Listing(
        columns={
            "name": "SECRET",
            "usage_type": "FOR",
            "used_by": "USED BY",
            "project": "PROJECT",
            "description": "DESCRIPTION",
        },
        rows=storage.secrets,
        found_by=("name", "label", "usage_type"),
    ),
    "networks": Listing(
        columns={
            "name": "NETWORK",
            "type": "TYPE",
            "bridge": "BRIDGE",
            "interfaces": "INTERFACES",
            "hosts": "HOSTS",
            "gateways": "GATEWAYS",
            "subnets": "SUBNETS",
            "project": "PROJECT",
            "description": "DESCRIPTION",
        },
        rows=nets.networks,
        found_by=("name", "label"),
    ),
    "subnets": Listing(
        columns={
            "name": "SUBNET",
            "version": "IP",
            "address": "ADDRESS",
            "gateway": "GATEWAY",
            "pool": "POOL",
            "dhcp": "DHCP",
            "dns": "DNS",
            "projects": "PROJECTS",
            "description": "DESCRIPTION",
        },
        rows=nets.subnets,
        found_by=("name", "label", "address", "version"),
    ),
    "routes": Listing(
        columns={"name": "NETWORK", "to": "TO", "via": "VIA HOST", "project": "PROJECT"},
        rows=nets.routes,
        found_by=("name", "to"),
    ),
    "subnet_grants": Listing(
        columns={"name": "SUBNET", "address": "ADDRESS", "gateway": "GATEWAY", "project": "PROJECT"},
        rows=nets.grants,
        found_by=("name", "address"),
    ),
    "filters": Listing(
        columns={
            "name": "FILTER",
            "label": "NAME",
            "rules": "RULES",
            "calls": "CALLS",
            "used_by": "USED BY",
            "description": "DESCRIPTION",
        },
        rows=nets.filters,
        found_by=("name", "label"),
    ),
    "security_groups": Listing(
        columns={
            "name": "GROUP",
            "filter": "FILTER",
            "rules": "RULES",
            "used_by": "USED BY",
            "description": "DESCRIPTION",
        },
        rows=nets.security_groups,
        found_by=("name", "label"),
    ),
}


def listed(
    site: Site, kind: str, *, name: str = "", project: str | None = None, active: bool | None = None
) -> list[Row]:
    """The rows of a kind that have all that is asked for: a part of a name, a project, whether they are active."""
    listing = LISTINGS[kind]
    return [
        row
        for row in listing.rows(site)
        if any(name in str(row[column] or "") for column in listing.found_by)
        and (project is None or row.get("project", row["name"] if kind == "projects" else None) == project)
        and (active is None or row.get("active", row.get("enabled", not row.get("frozen", False))) == active)
    ]
