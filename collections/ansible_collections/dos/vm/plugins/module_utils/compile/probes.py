# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site asserts of its networks, as packets to send, and what the answers come to.

`reach.py` works the same assertions out of the compiled filters; here they become questions to the hosts where machines run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..model.probe import Probe
from ..model.types import Address
from ..site.assertion import Assertion
from ..site.site import Site
from .packet import Network
from .reach import Card, End, Reach, forwarded, speaking, spoken
from .site import Compiled
from .states import HostState


@dataclass(frozen=True, slots=True)
class Way:
    """A probe: the host that sends it, and its place among the probes of that host."""

    host: str
    place: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ends of an assertion: reached if one of the ways leads there. `why` says why there is none to ask about."""

    what: str
    ways: tuple[Way, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """An assertion with all that it is about."""

    name: str
    text: str
    expect: bool
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was seen of an assertion: `seen` is None where it cannot be told. `of` pairs, `as_expected` were so."""

    name: str
    text: str
    expect: bool
    seen: bool | None
    why: str
    as_expected: int
    of: int

    @property
    def broken(self) -> bool:
        return self.seen is (not self.expect)


@dataclass(slots=True)
class Questions:
    """The probes by host, and the assertions that they answer."""

    probes: defaultdict[str, dict[Probe, int]] = field(default_factory=lambda: defaultdict(dict))
    asked: list[Question] = field(default_factory=list)

    def ask(self, host: str, probe: Probe) -> Way:
        """Each question once, whoever wants to know."""
        held = self.probes[host]
        return Way(host, held.setdefault(probe, len(held)))


class _CannotAskError(Exception):
    """A packet that cannot be sent; the text is the end of a sentence."""


def questions(site: Site, compiled: Compiled, states: Mapping[str, HostState]) -> Questions:
    """What to ask on each host, so that every assertion is answered as far as anybody can."""
    reach, found = Reach(site, compiled.machines, compiled.slices), Questions()
    for name, held in site.assertions.items():
        pairs = (pair for left, right in reach.pairs(held) for pair in _pairs(site, held, left, right, states, found))
        found.asked.append(Question(name, str(held), held.expect, tuple(pairs)))
    return found


def _pairs(
    site: Site, held: Assertion, left: End, right: End, states: Mapping[str, HostState], found: Questions
) -> Iterator[Pair]:
    ends = f"{_called(left)} → {_called(right)}"
    families = spoken(left, right)
    if not isinstance(left, list):
        yield Pair(ends, why="begins outside the site: ask from there")
        return
    if not families:
        yield Pair(ends, why="has addresses of one family only, and the other end of the other")
    for family in families:
        what = f"{ends} over IPv{family}" if len(families) > 1 else ends
        ways, refusals = [], []
        for source in speaking(left, family):
            for target in speaking(right, family):
                try:
                    assert isinstance(source, Card)  # `left` is a list of them
                    ways.append(found.ask(source.host, _probe(site, held, source, target, family, states)))
                except _CannotAskError as refused:
                    refusals.append(str(refused))
        yield Pair(what, tuple(ways), "" if ways else next(iter(refusals), "has no card at one end"))


def _called(end: End) -> str:
    return str(end[0].machine) if isinstance(end, list) else str(end)


def _probe(
    site: Site, held: Assertion, source: Card, target: Card | Network, family: int, states: Mapping[str, HostState]
) -> Probe:
    for card in (source, target):
        if isinstance(card, Card):
            _refuse_absent(card, states)
    own, wanted = source.ips.get(family), _wanted(target, family)
    if own is None:
        raise _CannotAskError(f"{source.machine} has no address that is known here")
    if isinstance(target, Card) and target.network_name != source.network_name and forwarded(held, target, family):
        raise _CannotAskError(
            f"{target.machine} is reached as a service of network {target.network_name}: ask for its address"
        )
    assert source.plug is not None
    assert source.plug.mac is not None  # what is compiled has one
    return Probe(
        vm=source.machine,
        mac=source.plug.mac,
        source=own,
        target=wanted,
        via=_router(site, source, wanted),
        protocol=held.how,
        port=held.port,
    )


def _refuse_absent(card: Card, states: Mapping[str, HostState]) -> None:
    if card.plug is None:
        raise _CannotAskError(f"{card.machine} has no host yet")
    if card.host not in states:
        raise _CannotAskError(f"{card.host}, where {card.machine} is, did not answer")
    if not states[card.host].runs(card.machine):
        raise _CannotAskError(f"{card.machine} does not run")


def _wanted(target: Card | Network, family: int) -> Address:
    if isinstance(target, Card):
        own = target.ips.get(family)
        if own is None:
            raise _CannotAskError(f"{target.machine} has no address that is known here")
        return own
    if target.num_addresses > 1:
        raise _CannotAskError(f"{target} is many: assert it of one address")
    return Address(str(target.network_address))


def _router(site: Site, source: Card, wanted: Address) -> Address | None:
    """The next hop to what is not on the card's own network."""
    subnet = source.subnets.get(wanted.version)
    if subnet is None or wanted.ip in subnet:
        return None
    held = (one for one in site.subnets_of(source.network) if one.address.version == wanted.version)
    router = next((one.gateway for one in held if one.gateway), None)
    if router is None:
        raise _CannotAskError(f"network {source.network_name} of {source.machine} has no router")
    return Address(str(router))


# What came back


def verdict(held: Question, seen: Mapping[str, Sequence[tuple[bool | None, str]]]) -> Verdict:
    """What an assertion came to. `seen` has the answers of each host to its probes, in their order."""
    answers = [(pair, *_of_pair(pair, seen)) for pair in held.pairs]
    wrong = [one for one in answers if one[1] is (not held.expect)]
    untold = [one for one in answers if one[1] is None]
    shown = next(iter(wrong or untold or answers), None)
    good = len(answers) - len(wrong) - len(untold)
    if shown is None:
        return Verdict(held.name, held.text, held.expect, None, "there is no machine at one end", 0, 0)
    pair, yes, why = shown
    return Verdict(held.name, held.text, held.expect, yes, f"{pair.what}: {why}", good, len(answers))


def _of_pair(pair: Pair, seen: Mapping[str, Sequence[tuple[bool | None, str]]]) -> tuple[bool | None, str]:
    """The best of its ways."""
    found: Iterable[tuple[bool | None, str]] = [
        seen[way.host][way.place] if way.host in seen else (None, f"{way.host} did not answer") for way in pair.ways
    ]
    for wanted in (True, None):
        for yes, why in found:
            if yes is wanted:
                return yes, why
    return next(iter(found), (None, pair.why))
