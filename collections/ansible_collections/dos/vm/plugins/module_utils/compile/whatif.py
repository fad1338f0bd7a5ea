# SPDX-License-Identifier: GPL-3.0-or-later
"""What would be, if: hosts lost or bought, quotas and counts changed, on a copy of what is declared and told."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DeclarationError, Problem
from .placing import Situation
from .states import HostState

Variables = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """A site as it would be: its variables, its hosts, the inventory's groups, what the hosts would tell, and who is lost."""

    variables: Variables
    hosts: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    states: Mapping[str, HostState]
    lost: frozenset[str] = frozenset()


def suppose(
    given: Supposed,
    *,
    remove: Iterable[str] = (),
    add: Mapping[str, str] | None = None,
    change: Mapping[str, Any] | None = None,
) -> Supposed:
    """The site without the hosts `remove`, with new hosts that are each like another, and with values changed by their path.

    What was on a host that is removed is nowhere. A path is that of an error message: `dos_instances.web.count`. Raises
    `DeclarationError` for what is not there.
    """
    gone, new = frozenset(remove), dict(add or {})
    problems = [Problem("dos_whatif.remove_hosts", f"{host} is not a host") for host in sorted(gone - set(given.hosts))]
    problems += (
        Problem(f"dos_whatif.add_hosts.{host}", f"{like} is not a host, write one that {host} is like")
        for host, like in new.items()
        if like not in given.hosts
    )
    problems += (Problem(f"dos_whatif.add_hosts.{host}", "is there already") for host in new if host in given.hosts)
    variables = copy.deepcopy(given.variables)
    for path, value in (change or {}).items():
        if not _set(variables, path, value):
            problems.append(
                Problem(f"dos_whatif.set.{path}", "is not there, write a path like dos_instances.web.count")
            )
    if problems:
        raise DeclarationError(problems)
    states = dict(given.states)
    for host, like in new.items():
        if like in given.states:
            states[host] = HostState(facts=given.states[like].facts, pools=given.states[like].pools)
    groups = {
        name: (*hosts, *(host for host, like in new.items() if like in hosts)) for name, hosts in given.groups.items()
    }
    return Supposed(variables=variables, hosts=(*given.hosts, *new), groups=groups, states=states, lost=gone)


def _set(variables: Variables, path: str, value: Any) -> bool:
    """Put a value at a path, which leads to something that is declared, but for its last step."""
    variable, *steps = path.split(".")
    parts = [held for name, held in variables.items() if name.partition("__")[0] == variable]
    parts = [held for held in parts if isinstance(held, dict) and (len(steps) < 2 or steps[0] in held)]
    if not steps or not parts:
        return False
    held = parts[0]
    for step in steps[:-1]:
        if held.get(step) is None:
            held[step] = {}
        held = held[step]
        if not isinstance(held, dict):
            return False
    held[steps[-1]] = value
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What would be otherwise: machines with their host before and after; `homeless` ones with every host's reason."""

    moved: Mapping[str, tuple[str | None, str | None]]
    homeless: Mapping[str, Mapping[str, str]]


def difference(before: Situation, after: Situation) -> Difference:
    """Who would be elsewhere, come, go, or find no host."""
    homes = ({vm: made.target or made.host for vm, made in held.decisions.items()} for held in (before, after))
    was, would = homes
    names = dict.fromkeys([*was, *would])
    return Difference(
        moved={vm: (was.get(vm), would.get(vm)) for vm in names if was.get(vm) != would.get(vm)},
        homeless={vm: after.decisions[vm].refusals for vm in would if after.is_homeless(vm)},
    )
