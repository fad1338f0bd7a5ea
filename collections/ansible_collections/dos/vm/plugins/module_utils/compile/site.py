# SPDX-License-Identifier: GPL-3.0-or-later
"""Site, intent and placement make one slice per host: the operator's words become libvirt's. Pure; the time is a parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import DeclarationError, Problem
from ..intent.power import Order, intended
from ..model.domain import Domain
from ..model.host import HostFacts
from ..model.slice import Slice
from ..model.types import Name
from ..placement.place import Decision, Request, Room, place
from ..site.site import Site
from .domain import compile_domain
from .identity import allocate
from .machine import Machine, machines
from .network import compile_network
from .nwfilter import closure, compile_nwfilter
from .storage import compile_pool, compile_volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What a host told of itself. `domains` maps the names it has to whether they are ours; `volumes` are `pool/name`."""

    facts: HostFacts
    domains: Mapping[str, bool] = field(default_factory=dict)
    volumes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The slices by host, and how each machine came to its host."""

    slices: Mapping[str, Slice]
    decisions: Mapping[str, Decision]


def compile_site(site: Site, states: Mapping[str, HostState], *, now: float, orders: Iterable[Order] = ()) -> Compiled:
    """One slice for every host of the site. `states` lacks the hosts that did not answer: nothing new goes there.

    Raises `DeclarationError` with every machine that no host can take, each with the reason of every host.
    """
    found = machines(site)
    intent = intended({machine.name: machine.declared_on for machine in found}, orders, now)
    decisions = place((_request(site, machine, intent, states) for machine in found), _rooms(states))
    _refuse_homeless(found, decisions)
    macs = allocate(
        site.name,
        ((machine.name, card) for machine in found for card in machine.cards_without_mac()),
        (mac for machine in found for mac in machine.macs()),
    )
    by_host: defaultdict[str, list[Machine]] = defaultdict(list)
    for machine in found:
        by_host[str(decisions[machine.name].host)].append(machine.settled(macs, on=intent[machine.name]))
    first = {name: min(site.hosts_of(pool) or site.hosts) for name, pool in site.pools.items() if pool.shared}
    return Compiled(
        slices={host: _slice(site, host, by_host[host], first) for host in site.hosts},
        decisions=decisions,
    )


def _request(site: Site, machine: Machine, intent: Mapping[str, bool], states: Mapping[str, HostState]) -> Request:
    instance = machine.instance
    return Request(
        vm=machine.name,
        vcpus=instance.vcpus,
        memory=instance.memory,
        arch=instance.arch,
        on=intent[machine.name],
        hosts=machine.hosts(site),
        current=_current(site, machine, states),
    )


def _current(site: Site, machine: Machine, states: Mapping[str, HostState]) -> str | None:
    """Where a machine is: the host that has it defined as ours, or else has a disk of its own."""
    defined = [host for host, state in states.items() if state.domains.get(machine.name)]
    if defined:
        return min(defined)
    disks = machine.own_disks(site)
    return min((host for host, state in states.items() if disks & state.volumes), default=None)


def _rooms(states: Mapping[str, HostState]) -> Iterable[Room]:
    for host, state in states.items():
        archs = frozenset(state.facts.emulators or {state.facts.arch: ""})
        yield Room(host=host, memory=state.facts.memory, cpus=state.facts.cpus, archs=archs)


def _refuse_homeless(found: Iterable[Machine], decisions: Mapping[str, Decision]) -> None:
    problems = []
    for machine in found:
        made = decisions[machine.name]
        if made.host is None:
            table = "".join(f"\n  {host}: {why}" for host, why in made.refusals.items()) or "\n  no host answered"
            problems.append(Problem(machine.path, f"{made.reason}{table}"))
    if problems:
        raise DeclarationError(problems)


def _slice(site: Site, host: str, here: list[Machine], first: Mapping[Name, str]) -> Slice:
    domains = _domains(site, here)
    filters = closure(site, _filters(domains))
    return Slice(
        site=site.name,
        secrets=tuple(site.secrets[name].as_declared(name) for name in _secrets(domains)),
        pools=tuple(compile_pool(name, pool) for name, pool in site.pools.items() if site.is_on(pool, host)),
        volumes=compile_volumes(site, host, here, first),
        nwfilters=tuple(compile_nwfilter(name, site.filters[name]) for name in filters),
        networks=tuple(
            compile_network(site, name, network, here)
            for name, network in site.networks.items()
            if site.is_on(network, host)
        ),
        domains=domains,
    )


def _domains(site: Site, here: Iterable[Machine]) -> tuple[Domain, ...]:
    """The domains of one host, or everything that libvirt would refuse in them, told of the machines they come from."""
    found: list[Domain] = []
    problems: list[Problem] = []
    for machine in here:
        try:
            found.append(compile_domain(site, machine))
        except DeclarationError as refused:
            problems += [problem.under(f"dos_instances.{machine.instance_name}") for problem in refused.problems]
    if problems:
        raise DeclarationError(dict.fromkeys(problems))
    return tuple(found)


def _filters(domains: Iterable[Domain]) -> set[Name]:
    return {card.filter for domain in domains for card in domain.interfaces if card.filter}


def _secrets(domains: Iterable[Domain]) -> list[Name]:
    return sorted({console.password for domain in domains for console in domain.graphics if console.password})
