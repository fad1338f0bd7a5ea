# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of a security group become one filter of libvirt's for every family of addresses its cards have.

A rule that names a group is made of the addresses of that group's machines, wherever they run, joined to as few networks as
cover exactly them. So the filter of a host changes when a machine elsewhere comes or goes, and libvirt lays it on running
guests at once; what stays allowed stays connected, because libvirt keeps the state of connections.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from ..model.nwfilter import FilterReference, FilterRule, Nwfilter, Protocol
from ..model.types import Address, Name, Ports
from ..site.security_group import PREFIX, GroupRule, SecurityGroup
from ..site.site import Site
from .machine import Machine

Family = int  # 4 or 6
Families = tuple[Family, ...]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Match = dict[str, str]
Direction = Literal["in", "out", "inout"]

# What of libvirt's own keeps a guest from sending with somebody else's address.
SPOOFED: Mapping[Family, tuple[str, ...]] = {4: ("no-ip-spoofing", "no-arp-spoofing"), 6: ()}
FIRST, LAST = 100, 1000  # priorities of what goes before the rules, and of what drops the rest
# What filters call a machine's own addresses. The mask is ours: one address, or all of the subnet.
VARIABLES: Mapping[Family, str] = {4: "IP", 6: "IPV6"}
MASK = "IPV6MASK"
ANYWHERE = ipaddress.ip_network("::/0")
# Of ICMPv6, what a guest can do nothing without: what became of its packets, which state RELATED does not tell libvirt
# here; who is on which multicast group; routers and neighbours (RFC 4890).
ERRORS = range(1, 5)
MESSAGES: Mapping[Direction, Sequence[int]] = {
    "in": (*ERRORS, 130, 134, 135, 136, 137),
    "out": (*ERRORS, 131, 132, 133, 135, 136, 143),
}
ROUTERS = (134, 137)  # what only a router says: here I am, and there is a better way


def parameters(site: Site, machine: Machine, place: int) -> Match:
    """What its filter is told of a card's addresses. One that is known need not be learned, and holds from the first packet.

    libvirt learns none of IPv6, so a guest that makes its address itself may have any of its subnet.
    """
    card = machine.instance.interfaces[place]
    known = {VARIABLES[address.version]: str(address) for address in machine.ips(place)}
    group = site.security_groups[card.security_group] if card.security_group else None
    if group is None or group.rules is None or not group.anti_spoofing or 6 not in families(site, machine, place):
        return known
    if "IPV6" in known:
        return {**known, MASK: "128"}
    held = [subnet.address.network for subnet in site.subnets_of(site.networks[card.network])]
    network = next((one for one in held if one.version == 6), ANYWHERE)
    return {**known, "IPV6": str(network.network_address), MASK: str(network.prefixlen)}


@dataclass(frozen=True, slots=True)
class Members:
    """The addresses of the machines by security group: worked out once for a site, and what is made of them kept."""

    _networks: Mapping[Name, Sequence[Network]] = field(default_factory=dict)
    _filters: dict[tuple[Name, Families], Nwfilter] = field(default_factory=dict)

    def filter_of(self, name: Name, group: SecurityGroup, spoken: Families) -> Nwfilter:
        """The filter of a group, which is the same on every host."""
        made = self._filters.get((name, spoken))
        if made is None:
            made = self._filters[name, spoken] = compile_group(name, group, spoken, self)
        return made

    @classmethod
    def of(cls, site: Site, machines: Iterable[Machine], kept: Iterable[tuple[Name, Address]] = ()) -> Members:
        """Of the groups that a rule names; a machine that is off keeps its address, and `kept` are no declared machine's."""
        named = {
            other for group in site.security_groups.values() for rule in group.rules or () for other in rule.groups
        }
        found: defaultdict[Name, list[Network]] = defaultdict(list)
        for machine in machines if named else ():
            for place, card in enumerate(machine.instance.interfaces):
                for address in machine.ips(place) if card.security_group in named else ():
                    found[Name(str(card.security_group))].append(ipaddress.ip_network(address))
        for name, address in kept if named else ():
            found[name].append(ipaddress.ip_network(address))
        return cls(found)

    def peers(self, rule: GroupRule, family: Family) -> list[Network] | None:
        """The fewest networks that hold exactly who a rule is about; `None` for anybody."""
        if not rule.cidrs and not rule.groups:
            return None
        found = [cidr.network for cidr in rule.cidrs]
        for name in rule.groups:
            found += self._networks.get(name, ())
        return collapsed(network for network in found if network.version == family)


def collapsed(networks: Iterable[Network]) -> list[Network]:
    """The fewest networks that hold the same addresses; all of one family."""
    return list(ipaddress.collapse_addresses(networks))  # type: ignore[type-var]  # of one family, which the caller saw to


def filter_name(site: Site, machine: Machine, place: int) -> Name | None:
    """The filter that is laid on a card: the one its group names, or the one made of its rules."""
    card = machine.instance.interfaces[place]
    if card.security_group is None:
        return None
    group = site.security_groups[card.security_group]
    return group.filter or _name(card.security_group, families(site, machine, place))


def families(site: Site, machine: Machine, place: int) -> Families:
    """The families of addresses a card speaks: those of its subnet, of its own address, and IPv6 where its network says so."""
    network = site.networks[machine.instance.interfaces[place].network]
    found = {subnet.address.version for subnet in site.subnets_of(network)}
    found |= {address.version for address in machine.ips(place)}
    found |= {6} if network.ipv6 else set()
    return tuple(sorted(found)) or (4,)


