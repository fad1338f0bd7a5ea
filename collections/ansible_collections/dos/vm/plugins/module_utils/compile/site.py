# SPDX-License-Identifier: GPL-3.0-or-later
"""Site, intent and placement make one slice per host: the operator's words become libvirt's. Pure; the time is a parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..errors import DeclarationError, Problem
from ..intent.power import Order
from ..model.address import Address, own_uuid
from ..model.domain import Domain
from ..model.fragment import named
from ..model.pool import Pool as HostPool
from ..model.slice import Slice
from ..model.types import Name, Uuid
from ..model.volume import Volume as HostVolume
from ..placement.policy import Policy
from ..placement.request import Decision
from ..site.filter import called
from ..site.network import BRIDGED, Network
from ..site.pool import Pool
from ..site.site import Site
from ..site.volume import Volume
from .addresses import give
from .bridge import compile_bridge
from .by_host import ByHost
from .domain import compile_domain
from .gateway import Carrier, carriers, compile_forwards, compile_gateway
from .identity import allocate
from .machine import Machine
from .memory import NOTHING, Memory, Placement
from .network import compile_network
from .nwfilter import closure, compile_nwfilter
from .orphans import OrphanedVm, plugged_by_host
from .orphans import members as kept_members
from .placing import Situation, situation
from .port_bridge import places, port_bridges
from .reach import refuse_untrue
from .requests import Failed
from .security_group import Members, group_filters
from .shared import elsewhere
from .starts import Wave, waves
from .states import HostState as HostState
from .storage import compile_pool, compile_volumes, homes
from .tunnels import NO_ENDS, Ends, tunnel_ends
from .volumes_elsewhere import HostVolumes, with_volumes_elsewhere
from .written_twice import written_twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The slices by host, and how each machine came to its host. `ordered` are the machines that are on, or off, by order.

    `placements` are to be remembered before any host is changed; `taken` says by host which machines these give to another
    one, which the host must know before that one is changed; `findings` say what contradicts what.
    """

    slices: Mapping[str, Slice]
    decisions: Mapping[str, Decision]
    ordered: Mapping[str, bool] = field(default_factory=dict)
    untold: tuple[str, ...] = ()  # assertions that only a real packet can answer
    placements: tuple[Placement, ...] = ()
    taken: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()  # of the findings, those with which a run fails
    gateways: Mapping[Name, Carrier] = field(default_factory=dict)
    ends: Ends = NO_ENDS
    waves: tuple[Wave, ...] = ()  # of machines that are started after others
    machines: Mapping[str, list[Machine]] = field(default_factory=dict)  # by host; those of no host by the empty name


def compile_site(
    site: Site,
    states: Mapping[str, HostState],
    *,
    now: float,
    orders: Iterable[Order] = (),
    how: Policy | None = None,
    failed: Failed | None = None,
    memory: Memory = NOTHING,
) -> Compiled:
    """One slice for every host of the site. `states` lacks the hosts that did not answer: nothing new goes there.

    A machine that may be on one of those is in no slice, and its decision says what it waits for: it could be running, and
    must not run twice. One that is defined where it may not be stays there. `how` is the site's policy with its plugins,
    `failed` are the hosts that could not start a machine in this run, `memory` is what earlier runs left in the store.

    Raises `DeclarationError` with every machine that no host can take, each with the reason of every host, and with what
    libvirt would refuse in a machine; or with every assertion that the networks would not keep.
    """
    return compile_situation(situation(site, states, now=now, orders=orders, how=how, failed=failed, memory=memory))


