# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about who is started after whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..model.types import Name
from .after import After
from .index import Finding, Index, Place
from .instance import Instance
from .validate_filters import cycles

# Nodes beside machines, whose names have no space: all machines of an instance together, and what each of them comes after.
WHOLE, OF = "all of ", "of "


class Step(NamedTuple):
    """One thing that somebody comes after: where that is written, and for which instance, or which machine of it."""

    at: Place
    instance_name: Name
    vm: Name | None
    after: After


def _steps(index: Index) -> Iterator[Step]:
    for name, instance in index.site.instances.items():
        at: Place = ("dos_instances", name)
        yield from (Step((*at, "after", place), name, None, held) for place, held in enumerate(instance.after))
        for vm_name, vm in (instance.vms or {}).items():
            for place, held in enumerate(vm.after):
                yield Step((*at, "vms", vm_name, "after", place), name, vm_name, held)


def starts_lead_somewhere(index: Index) -> Iterator[Finding]:
    """INST-11: who is waited for is an instance or a machine, and has the agent that is to answer."""
    steps = list(_steps(index))
    owners = _owners(index) if steps else {}
    for step in steps:
        name = step.after.name
        if not index.has("instances", name) and name not in owners:
            yield Finding(
                (*step.at, "name"), f"{name!r} is neither an instance nor a machine, {index.near('instances', name)}"
            )
            continue
        owner = name if name in index.site.instances else owners.get(name, name)
        asked: Instance | None = index.site.instances.get(owner)
        if step.after.ready == "agent" and asked is not None and not asked.agent:
            text = f"{name} has no guest agent that could answer, write agent: true at instance {owner}"
            yield Finding((*step.at, "ready"), text, ("dos_instances", owner))


def _owners(index: Index) -> dict[str, Name]:
    return {str(machine.name): machine.instance_name for machine in index.machines}


def starts_do_not_circle(index: Index) -> Iterator[Finding]:
    """ARCH-14: no machine comes after itself, by whatever way."""
    steps = list(_steps(index))
    if not steps:
        return
    edges = _edges(index, steps)
    places = {_who(step): step.at for step in reversed(steps)}
    for circle in cycles(edges):
        names = [name for name in circle[:-1] if not name.startswith(OF)]
        words = " → ".join((*names, names[0]))
        at = next(places[name] for name in circle if name in places)
        yield Finding(at, f"these wait for each other and none would ever start: {words}; take one after: out")


def _who(step: Step) -> str:
    """Who comes after others: a machine, or all those of an instance by one node, so that edges stay as many as declared."""
    return step.vm or f"{OF}{step.instance_name}"


def _edges(index: Index, steps: list[Step]) -> Mapping[str, list[str]]:
    """Who waits for whom: a machine for what it names and for what its instance names; all of an instance for its machines."""
    edges: dict[str, list[str]] = {}
    for machine in index.machines:
        edges.setdefault(str(machine.name), []).append(f"{OF}{machine.instance_name}")
        edges.setdefault(f"{WHOLE}{machine.instance_name}", []).append(str(machine.name))
    for step in steps:
        name = str(step.after.name)
        edges.setdefault(_who(step), []).append(f"{WHOLE}{name}" if name in index.site.instances else name)
    return edges


def starts_can_happen(index: Index) -> Iterator[Finding]:
    """ARCH-14: who comes after what is declared off waits for somebody to start it."""
    steps = list(_steps(index))
    if not steps:
        return
    off = {str(machine.name) for machine in index.machines if not machine.on}
    of: dict[str, list[str]] = {}
    for machine in index.machines:
        of.setdefault(str(machine.instance_name), []).append(str(machine.name))
    for step in steps:
        name = str(step.after.name)
        never = [held for held in of.get(name, [name]) if held in off]
        if never:
            text = f"{', '.join(never[:3])} will be off, and what comes after it is not started until it is on"
            yield Finding((*step.at, "name"), text)
