# SPDX-License-Identifier: GPL-3.0-or-later
"""A project: what belongs together, what it may use, and how much of it."""

from __future__ import annotations

from ..model.declaration import declaration, option
from ..model.types import ByteSize, Name


@declaration
class Quota:
    """How much a project may use; what is not given is not limited (QUOTA-01)."""

    instances: int | None = option("Instance definitions.", spec="QUOTA-T1.1", default=None, low=0)
    vcpus: int | None = option("Virtual CPUs of the machines that are on.", spec="QUOTA-T1.2", default=None, low=0)
    memory: ByteSize | None = option("Memory of the machines that are on.", spec="QUOTA-T1.3", default=None, low=0)
    disk: ByteSize | None = option("Logical capacity of volumes.", spec="QUOTA-T1.4", default=None, low=0)
    image_size: ByteSize | None = option("Size of all images.", spec="QUOTA-T1.5", default=None, low=0)
    images: int | None = option("Number of images.", spec="QUOTA-T1.6", default=None, low=0)
    snapshots: int | None = option("Volumes that are layered over another.", spec="QUOTA-T1.7", default=None, low=0)


@declaration
class Project:
    """What belongs together; every machine belongs to one (PROJ-01)."""

    label: str | None = option("Label in any script.", spec="PROJ-T1.2", default=None)
    description: str | None = option("Free text.", spec="PROJ-T1.3", default=None)
    groups: tuple[Name, ...] = option(
        "Project groups it belongs to; at least one where the site declares any.", spec="PROJ-T1.1", default=()
    )
    administrators: tuple[Name, ...] = option(
        "Who operates it, beside those whose account names it.", spec="PROJ-T1.5", default=()
    )
    active: bool = option(
        "Whether its machines may be on, and its administrators may change anything.", spec="PROJ-05", default=True
    )
    pools: tuple[Name, ...] = option("Pools it is granted.", spec="PROJ-T1.6", default=())
    subnets: tuple[Name, ...] = option("Subnets it is granted.", spec="PROJ-T1.8", default=())
    host_groups: tuple[Name, ...] = option("Host groups it is granted.", spec="PROJ-T1.7", default=())
    filters: tuple[Name, ...] = option(
        "Filters it is granted: those its machines' security groups may be made of; any when none is named.",
        spec="ARCH-14",
        default=(),
    )
    quota: Quota | None = option("Limits; none when not given.", spec="PROJ-T1.9", default=None)
