# SPDX-License-Identifier: GPL-3.0-or-later
"""Site, intent and placement make one slice per host: the operator's words become libvirt's. Pure; the time is a parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..errors import DeclarationError, Problem
from ..intent.power import Order, intended
from ..model.domain import Domain
from ..model.host import HostFacts
from ..model.slice import Slice
from ..model.types import Name
from ..placement.place import Decision, Request, Room, place
from ..site.network import Network
from ..site.pool import Pool
from ..site.site import Site
from ..site.volume import Volume
from .by_host import ByHost
from .domain import compile_domain
from .identity import allocate
from .machine import Machine, machines
from .network import compile_network
from .nwfilter import closure, compile_nwfilter
from .shared import elsewhere
from .storage import compile_pool, compile_volumes, homes


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

    A machine that may be on one of those is in no slice, and its decision says what it waits for: it could be running, and
    must not run twice. One that is defined where it may not be stays there.

    Raises `DeclarationError` with every machine that no host can take, each with the reason of every host, and with what
    libvirt would refuse in a machine.
    """
    found = machines(site)
    intent = intended({machine.name: machine.declared_on for machine in found}, orders, now)
    places = _Places(states)
    requests = [_request(site, machine, intent, places) for machine in found]
    waiting = _waiting(requests, frozenset(map(str, site.hosts)) - frozenset(states)) if states else {}
    decisions = {**waiting, **place((each for each in requests if each.vm not in waiting), _rooms(states))}
    _refuse_homeless((machine for machine in found if machine.name not in waiting), decisions)
    decisions.update(_held_back(decisions, places))
    macs = allocate(
        site.name,
        ((machine.name, card) for machine in found for card in machine.cards_without_mac()),
        (mac for machine in found for mac in machine.macs()),
    )
    by_host: defaultdict[str, list[Machine]] = defaultdict(list)
    for machine in found:
        by_host[decisions[machine.name].host or ""].append(machine.settled(macs, on=intent[machine.name]))
    pools, networks = ByHost(site.pools, site.hosts_of), ByHost(site.networks, site.hosts_of)
    volumes = ByHost(site.volumes, partial(homes, site))
    slices: dict[str, Slice] = {
        host: _slice(site, by_host[host], pools.on(host), volumes.on(host), networks.on(host)) for host in site.hosts
    }
    others = elsewhere(site, slices, by_host[""])
    return Compiled(
        slices={host: replace(held, elsewhere=others.get(host, ())) for host, held in slices.items()},
        decisions=decisions,
    )


def _waiting(requests: Iterable[Request], silent: frozenset[str]) -> dict[str, Decision]:
    """The machines that no host has and a silent one may have: silence is no proof that they do not run (law 8)."""
    found = {}
    for request in requests:
        possible = silent if request.hosts is None else silent & request.hosts
        if request.current is None and possible:
            reason = f"waits: it may be on {', '.join(sorted(possible))}, and there is no answer from there"
            found[request.vm] = Decision(vm=request.vm, host=None, reason=reason)
    return found


def _request(site: Site, machine: Machine, intent: Mapping[str, bool], places: _Places) -> Request:
    instance = machine.instance
    return Request(
        vm=machine.name,
        vcpus=instance.vcpus,
        memory=instance.memory,
        arch=instance.arch,
        on=intent[machine.name],
        hosts=machine.hosts(site),
        current=places.of(site, machine),
    )


def _held_back(decisions: Mapping[str, Decision], places: _Places) -> dict[str, Decision]:
    """The machines that a rule sends away from where they are defined: defining them anew would run them twice (law 8).

    They stay until they are migrated or removed there; `refusals` says so.
    """
    found = {}
    for vm, made in decisions.items():
        at = places.defined(vm)
        if at is not None and made.host is not None and made.host != at:
            reason = f"stays on {at}, and should be on {made.host}: migrate it, or undefine it on {at} first"
            found[vm] = Decision(vm=vm, host=at, reason=reason, refusals={at: "is not where it may run"})
    return found


class _Places:
    """Where machines and volumes are now, by name: a site has too many of both to ask every host for each."""

    def __init__(self, states: Mapping[str, HostState]) -> None:
        self._domains: dict[str, str] = {}
        self._volumes: dict[str, str] = {}
        for host in sorted(states):
            for name, ours in states[host].domains.items():
                if ours:
                    self._domains.setdefault(name, host)
            for name in states[host].volumes:
                self._volumes.setdefault(name, host)

    def defined(self, vm: str) -> str | None:
        """The host that has a machine defined as ours."""
        return self._domains.get(vm)

    def of(self, site: Site, machine: Machine) -> str | None:
        """Where a machine is: the host that has it defined as ours, or else has a disk of its own."""
        defined = self.defined(machine.name)
        if defined is not None or not self._volumes:
            return defined
        disks = machine.own_disks(site)
        return min((self._volumes[disk] for disk in disks if disk in self._volumes), default=None)


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


def _slice(
    site: Site,
    here: list[Machine],
    pools: Iterable[tuple[Name, Pool]],
    volumes: Iterable[tuple[Name, Volume]],
    networks: Iterable[tuple[Name, Network]],
) -> Slice:
    """What one host holds: the machines `here`, and of the rest what is bound to it."""
    domains = _domains(site, here)
    filters = closure(site, _filters(domains))
    plugged = _plugged(here)
    return Slice(
        site=site.name,
        secrets=tuple(site.secrets[name].as_declared(name) for name in _secrets(domains)),
        pools=tuple(compile_pool(name, pool) for name, pool in pools),
        volumes=compile_volumes(site, here, volumes),
        nwfilters=tuple(compile_nwfilter(name, site.filters[name]) for name in filters),
        networks=tuple(compile_network(site, name, network, plugged[name]) for name, network in networks),
        domains=domains,
    )


def _domains(site: Site, here: Iterable[Machine]) -> tuple[Domain, ...]:
    """The domains of one host, or everything that libvirt would refuse in them, told of the instances they come from."""
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


def _plugged(here: Iterable[Machine]) -> defaultdict[Name, list[Machine]]:
    """The machines by network."""
    found: defaultdict[Name, list[Machine]] = defaultdict(list)
    for machine in here:
        for name in dict.fromkeys(card.network for card in machine.instance.interfaces):
            found[name].append(machine)
    return found


def _filters(domains: Iterable[Domain]) -> set[Name]:
    return {card.filter for domain in domains for card in domain.interfaces if card.filter}


def _secrets(domains: Iterable[Domain]) -> list[Name]:
    return sorted({console.password for domain in domains for console in domain.graphics if console.password})
