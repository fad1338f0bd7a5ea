# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the networks keep what the site asserts of them: worked out of the slices, before any host is touched.

The question goes to what was compiled, not to what was declared: the cards of the domains, the filters they name, the hosts
they are on. So it also finds what a rule of a group, a raw filter, a network's type and a placement do together.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ..errors import DeclarationError, Problem
from ..model.domain import Interface
from ..model.nwfilter import Nwfilter
from ..model.slice import Slice
from ..model.types import Address, Name
from ..site.assertion import Assertion, Endpoint
from ..site.network import Network
from ..site.site import Site
from .machine import Machine
from .packet import IpAddress, Packet, UndecidableError, unfolded, verdicts
from .packet import Network as Addresses
from .predefined import FILTERS

Family = int  # 4 or 6
WITHIN_A_HOST = ("isolated", "nat", "route")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card of a machine, with where it is. A machine that waits for its host has no `plug`."""

    machine: Name
    host: str
    network_name: Name
    network: Network
    ips: Mapping[Family, Address]
    subnets: Mapping[Family, Addresses]
    plug: Interface | None

    def addresses(self, family: Family) -> Addresses | None:
        """Its address, or all that it may be given."""
        own = self.ips.get(family)
        return ipaddress.ip_network(own) if own else self.subnets.get(family)

    @property
    def families(self) -> frozenset[Family]:
        """The families it is known to speak; none where nothing is known of its addresses."""
        return frozenset([*self.ips, *self.subnets])


End = list[Card] | Addresses


@dataclass(frozen=True, slots=True)
class Answer:
    """`yes` is None where it cannot be told; `why` is the end of a sentence."""

    yes: bool | None
    why: str
    way: bool = True  # whether there is a way at all, which only filters could close


def refuse_untrue(site: Site, by_host: Mapping[str, Iterable[Machine]], slices: Mapping[str, Slice]) -> tuple[str, ...]:
    """Raise `DeclarationError` with every assertion that would not hold; return a sentence for each that cannot be told."""
    if not site.assertions:
        return ()
    reach = Reach(site, by_host, slices)
    problems: list[Problem] = []
    untold: list[str] = []
    for name, held in site.assertions.items():
        answers = list(reach.answers(held))
        wrong = next((answer for answer in answers if answer.yes is (not held.expect)), None)
        unknown = next((answer for answer in answers if answer.yes is None), None)
        path = f"dos_assertions.{name}"
        if wrong is not None:
            must, would = "" if held.expect else "not ", "" if wrong.yes else " not"
            problems.append(Problem(path, f"{held} must {must}work, and would{would}: {wrong.why}"))
        elif unknown is not None or not answers:
            why = unknown.why if unknown else "there is no machine at one end"
            untold.append(f"{path}: whether {held} works cannot be told beforehand: {why}")
    if problems:
        raise DeclarationError(problems)
    return tuple(untold)


class Reach:
    """Answers for one compiled site."""

    def __init__(self, site: Site, by_host: Mapping[str, Iterable[Machine]], slices: Mapping[str, Slice]) -> None:
        self._site, self._slices = site, slices
        self._cards: defaultdict[str, list[Card]] = defaultdict(list)
        for host, held in by_host.items():
            domains = {domain.name: domain for domain in slices[host].domains} if host in slices else {}
            for machine in held:
                self._add(host, machine, domains[machine.name].interfaces if machine.name in domains else ())

    def _add(self, host: str, machine: Machine, plugs: tuple[Interface, ...]) -> None:
        for place, card in enumerate(machine.instance.interfaces):
            network = self._site.networks[card.network]
            held = [subnet.address.network for subnet in self._site.subnets_of(network)]
            found = Card(
                machine=machine.name,
                host=host,
                network_name=card.network,
                network=network,
                ips={address.version: address for address in machine.ips(place)},
                subnets={subnet.version: subnet for subnet in held},
                plug=plugs[place] if plugs else None,
            )
            # By every word that an assertion may use for it: a name may stand for an instance and a machine at once.
            words = {str(machine.instance_name), str(machine.name), f"group:{card.security_group}"}
            for word in words:
                self._cards[word].append(found)

    @cached_property
    def _filters(self) -> dict[str, Nwfilter]:
        ours = (held for slice_ in self._slices.values() for held in slice_.nwfilters)
        return {**FILTERS, **{str(held.name): unfolded(held) for held in ours}}

    @cached_property
    def _given(self) -> frozenset[IpAddress]:
        """The addresses that are somebody's: who has none of his own gets none of these."""
        return frozenset(own.ip for cards in self._cards.values() for card in cards for own in card.ips.values())

    def answers(self, held: Assertion) -> Iterator[Answer]:
        """The answers for every two that an assertion is about."""
        for left, right in self.pairs(held):
            yield from self._by_family(held, left, right)

    def pairs(self, held: Assertion) -> Iterator[tuple[End, End]]:
        """Every two machines, or machine and network, that an assertion is about."""
        for left in self._ends(held.from_):
            for right in self._ends(held.to):
                if isinstance(left, list) and isinstance(right, list) and left[0].machine == right[0].machine:
                    continue
                yield left, right

    def _ends(self, end: Endpoint) -> list[End]:
        if end.network is not None:
            return [end.network.network]
        by_machine: defaultdict[Name, list[Card]] = defaultdict(list)
        for card in self._cards.get(str(end), ()):
            by_machine[card.machine].append(card)
        return list(by_machine.values())

    def _by_family(self, held: Assertion, left: End, right: End) -> list[Answer]:
        """An answer for each family that leads there (LIMIT-18): a program may take either, so it must hold of both."""
        families = spoken(left, right)
        if not families:
            return [Answer(False, "one of them has addresses of IPv4 only, and the other of IPv6", way=False)]
        found = [self._answer(held, left, right, family) for family in families]
        if len(families) > 1:
            found = [
                replace(answer, why=f"over IPv{family}, {answer.why}")
                for family, answer in zip(families, found, strict=True)
            ]
        return [answer for answer in found if answer.way] or found[:1]

    def _answer(self, held: Assertion, left: End, right: End, family: Family) -> Answer:
        """The best of the ways there are: a machine with two cards is reached if one of them is."""
        ways = [
            self._way(held, source, target, family)
            for source in speaking(left, family)
            for target in speaking(right, family)
        ]
        for wanted in (True, None):
            for way in ways:
                if way.yes is wanted:
                    return way
        return next((way for way in ways if way.way), ways[0]) if ways else Answer(False, "there is no card at one end")

    def _way(self, held: Assertion, source: Card | Addresses, target: Card | Addresses, family: Family) -> Answer:
        path = _path(source, target, family)
        if path.yes is False and isinstance(target, Card) and forwarded(held, target, family):
            out = _leaves(source) if isinstance(source, Card) else Answer(True, "")
            path = (
                replace(out, why=f"a service of network {target.network_name} is {target.machine}") if out.yes else out
            )
        if path.yes is False:
            return replace(path, way=False)
        asked = [_asked(end, family) for end in (source, target)]
        guessed = any(isinstance(end, Card) and family not in end.ips for end in (source, target))
        others = self._given if guessed else frozenset()
        for end, direction in ((source, "out"), (target, "in")):
            if not isinstance(end, Card):
                continue
            if end.plug is None:
                return Answer(None, f"{end.machine} has no host yet")
            if end.plug.filter is None:
                continue
            packet = Packet(
                direction=direction,  # type: ignore[arg-type]  # the pairs above are of these two words
                protocol=held.how,
                port=held.port,
                source=asked[0],
                target=asked[1],
                family=family,
                mac=end.plug.mac,
            )
            try:
                found = verdicts(end.plug.filter, self._filters, end.plug.filter_parameters or {}, packet, others)
            except UndecidableError as cause:
                return Answer(None, f"filter {end.plug.filter} of {end.machine} cannot be told: {cause}")
            if len(found) > 1 and guessed:
                return Answer(
                    None, f"it depends on the address DHCP gives, see filter {end.plug.filter} of {end.machine}"
                )
            if found != {True}:
                part = "a part of it" if True in found else "it"
                # Of a network that only partly passes, neither a yes nor a no is true.
                yes = held.expect is False if True in found else False
                return Answer(yes, f"filter {end.plug.filter} of {end.machine} drops {part} ({direction})")
        return path