def compile_situation(held: Situation, *, moves: Mapping[str, str] | None = None) -> Compiled:
    """The slices of a site whose machines have been placed. `moves` are those of `gateway.carriers`."""
    site, found, decisions = held.site, held.machines, held.decisions
    refuse_homeless(held)
    macs = allocate(
        site.name,
        ((machine.name, card) for machine in found for card in machine.cards_without_mac()),
        (mac for machine in found for mac in machine.macs()),
    )
    staying = tuple(orphan for orphan in held.orphans if orphan.stays)
    given = give(site, found, macs, held.states, staying)
    changes = held.changes()
    by_host: defaultdict[str, list[Machine]] = defaultdict(list)
    for machine in found:
        host = decisions[machine.name].host or ""
        epoch = held.recall.epoch_of(machine.name, host, changes)
        by_host[host].append(
            machine.settled(macs, given, on=held.starts(machine.name), epoch=epoch, uuid=_uuid(held, machine, host))
        )
    pools, networks = ByHost(site.pools, site.hosts_of), ByHost(site.networks, site.hosts_of)
    volumes = ByHost(site.volumes, partial(homes, site))
    members = Members.of(
        site, (machine for machines in by_host.values() for machine in machines), kept=kept_members(site, staying)
    )
    plugged: dict[str, Mapping[Name, list[Machine]]] = {host: _plugged(by_host[host]) for host in site.hosts}
    beside = plugged_by_host(site, staying)
    gateways = carriers(site, held.states, plugged, moves=moves or {}, dead=held.recall.dead, unasked=held.unasked)
    on_host: dict[str, list[tuple[Name, Network]]] = {
        host: list(_needed(networks.on(host), {*plugged[host], *beside.get(host, ()), *_carried(gateways, host)}))
        for host in site.hosts
    }
    ends = tunnel_ends(
        site,
        held.states,
        _having(on_host, {host: (*plugged[host], *beside.get(host, ())) for host in site.hosts}),
        _possible(held, by_host[""], gateways),
        dead=held.recall.dead,
        outside=held.recall.has_outside,
    )
    slices: dict[str, Slice] = {
        host: replace(
            _slice(site, by_host[host], members, pools.on(host), volumes.on(host), on_host[host], host, ends, staying),
            gateways=(
                *(
                    compile_gateway(site, name, site.networks[name], _on(name, by_host), staying)
                    for name in _carried(gateways, host)
                ),
                *compile_forwards(site, on_host[host], plugged[host], host),
            ),
        )
        for host in site.hosts
    }
    untold = refuse_untrue(site, by_host, slices)
    slices = with_volumes_elsewhere(
        HostVolumes(
            site=site,
            slices=slices,
            by_host=by_host,
            states=held.states,
            recall=held.recall,
        )
    )
    errors = (*held.recall.errors(), *written_twice(site, held.states))
    others = elsewhere(site, slices, by_host[""])
    later = waves(held, by_host)
    waits = _waits(later)
    return Compiled(
        slices={
            host: replace(slice_, elsewhere=others.get(host, ()), waits=waits.get(host, ()))
            for host, slice_ in slices.items()
        },
        decisions=decisions,
        ordered={
            str(machine.name): held.intent[machine.name]
            for machine in found
            if held.intent[machine.name] != machine.declared_on
        },
        untold=untold,
        placements=tuple(changes.values()),
        taken=held.recall.taken(changes.values()),
        findings=(*errors, *held.recall.findings()),
        errors=errors,
        gateways=gateways,
        ends=ends,
        waves=later,
        machines=by_host,
    )


def _uuid(held: Situation, machine: Machine, host: str) -> Uuid | None:
    """That of a machine whose ports on Open vSwitch have to say it before it is there: the one that it has, or is to get."""
    if next(places(held.site, machine), None) is None:
        return None
    asked = (held.states.get(one or "") for one in (host, held.requests[machine.name].current))
    known = (state.uuids[machine.name] for state in asked if state is not None and machine.name in state.uuids)
    return next(known, None) or own_uuid(held.site.name, Address("domain", machine.name))


def _waits(later: Iterable[Wave]) -> dict[str, tuple[Name, ...]]:
    """By host, the machines that are not started with the first."""
    found: defaultdict[str, list[Name]] = defaultdict(list)
    for vm, (host, _) in (start for wave in later for start in wave.starts.items()):
        found[host].append(Name(vm))
    return {host: tuple(names) for host, names in found.items()}


def refuse_homeless(held: Situation) -> None:
    """Raise for the machines that no host can take, unless the site lets them wait (SCHED-11), and for broken promises.

    A machine that runs where it may not, and can go nowhere else, stays; but where somebody declared a host, the host is
    obeyed or the plan fails.
    """
    problems = []
    for machine in held.machines if held.site.placement.homeless == "fail" else ():
        if held.is_homeless(machine.name):
            made = held.decisions[machine.name]
            rows = made.refusals if any(room.answers for room in held.fleet.rooms) else {"no host answered": ""}
            table = "".join(f"\n  {host}: {why}" if why else f"\n  {host}" for host, why in rows.items())
            problems.append(Problem(machine.path, f"{made.reason}{table}"))
    if problems:
        raise DeclarationError(problems)


