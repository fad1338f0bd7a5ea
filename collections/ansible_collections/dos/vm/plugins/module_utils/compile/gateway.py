# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host is the gateway of a bridged network, and what it holds for that.

One host at a time (GW-02): the one that is bound, or the one that somebody moved it to, or the one that has it, or the first
that has the network. While a host that may have it does not answer, nobody else gets it, unless that host is known to be dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ..errors import DeclarationError, Problem
from ..model.address import Mark
from ..model.gateway import Gateway
from ..model.types import Name
from ..site.network import SWITCHED, Network
from ..site.site import Site
from ..site.subnet import AutomaticGateway, Subnet
from .machine import Machine
from .network import compile_dns, compile_subnets, named
from .orphans import OrphanedVm
from .states import HostState

MOVES = "dos_gateway_hosts"


class Carrier(NamedTuple):
    """The host that has the gateway of a network, and why; `None` while it waits for the `possible` hosts that may have it."""

    host: str | None
    reason: str
    possible: frozenset[str] = frozenset()


def automatic(site: Site, network: Network) -> tuple[list[Subnet], AutomaticGateway] | None:
    """The subnets of a network that have an automatic gateway, and that gateway, where there is one."""
    held = [subnet for subnet in site.subnets_of(network) if subnet.automatic_gateway]
    if network.type not in SWITCHED or not held:
        return None
    gateways = [subnet.automatic_gateway for subnet in held if subnet.automatic_gateway]
    # Of two families one says what it is; the other only what it lets in.
    return held, replace(gateways[0], forwards=tuple(one for gateway in gateways for one in gateway.forwards))


def carriers(
    site: Site,
    states: Mapping[str, HostState],
    users: Mapping[str, Iterable[Name]],
    *,
    moves: Mapping[str, str],
    dead: frozenset[str] = frozenset(),
    unasked: frozenset[str] = frozenset(),
) -> dict[Name, Carrier]:
    """The carrier of every automatic gateway. `users` are the networks that machines of each host are on.

    `moves` says which host one should be on from now on, `dead` which hosts are proven to carry nothing, `unasked` which a limit
    leaves out. Raises `DeclarationError` for a move to where it cannot be.
    """
    problems = list(_bad_moves(site, moves, states, unasked))
    if problems:
        raise DeclarationError(problems)
    found: dict[Name, Carrier] = {}
    for name, network in site.networks.items():
        held = automatic(site, network)
        if held is not None:
            found[name] = _carrier(site, name, network, held[1], states, users, moves.get(name), dead, unasked)
    return found


def _carrier(
    site: Site,
    name: Name,
    network: Network,
    gateway: AutomaticGateway,
    states: Mapping[str, HostState],
    users: Mapping[str, Iterable[Name]],
    move: str | None,
    dead: frozenset[str],
    unasked: frozenset[str],
) -> Carrier:
    may = sorted(site.hosts_of(network) or site.hosts)
    # One that broke down is put up again where it is; of two, after a failover, the one that is up is it.
    among = may if gateway.host is None else site.hosts
    having = [host for host in among if host in states and name in states[host].gateways]
    has = next((host for host in having if states[host].gateways[name]), next(iter(having), None))
    if gateway.host is not None:
        if has is None or gateway.host in states or not states:
            return Carrier(gateway.host, "bound")
        return Carrier(has, f"has it, and is bound to {gateway.host}, {_without_answer([gateway.host], unasked)}")
    if move is not None:
        return Carrier(move, f"moved by {MOVES}")
    if has is not None:
        return Carrier(has, "has it")
    silent = [host for host in may if states and host not in states and host not in dead]
    if silent:
        reason = f"waits: {', '.join(silent)} may be it, {_without_answer(silent, unasked)}"
        return Carrier(None, reason, frozenset(silent))
    able = [host for host in may if (not states or host in states) and host not in dead]
    using = [host for host in able if name in users.get(host, ())]
    host = next(iter(using or able), None)
    return Carrier(host, "first that has the network" if using else "first that may have the network")


def _without_answer(hosts: Iterable[str], unasked: frozenset[str]) -> str:
    return "which was not asked" if unasked.issuperset(hosts) else "and there is no answer from there"


def _bad_moves(
    site: Site, moves: Mapping[str, str], states: Mapping[str, HostState], unasked: frozenset[str]
) -> Iterator[Problem]:
    for name, host in moves.items():
        network = site.networks.get(Name(name))
        held = automatic(site, network) if network else None
        path = f"{MOVES}.{name}"
        if network is None or held is None:
            yield Problem(path, "no network of that name has an automatic gateway")
        elif held[1].host not in (None, host):
            yield Problem(path, f"its gateway is bound to {held[1].host}, change automatic_gateway.host of its subnet")
        elif host not in (site.hosts_of(network) or site.hosts):
            yield Problem(path, f"host {host!r} cannot have the network")
        elif left_out := sorted(unasked.intersection(site.hosts_of(network) or site.hosts)):
            yield Problem(path, f"{', '.join(left_out)} may have it and was not asked: leave out --limit and dos_limit")
        elif states and host not in states:
            yield Problem(path, f"host {host} is unreachable: move the gateway to a host that answers")


def compile_forwards(
    site: Site, networks: Iterable[tuple[Name, Network]], plugged: Mapping[Name, Iterable[Machine]], host: str
) -> Iterator[Gateway]:
    """What is added to networks that libvirt serves on a host: services go to machines that are here (DEP-16)."""
    for name, network in networks:
        if not network.forwards:
            continue
        assert network.bridge is not None  # checked with the declaration
        here = list(plugged.get(name, ()))
        own = {ip for machine in here for place in _cards(machine, name) for ip in machine.ips(place)}
        # An address that no machine of the site has is on the one host that the network is on.
        alone = (site.hosts_of(network) or frozenset(site.hosts)) == frozenset([Name(host)])
        forwards = tuple(held for held in network.forwards if held.to in own or alone)
        if forwards:
            yield Gateway(
                name=name,
                bridge=network.bridge,
                subnets=compile_subnets(
                    name, (replace(held, dhcp=None, tftp=None) for held in site.subnets_of(network)), (), by_mac=False
                ),
                forward="route",
                device=network.forward_interface,
                forwards=forwards,
                only_forwards=True,
                autostart=True,
                mark=Mark(site=site.name, project=network.project, origin=f"dos_networks.{name}"),
            )


def _cards(machine: Machine, network: Name) -> list[int]:
    return [place for place, card in enumerate(machine.instance.interfaces) if card.network == network]


def compile_gateway(
    site: Site, name: Name, network: Network, machines: Iterable[Machine], orphans: Iterable[OrphanedVm] = ()
) -> Gateway:
    """The gateway of a network; `machines` are all that are on it, wherever they run, `orphans` those no longer declared."""
    found = automatic(site, network)
    assert found is not None  # only who has one is asked
    assert network.bridge is not None  # NET-T3.1, checked with the declaration
    subnets, held = found
    machines = list(machines)
    dns = named(subnets)
    return Gateway(
        name=name,
        bridge=network.bridge,
        subnets=compile_subnets(name, subnets, machines, orphans, by_mac=True),
        forward=held.forward,
        device=held.interface,
        nat=held.nat,
        forwards=held.forwards,
        domain=dns.domain if dns else None,
        dns=compile_dns(name, subnets, machines),
        start=held.start,
        stop=held.stop,
        autostart=held.host is not None,
        mark=Mark(site=site.name, project=network.project, origin=f"dos_subnets.{network.subnet or network.subnet6}"),
    )
