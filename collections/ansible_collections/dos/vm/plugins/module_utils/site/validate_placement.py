# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about where machines may run: host groups, limits of hosts, filters and weighers, affinity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..errors import meant
from ..model.types import Name
from .host import HostGroup
from .index import Finding, Index, Place
from .placement import FILTERS, INDISPENSABLE, WEIGHERS, Affinity
from .validate_projects import granted

HOST = "host"  # the key that every host is a group of its own by


def settings_are_of_hosts(index: Index) -> Iterator[Finding]:
    """HOST-09: what is set is set for a host of the inventory."""
    for name in index.site.host_settings:
        if name not in index.hosts:
            yield Finding(("dos_host_settings", name), f"host {name!r} does not exist, {index.near('hosts', name)}")


def groups_have_hosts(index: Index) -> Iterator[Finding]:
    """HGRP-T1.3: a group lists its hosts, or the inventory has a group of its name."""
    for name, group in index.site.host_groups.items():
        if group.hosts is None:
            text = f"has no hosts, and the inventory has no group {name} with hosts of the site, write hosts"
            yield Finding(("dos_host_groups", name), text)


def hosts_are_in_one_group_of_a_key(index: Index) -> Iterator[Finding]:
    """SCHED-09: where "apart by rack" has a meaning, a host is in one rack."""
    seen: dict[tuple[str, str], Name] = {}
    for name, group in index.site.host_groups.items():
        if group.key == HOST:
            yield Finding(("dos_host_groups", name, "key"), "host is what each host is by itself, write another word")
        for host in _members(index, group) if group.key else ():
            other = seen.setdefault((str(group.key), host), name)
            if other != name:
                text = f"host {host} is in {group.key} {other} already, keep one (SCHED-09)"
                yield Finding(("dos_host_groups", name, "hosts"), text, ("dos_host_groups", other, "hosts"))


def _members(index: Index, group: HostGroup) -> Iterable[Name]:
    return index.site.hosts if group.hosts == "all" else group.hosts or ()


def groups_are_granted(index: Index) -> Iterator[Finding]:
    """HGRP-06: an instance runs in a host group that its project is granted, when anybody is granted it."""
    for name, instance in index.site.instances.items():
        if instance.host_group and not granted(index, "host_groups", instance.host_group, instance.project):
            text = (
                f"host group {instance.host_group} is not granted to project {instance.project}: "
                f"add it to dos_projects.{instance.project}.host_groups (HGRP-06)"
            )
            yield Finding(("dos_instances", name, "host_group"), text)


def filters_and_weighers_exist(index: Index) -> Iterator[Finding]:
    """SCHED-04, SCHED-06: names that come with dos.vm; those of plugins are known when the plugins are read."""
    placement = index.site.placement
    own = bool(placement.plugins)
    for at, name in enumerate(placement.filters or ()):
        if name not in FILTERS and not own:
            yield Finding(("dos_placement", "filters", at), _unknown("filter", name, FILTERS))
    missing = sorted(INDISPENSABLE - set(placement.filters)) if placement.filters is not None else ()
    if missing:
        text = f"lacks {', '.join(missing)}, without which machines would be sent where they cannot run, add them"
        yield Finding(("dos_placement", "filters"), text)
    for place, multipliers in _multipliers(index):
        for name in multipliers:
            if name not in WEIGHERS and not own:
                yield Finding((*place, name), _unknown("weigher", name, WEIGHERS))


def _multipliers(index: Index) -> Iterator[tuple[Place, Mapping[Name, float]]]:
    yield ("dos_placement", "weighers"), index.site.placement.weighers or {}
    for name, instance in index.site.instances.items():
        if instance.placement and instance.placement.weighers:
            yield ("dos_instances", name, "placement", "weighers"), instance.placement.weighers


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    hint = meant(name, known, f"the {what}s are: {', '.join(known)}; your own need plugins")
    return f"{name!r} is not a {what}, {hint}"


def affinities_lead_somewhere(index: Index) -> Iterator[Finding]:
    """SCHED-09: who is near or apart is an instance or a machine, and by what is a key of host groups."""
    keys = {HOST, *(str(group.key) for group in index.site.host_groups.values() if group.key)}
    machines = {str(machine.name) for machine in index.machines}
    for place, held in _affinities(index):
        if held.by not in keys:
            text = f"no host group has the key {held.by}, write host, or key: {held.by} at its groups"
            yield Finding((*place, "by"), text)
        for at, name in enumerate(held.to):
            if not index.has("instances", name) and name not in machines:
                yield Finding((*place, "to", at), f"instance {name!r} does not exist, {index.near('instances', name)}")
    for key in index.site.placement.survives or {}:
        if key not in keys:
            text = f"no host group has the key {key}, write host, or key: {key} at its groups"
            yield Finding(("dos_placement", "survives", key), text)


def _affinities(index: Index) -> Iterator[tuple[Place, Affinity]]:
    for name, instance in index.site.instances.items():
        if instance.placement is None:
            continue
        for field in ("affinity", "anti_affinity"):
            for at, held in enumerate(getattr(instance.placement, field)):
                yield ("dos_instances", name, "placement", field, at), held
