# SPDX-License-Identifier: GPL-3.0-or-later
"""How many more machines of an instance would fit: on the hosts, and within the quota of its project."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import DeclarationError, meant
from ..model.types import Name
from ..placement.capacity import MOST, Capacity, capacity
from ..placement.request import Needs, Request
from ..site.instance import DEFAULT_VM, Instance
from .machine import Machine
from .placing import Situation
from .requests import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """What the hosts have room for, and for how many the quota of the project does, `None` where it has none."""

    hosts: Capacity
    quota: int | None = None

    @property
    def fits(self) -> int:
        return self.hosts.fits if self.quota is None else min(self.hosts.fits, self.quota)


def more_like(held: Situation, name: str, most: int = MOST) -> More:
    """How many more machines like those of an instance fit. Raises `DeclarationError` for one that is not declared."""
    instance = held.site.instances.get(Name(name)) if name in held.site.instances else None
    if instance is None:
        hint = meant(name, held.site.instances, "write the name of an instance")
        raise DeclarationError.at("dos_like", f"instance {name!r} is not declared, {hint}")
    found = capacity(_one_more(held, Name(name), instance), held.fleet, most)
    return More(hosts=found, quota=_left(held, instance))


def more_of_size(held: Situation, *, memory: int, vcpus: int, most: int = MOST) -> More:
    """How many machines of a size fit that ask for nothing else."""
    return More(hosts=capacity(Request(vm="one more", needs=Needs(memory=memory, vcpus=vcpus)), held.fleet, most))


def _one_more(held: Situation, name: Name, instance: Instance) -> Request:
    machine = Machine(name=name, instance_name=name, instance=instance, vm=DEFAULT_VM, active=True)
    asked = Requests(held.site, {}, {name: True}, {}).of(machine)
    return replace(asked, vm=f"one more {name}")  # a space: no machine has such a name


def _left(held: Situation, instance: Instance) -> int | None:
    """How many the quota of the project leaves room for (QUOTA-T1.2, QUOTA-T1.3)."""
    quota = held.site.projects[instance.project].quota
    if quota is None:
        return None
    on = [
        machine.instance
        for machine in held.machines
        if machine.instance.project == instance.project and held.intent[machine.name]
    ]
    left = []
    if quota.vcpus is not None:
        left.append((quota.vcpus - sum(one.vcpus for one in on)) // instance.vcpus)
    if quota.memory is not None:
        left.append((quota.memory - sum(one.memory for one in on)) // instance.memory)
    return max(0, min(left)) if left else None
