# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may declare what: the table of USER-03 as data, one row for each kind of a site.

A right is what somebody of a role may do to objects of a kind:

    full    everything, whoever's they are
    own     everything, to those of the own project
    group   as own, and change those of projects of the same group, but not remove them
    self    change some fields of the object that is oneself
    nobodys everything, to those that belong to no project
    none    nothing

What belongs to no project is the system's, whatever its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Right = Literal["full", "own", "group", "self", "nobodys", "none"]


class Rights(NamedTuple):
    """What system administrators and project administrators may do to a kind."""

    system: Right
    project: Right


SYSTEM_ONLY = Rights("full", "none")
PROJECTS_OWN = Rights("nobodys", "own")

RIGHTS: Mapping[str, Rights] = {
    "users": Rights("full", "self"),
    "project_groups": SYSTEM_ONLY,
    "projects": SYSTEM_ONLY,
    "host_settings": SYSTEM_ONLY,
    "host_groups": SYSTEM_ONLY,
    "secrets": SYSTEM_ONLY,
    "pools": SYSTEM_ONLY,
    "volumes": Rights("full", "own"),
    "images": Rights("nobodys", "group"),
    "subnets": SYSTEM_ONLY,
    "filters": SYSTEM_ONLY,  # AMB-13
    "security_groups": SYSTEM_ONLY,
    "assertions": SYSTEM_ONLY,
    "networks": PROJECTS_OWN,
    "instances": PROJECTS_OWN,
}

# Of the own account (USER-10). The account's name is the key, and nobody's to change.
OWN_FIELDS = frozenset(["label", "phone", "email", "address", "description", "password"])


def rights(kind: str) -> Rights:
    """The row of a kind; what has no names, such as placement, is the system's."""
    return RIGHTS.get(kind, SYSTEM_ONLY)