def group_filters(site: Site, here: Iterable[Machine], members: Members) -> Iterator[Nwfilter]:
    """The filters of the groups that machines `here` are in, each once, in the order of their names."""
    wanted = {
        (card.security_group, families(site, machine, place))
        for machine in here
        for place, card in enumerate(machine.instance.interfaces)
        if card.security_group and site.security_groups[card.security_group].rules is not None
    }
    for name, spoken in sorted(wanted):
        yield members.filter_of(name, site.security_groups[name], spoken)


def compile_group(name: Name, group: SecurityGroup, spoken: Families, members: Members) -> Nwfilter:
    """The filter of a group for cards that speak these families."""
    references: list[str] = []
    rules: list[FilterRule] = []
    if group.anti_spoofing:
        references += ["no-mac-spoofing", *(filter_ for family in spoken for filter_ in SPOOFED[family])]
        rules += (rule for family in spoken for rule in _frames(family))
        rules += _no_routers() if 6 in spoken else ()
        references += ["no-other-l2-traffic", "qemu-announce-self"]
    for family in spoken:
        rules += _always(family)
        if not group.limits_out():
            rules.append(_accept("out", "all", family))
        for rule in group.rules or ():
            rules += _rules(rule, family, members.peers(rule, family))
    # Of both families: what a card does not speak must not be a way around.
    rules += (_packets("drop", "inout", "all", family, priority=LAST) for family in (4, 6))
    return Nwfilter(
        name=_name(name, spoken),
        references=tuple(FilterReference(filter=Name(reference)) for reference in references),
        rules=tuple(rules),
    )


def _name(group: Name, spoken: Families) -> Name:
    return Name(f"{PREFIX}{group}" if spoken == (4,) else f"{PREFIX}{group}.{''.join(map(str, spoken))}")


def _frames(family: Family) -> Iterator[FilterRule]:
    """Which frames come through at all. For IPv6 also who may have sent them: libvirt's own filter for that drops neighbours."""
    if family == 4:
        yield FilterRule(action="accept", direction="inout", protocol="mac", priority=-500, match={"protocolid": "arp"})
        yield FilterRule(
            action="accept", direction="inout", protocol="mac", priority=-400, match={"protocolid": "ipv4"}
        )
        return
    for address, mask in (("$IPV6", f"${MASK}"), ("fe80::", "10"), ("::", "128")):
        match = {"srcipaddr": address, "srcipmask": mask}
        yield FilterRule(action="accept", direction="out", protocol="ipv6", priority=-400, match=match)
    yield FilterRule(action="accept", direction="in", protocol="mac", priority=-400, match={"protocolid": "ipv6"})


def _no_routers() -> Iterator[FilterRule]:
    """RFC 6105: who is no router must not say that it is one; all its neighbours would believe it."""
    for message in ROUTERS:
        match = {"type": str(message)}
        yield _packets("drop", "out", "icmp", 6, match, priority=FIRST, statematch=False)


def _always(family: Family) -> Iterator[FilterRule]:
    """What every guest needs: an address, its neighbours, and to be told that a packet was too big."""
    client, server = {4: ("68", "67"), 6: ("546", "547")}[family]
    yield _accept("out", "udp", family, {"srcportstart": client, "dstportstart": server})
    yield _accept("in", "udp", family, {"srcportstart": server, "dstportstart": client})
    if family == 6:
        # One direction at a time: libvirt makes nothing of a rule about a type that is for both.
        for direction, messages in MESSAGES.items():
            for message in messages:
                yield _packets("accept", direction, "icmp", family, {"type": str(message)}, statematch=False)
        return
    for direction in ("in", "out"):
        yield _accept(direction, "icmp", family, {"state": "RELATED"})


def _rules(rule: GroupRule, family: Family, peers: list[Network] | None) -> Iterator[FilterRule]:
    """One rule of libvirt's for every range of ports and every network; none if the group it names is empty."""
    protocol = "all" if rule.protocol == "any" else rule.protocol
    other = "src" if rule.direction == "in" else "dst"
    for ports in rule.ports or (None,):
        for peer in [None] if peers is None else peers:
            match = {**_peer(other, peer), **_ports(ports)}
            if rule.icmp_type is not None:
                match["type"] = str(rule.icmp_type)
            yield _accept(rule.direction, protocol, family, match)


def _peer(other: str, peer: Network | None) -> Match:
    if peer is None or peer.prefixlen == 0:
        return {}
    mask = {} if peer.prefixlen == peer.max_prefixlen else {f"{other}ipmask": str(peer.prefixlen)}
    return {f"{other}ipaddr": str(peer.network_address), **mask}


def _ports(ports: Ports | None) -> Match:
    if ports is None:
        return {}
    last = {} if ports.first == ports.last else {"dstportend": str(ports.last)}
    return {"dstportstart": str(ports.first), **last}


def _accept(direction: Direction, protocol: str, family: Family, match: Match | None = None) -> FilterRule:
    return _packets("accept", direction, protocol, family, match)


def _packets(
    action: Literal["accept", "drop"],
    direction: Direction,
    protocol: str,
    family: Family,
    match: Match | None = None,
    *,
    priority: int = 500,
    statematch: bool = True,
) -> FilterRule:
    return FilterRule(
        action=action,
        direction=direction,
        protocol=_in_family(protocol, family),
        priority=priority,
        statematch=statematch,
        match=match or None,
    )


def _in_family(protocol: str, family: Family) -> Protocol:
    """The name libvirt has for a protocol in a family: `tcp` and `tcp-ipv6`, but `icmpv6`."""
    name = protocol if family == 4 else "icmpv6" if protocol == "icmp" else f"{protocol}-ipv6"
    return cast(Protocol, name)