def _slice(
    site: Site,
    here: list[Machine],
    members: Members,
    pools: Iterable[tuple[Name, Pool]],
    volumes: Iterable[tuple[Name, Volume]],
    networks: Iterable[tuple[Name, Network]],
    host: str,
    ends: Ends,
    orphans: Iterable[OrphanedVm],
) -> Slice:
    """What one host holds: the machines `here`, and of the rest what is bound to it."""
    domains = _domains(site, here, host)
    beside = [orphan for orphan in orphans if orphan.host == host]
    filters = closure(site, _filters(domains))
    plugged = _plugged(here)
    held = compile_volumes(site, here, volumes)
    used = {volume.pool for volume in held} | _pools_in_fragments(domains)
    bound = tuple(compile_pool(name, pool, site.secrets, needed=name in used) for name, pool in pools)
    return Slice(
        site=site.name,
        secrets=tuple(site.secrets[name].as_declared(name) for name in _secrets(domains, held, bound)),
        pools=bound,
        volumes=held,
        nwfilters=(
            *(compile_nwfilter(name, site.filters[name]) for name in filters),
            *group_filters(site, here, members),
        ),
        bridges=(
            *(compile_bridge(site, name, network, host, ends) for name, network in networks if network.builds),
            *port_bridges(site, here),
        ),
        networks=tuple(compile_network(site, name, network, plugged[name], beside) for name, network in networks),
        domains=domains,
    )


def _needed(networks: Iterable[tuple[Name, Network]], used: set[Name]) -> Iterable[tuple[Name, Network]]:
    """NET-09: a network that leaves its host, and is bound to none, is on those that have a machine on it, or its gateway."""
    for name, network in networks:
        if network.type not in BRIDGED or name in used or network.host or network.hosts:
            yield name, network


def _carried(gateways: Mapping[Name, Carrier], host: str) -> list[Name]:
    return [name for name, carrier in gateways.items() if carrier.host == host]


def _on(network: Name, by_host: Mapping[str, list[Machine]]) -> list[Machine]:
    """The machines on a network, wherever they run."""
    return [
        machine
        for machines in by_host.values()
        for machine in machines
        if any(card.network == network for card in machine.instance.interfaces)
    ]


def _having(
    on_host: Mapping[str, Iterable[tuple[Name, Network]]], plugged: Mapping[str, Iterable[Name]]
) -> defaultdict[Name, set[str]]:
    """The hosts of each network, those included where a VM is on it against its binding."""
    found: defaultdict[Name, set[str]] = defaultdict(set)
    for host, networks in on_host.items():
        for name in (*(name for name, _ in networks), *plugged[host]):
            found[name].add(host)
    return found


def _possible(
    held: Situation, waiting: Iterable[Machine], gateways: Mapping[Name, Carrier]
) -> defaultdict[Name, set[str]]:
    """By network, the unreachable hosts that may have a VM or the gateway of it."""
    found: defaultdict[Name, set[str]] = defaultdict(set)
    for machine in waiting:
        for card in machine.instance.interfaces:
            found[card.network] |= held.possible.get(machine.name, frozenset())
    for name, carrier in gateways.items():
        found[name] |= carrier.possible
    return found


def _domains(site: Site, here: Iterable[Machine], host: str) -> tuple[Domain, ...]:
    """The domains of one host, or everything that libvirt would refuse in them, told of the instances they come from."""
    found: list[Domain] = []
    problems: list[Problem] = []
    for machine in here:
        try:
            found.append(compile_domain(site, machine, host))
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
    """The filters on the cards of these domains, those in fragments of XML as well."""
    found = {card.filter for domain in domains for card in domain.interfaces if card.filter}
    fragments = (fragment for domain in domains for fragment in domain.xml)
    return found | {Name(name) for fragment in fragments for name in called(fragment)}


def _pools_in_fragments(domains: Iterable[Domain]) -> set[str]:
    """The pools of disks that are written as XML."""
    fragments = (fragment for domain in domains for fragment in domain.xml)
    return {pool for fragment in fragments for _, pool in named(fragment, "source", "pool")}


def _secrets(domains: Iterable[Domain], volumes: Iterable[HostVolume], pools: Iterable[HostPool]) -> list[Name]:
    """The secrets that a host needs, and no others: of consoles, seeds, encrypted volumes, pools it starts (SECO-03)."""
    named = {console.password for domain in domains for console in domain.graphics if console.password}
    named |= {volume.encryption.secret for volume in volumes if volume.encryption}
    named |= {pool.source.secret for pool in pools if pool.active and pool.source and pool.source.secret}
    told = (held for domain in domains for held in (domain.seed, domain.injection) if held is not None)
    return sorted(named | {name for held in told for name in held.secrets()})