def spoken(left: End, right: End) -> list[Family]:
    """The families that lead from one end to the other."""
    return sorted(_common(_families(left), _families(right)))


def _families(end: End) -> frozenset[Family]:
    return frozenset().union(*(card.families for card in end)) if isinstance(end, list) else frozenset([end.version])


def _common(left: frozenset[Family], right: frozenset[Family]) -> frozenset[Family]:
    """The families both speak; who is known to speak none speaks what the other does."""
    return left & right if left and right else left or right or frozenset([4])


def speaking(end: End, family: Family) -> list[Card] | list[Addresses]:
    """The cards of an end that have a family, or its network."""
    if not isinstance(end, list):
        return [end]
    return [card for card in end if family in card.families or not card.families]


def _asked(end: Card | Addresses, family: Family) -> Addresses | None:
    return end.addresses(family) if isinstance(end, Card) else end


def _path(source: Card | Addresses, target: Card | Addresses, family: Family) -> Answer:
    """Whether there is a way at all, whatever the filters say."""
    if isinstance(source, Card) and isinstance(target, Card):
        if source.network_name == target.network_name:
            return _same(source, target)
        out = _leaves(source)
        return out if out.yes is False else _enters(target, source.host, family)
    if isinstance(source, Card):
        assert not isinstance(target, Card)  # that is the pair above
        return Answer(True, "both are on one subnet") if _is_near(source, target) else _leaves(source)
    assert isinstance(target, Card)  # an assertion with two networks is refused when it is read
    return Answer(True, "both are on one subnet") if _is_near(target, source) else _enters(target, None, family)


