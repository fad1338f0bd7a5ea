# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about filters and security groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from ..model.nwfilter import PREDEFINED
from ..model.types import Name
from .index import Finding, Index, Machine, Place
from .instance import InstanceInterface
from .security_group import LONGEST, PREFIX

N = TypeVar("N", bound=str)


def predefined_filters_stay(index: Index) -> Iterator[Finding]:
    """NWF-06: libvirt's own filters are not declared."""
    for name in index.site.filters:
        if name in PREDEFINED:
            yield Finding(
                ("dos_filters", name), f"{name} is libvirt's own, use it without declaring it or write another name"
            )


def names_of_groups_are_kept(index: Index) -> Iterator[Finding]:
    """NWF-T1.2: what is made of a group's rules has a name of its own, which nothing else has."""
    for name in index.site.filters:
        if name.startswith(PREFIX):
            yield Finding(
                ("dos_filters", name), f"begins with {PREFIX}, which is for security groups: write another name"
            )
    for name, group in index.site.security_groups.items():
        if group.rules is not None and len(name) > LONGEST:
            text = f"has {len(name)} characters, write at most {LONGEST}: a filter of every host is named after it"
            yield Finding(("dos_security_groups", name), text)


def groups_know_their_members(index: Index) -> Iterator[Finding]:
    """NWF-10: a rule that names a group is made of the addresses of its machines, so those must be known before they run."""
    named: dict[Name, Place] = {}
    for name, group in index.site.security_groups.items():
        for at, rule in enumerate(group.rules or ()):
            for place, other in enumerate(rule.groups):
                named.setdefault(other, ("dos_security_groups", name, "rules", at, "groups", place))
    for machine in index.machines if named else ():
        for card in machine.instance.interfaces:
            for field in _unknown(index, machine, card) if card.security_group in named else ():
                text = (
                    f"is in security group {card.security_group}, which a rule names, and has no known address on "
                    f"{card.network}: write {field}: {{{card.network}: …}}"
                )
                yield Finding(machine.at, text, named[Name(str(card.security_group))])


def _unknown(index: Index, machine: Machine, card: InstanceInterface) -> Iterator[str]:
    """The fields for addresses that a card lacks: one of each family that its network has a subnet of."""
    held = {
        field: address
        for field, own, general in (("ip", machine.vm.ip, card.ip), ("ip6", machine.vm.ip6, card.ip6))
        if (address := (own or {}).get(card.network) or general)
    }
    network = index.site.networks.get(card.network)
    subnets = index.subnets_of(network)
    given = [1 for _, _, subnet in subnets if subnet.gives and network and subnet.is_served(network.type)]
    if len(held) + len(given) < max(len(subnets), 1):
        yield "ip6" if "ip" in held else "ip"


def assertions_name_what_is_there(index: Index) -> Iterator[Finding]:
    """INST-11: both ends of an assertion are instances, machines, groups or networks."""
    machines = {str(machine.name) for machine in index.machines}
    for name, held in index.site.assertions.items():
        for field, end in (("from", held.from_), ("to", held.to)):
            at = ("dos_assertions", name, field)
            if end.network is not None:
                continue
            if end.group is not None:
                if not index.has("security_groups", end.group):
                    hint = index.near("security_groups", end.group)
                    yield Finding(at, f"security group {str(end.group)!r} does not exist, {hint}")
            elif end not in machines and not index.has("instances", end):
                hint = index.near("instances", end)
                yield Finding(at, f"{str(end)!r} is neither an instance nor a machine, {hint}")


def filters_do_not_circle(index: Index) -> Iterator[Finding]:
    """NWF-07: no filter calls itself, by whatever way."""
    calls = {name: tuple(held.calls()) for name, held in index.site.filters.items()}
    for cycle in cycles(calls):
        text = f"the filters call each other in a circle: {' → '.join(cycle)}; take one call out (NWF-07)"
        yield Finding(("dos_filters", cycle[0]), text)


def cycles(edges: Mapping[N, Iterable[N]]) -> Iterator[tuple[N, ...]]:
    """Each circle once, from its first name to the same name. Depth first, each node and edge once, without recursion."""
    done: set[N] = set()
    for start in edges:
        path: list[N] = []
        places: dict[N, int] = {}
        waiting = [(start, iter(edges[start]))] if start not in done else []
        while waiting:
            name, following = waiting[-1]
            if name not in places:
                places[name] = len(path)
                path.append(name)
            step = next((held for held in following if held in edges and held not in done), None)
            if step is None:
                waiting.pop()
                done.add(path.pop())
                del places[name]
            elif step in places:
                yield (*path[places[step] :], step)
            else:
                waiting.append((step, iter(edges[step])))


def reached(index: Index, top: Name) -> set[Name]:
    """Every filter that is called from `top`, however far, and `top` itself."""
    found: set[Name] = set()
    waiting = [top]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            held = index.site.filters.get(name)
            waiting += held.calls() if held else ()
    return found


def groups_are_complete(index: Index) -> Iterator[Finding]:
    """NWF-04: what a member of the group calls is in the group."""
    for name, group in index.site.security_groups.items():
        if group.filters is None or group.filter is None:
            continue
        listed = {group.filter, *group.filters}
        wanted = {called for held in listed for called in _calls(index, held)} - listed - PREDEFINED
        for missing in sorted(called for called in wanted if index.has("filters", called)):
            text = f"lacks {missing}, which a filter of the group calls: add it, or leave filters out (NWF-04)"
            yield Finding(("dos_security_groups", name, "filters"), text)


def groups_are_minimal(index: Index) -> Iterator[Finding]:
    """NWF-05: what is in the group is reached from its first filter."""
    for name, group in index.site.security_groups.items():
        if group.filters is None or group.filter is None:
            continue
        needed = reached(index, group.filter)
        for at, listed in enumerate(group.filters):
            if listed not in needed and index.has("filters", listed):
                text = f"{listed} is not called from {group.filter}, take it out (NWF-05)"
                yield Finding(("dos_security_groups", name, "filters", at), text)


def _calls(index: Index, name: Name) -> Iterator[Name]:
    held = index.site.filters.get(name)
    return iter(()) if held is None else held.calls()
