# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a VXLAN network has an end on, and which of a host's peers may go.

An unreachable host stays an end where a VM or a gateway of the network may be on it, and where another host has it as a peer:
only its sshd may be dead. A peer goes when its host answered and has no end any more, or is known to be dead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..model.types import Address, Name
from ..site.network import Network
from ..site.site import Site
from .states import HostState, Tunnels

Key = tuple[int, int]  # number and port of a tunnel; zeros for none
NONE: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The `hosts` of each network. `tunnels` are what each host that answered has now.

    `foreign_stay` is whether an address stays a peer that belongs to no host: a host without an answer may have it.
    """

    addresses: Mapping[Name, Address]
    hosts: Mapping[Name, frozenset[str]]
    tunnels: Mapping[str, Tunnels]
    known: frozenset[Address] = NONE
    foreign_stay: bool = False

    def joined(self, others: Ends) -> Ends:
        """The ends of two layouts together: while VMs move, each host reaches both."""
        hosts = {name: found | others.hosts.get(name, frozenset()) for name, found in self.hosts.items()}
        return replace(self, hosts=hosts)

    def peers(self, name: Name, network: Network, host: str) -> tuple[Address, ...]:
        """The peers that a host is to have."""
        ends = (self.addresses.get(Name(end)) for end in self.hosts[name] if end != host)
        foreign = self._observed(network, host) - self.known if self.foreign_stay else NONE
        return _sorted(foreign.union(end for end in ends if end is not None))

    def unused(self, network: Network, host: str, peers: Iterable[Address]) -> tuple[Address, ...]:
        """The peers that a host has, and that have no end any more."""
        return _sorted(self._observed(network, host).difference(peers))

    def _observed(self, network: Network, host: str) -> frozenset[Address]:
        key, tunnels = _key(network), self.tunnels.get(host, {})
        return tunnels[key].peers if key in tunnels else NONE


NO_ENDS = Ends(addresses={}, hosts={}, tunnels={})


def tunnel_ends(
    site: Site,
    states: Mapping[str, HostState],
    having: Mapping[Name, Iterable[str]],
    possible: Mapping[Name, Iterable[str]],
    *,
    dead: frozenset[str],
    outside: bool = False,
) -> Ends:
    """The ends of the site's networks. `having` are the hosts that have a network, `possible` those that may have something of it.

    `dead` are hosts known to run nothing. `outside` is whether a host that is not in the inventory may run VMs of the site.
    """
    unreachable = frozenset(map(str, site.hosts)) - states.keys() - dead if states else frozenset()
    seen = _seen(site, states, unreachable)
    hosts = {
        name: frozenset(having.get(name, ()))
        | unreachable.intersection(possible.get(name, ()))
        | seen.get(_key(network), frozenset())
        for name, network in site.networks.items()
    }
    return Ends(
        addresses=site.addresses,
        hosts=hosts,
        tunnels={host: state.tunnels for host, state in states.items()},
        known=frozenset({*site.addresses.values(), *_locals(states)}),
        foreign_stay=outside or bool(unreachable),
    )


def _seen(site: Site, states: Mapping[str, HostState], unreachable: frozenset[str]) -> dict[Key, frozenset[str]]:
    """By tunnel, the unreachable hosts that a host which answered has as peers."""
    named = {site.addresses[Name(host)]: host for host in unreachable if Name(host) in site.addresses}
    found: defaultdict[Key, frozenset[str]] = defaultdict(frozenset)
    for state in states.values():
        for key, tunnel in state.tunnels.items():
            found[key] |= {named[peer] for peer in tunnel.peers if peer in named}
    return found


def _locals(states: Mapping[str, HostState]) -> Iterable[Address]:
    """The addresses that hosts have at their own ends."""
    return (tunnel.local for state in states.values() for tunnel in state.tunnels.values() if tunnel.local)


def _key(network: Network) -> Key:
    return (network.vxlan.id, network.vxlan.port) if network.vxlan else (0, 0)


def _sorted(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(addresses, key=lambda address: int(address.ip)))