def _same(source: Card, target: Card) -> Answer:
    if source.network.type in WITHIN_A_HOST and source.host != target.host:
        if not source.host or not target.host:
            return Answer(None, "one of them has no host yet")
        where = f"{source.machine} on {source.host} and {target.machine} on {target.host}"
        text = f"network {source.network_name} is of type {source.network.type}, so each host has its own: {where}"
        return Answer(False, text)
    return Answer(True, f"both are on network {source.network_name}, and no filter is in the way")


def forwarded(held: Assertion, target: Card, family: Family) -> bool:
    """Whether what is asked for comes to the machine by way of an address or port of its host (DEP-16)."""
    own = target.ips.get(family)
    return any(
        one.to == own and one.protocol in (None, held.how) and (one.to_port or one.port) in (None, held.port)
        for one in target.network.forwards
    )


def _is_near(card: Card, other: Addresses) -> bool:
    subnet = card.subnets.get(other.version)
    return subnet is not None and other.subnet_of(subnet)  # type: ignore[arg-type]  # of one version


def _leaves(card: Card) -> Answer:
    if card.network.type == "isolated":
        return Answer(False, f"network {card.network_name} of {card.machine} is isolated")
    return Answer(True, f"network {card.network_name} of {card.machine} leads out, and no filter is in the way")


def _enters(card: Card, host: str | None, family: Family) -> Answer:
    """Into a network from outside it; `host` is where a machine of the site that asks is."""
    name, type_ = card.network_name, card.network.type
    if type_ == "nat" and family == 6 and not (card.network.nat and card.network.nat.ipv6):
        type_ = "route"  # NET-15
    if type_ in ("isolated", "nat"):
        why = "is isolated" if type_ == "isolated" else "is behind NAT, and nothing forwards to it"
        return Answer(False, f"network {name} of {card.machine} {why}")
    if type_ == "route" and host is not None and host != card.host:
        return Answer(None, f"whether {name} is known as a route on {host} is outside the site")
    return Answer(True, f"network {name} of {card.machine} is reached from outside, and no filter is in the way")
