# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts have for machines: what they told, within the limits that the operator declared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from ..errors import DeclarationError, Problem
from ..model.host import HostFacts
from ..model.types import ByteSize, Name
from ..placement.room import Cell, Room
from ..site.host import LEAST_RESERVE, HostSettings, Overcommit
from ..site.site import Site
from .states import HostState


def groups(site: Site) -> dict[str, dict[str, frozenset[Name]]]:
    """The host groups that have a key, by key and name."""
    found: defaultdict[str, dict[str, frozenset[Name]]] = defaultdict(dict)
    for name, group in site.host_groups.items():
        if group.key:
            found[str(group.key)][str(name)] = site.members(name)
    return dict(found)


def rooms(
    site: Site, states: Mapping[str, HostState], known: frozenset[str], unasked: frozenset[str] = frozenset()
) -> list[Room]:
    """A room for every host. `known` are the site's machines; what else runs there has taken its share already. `unasked` are
    the hosts that this run leaves out.

    Raises `DeclarationError` for a limit that is more than the host can have (HOST-09).
    """
    limits, problems = _Limits(site), []
    found = []
    for host in site.hosts:
        state = states.get(host)
        if state is None:
            found.append(Room(host=host, memory=0, answers=False, asked=host not in unasked))
            continue
        settings = site.host_settings.get(host, HostSettings())
        most = state.facts.memory - LEAST_RESERVE
        if settings.max_memory is not None and settings.max_memory > most:
            text = f"{settings.max_memory} is more than host {host} can have, write at most {ByteSize(max(0, most // 2**20 * 2**20))} (HOST-09)"
            problems.append(Problem(f"dos_host_settings.{host}.max_memory", text))
        found.append(_room(host, state, settings, limits, known))
    if problems:
        raise DeclarationError(problems)
    return found


def _room(host: Name, state: HostState, settings: HostSettings, limits: _Limits, known: frozenset[str]) -> Room:
    facts, times = state.facts, limits.overcommit(host, settings)
    hugepages = _hugepages(facts)
    usual = facts.memory - sum(hugepages.values())
    memory = max(0, int(usual * times.memory) - limits.reserve(host, settings))
    vcpus = None if times.vcpus is None else int(facts.cpus * times.vcpus)
    room = Room(
        host=host,
        memory=memory if settings.max_memory is None else min(memory, settings.max_memory),
        cpus=facts.cpus,
        vcpus=min((held for held in (vcpus, settings.max_vcpus) if held is not None), default=None),
        active=settings.active,
        maintenance=settings.maintenance or facts.maintenance is not None,
        kvm=facts.kvm,
        archs=frozenset(facts.emulators or {facts.arch: ""}),
        arch=facts.arch,
        boards=frozenset((*facts.boards, *(facts.machines or {}))) if facts.boards else None,
        cpu_model=facts.cpu_model,
        cpu_models=frozenset(facts.cpu_models) or None,
        hugepages=hugepages,
        devices=facts.devices or {},
        cells=tuple(Cell(node.memory, node.cpus) for node in facts.numa),
        load=_steady(facts.load),
        labels={str(name): value for name, value in (settings.labels or {}).items()},
        disk={pool: limits.disk(pool, int(capacity * times.disk)) for pool, capacity in state.pools.items()},
    )
    for name, (cpus, size) in (state.active or {}).items():
        if name not in known or not state.domains.get(name, False):
            room.used_vcpus += cpus
            room.used_memory += size
            room.machines += 1
    return room


def _hugepages(facts: HostFacts) -> dict[int, int]:
    found: defaultdict[int, int] = defaultdict(int)
    for node in facts.numa:
        for page, held in (node.hugepages or {}).items():
            found[int(ByteSize(page))] += held
    return dict(found)


def _steady(percent: int) -> float:
    """The load in quarters: what is planned now and done in a minute should not hang on a percent."""
    return min(4, round(percent / 25)) / 4


class _Limits:
    """Reserve and overcommit of hosts: the host's own word, else that of its groups, else the site's."""

    def __init__(self, site: Site) -> None:
        self._placement = site.placement
        self._capacities = {str(name): pool.capacity for name, pool in site.pools.items() if pool.capacity is not None}
        self._groups: defaultdict[str, list[tuple[ByteSize | None, Overcommit | None]]] = defaultdict(list)
        for name, group in site.host_groups.items():
            if group.reserve is not None or group.overcommit is not None:
                for host in site.members(name):
                    self._groups[host].append((group.reserve, group.overcommit))

    def reserve(self, host: str, settings: HostSettings) -> int:
        if settings.reserve is not None:
            return settings.reserve
        return max((held for held, _ in self._groups[host] if held is not None), default=self._placement.reserve)

    def disk(self, pool: str, found: int) -> int:
        """What volumes in a pool of a host may have: what fits there, and no more than is declared (POOL-07)."""
        declared = self._capacities.get(pool)
        return found if declared is None else min(found, declared)

    def overcommit(self, host: str, settings: HostSettings) -> Overcommit:
        if settings.overcommit is not None:
            return settings.overcommit
        held = [times for _, times in self._groups[host] if times is not None]
        if not held:
            return self._placement.overcommit or Overcommit()
        vcpus = [times.vcpus for times in held if times.vcpus is not None]
        return replace(
            held[0],
            memory=min(times.memory for times in held),
            vcpus=min(vcpus, default=None),
            disk=min(times.disk for times in held),
        )
