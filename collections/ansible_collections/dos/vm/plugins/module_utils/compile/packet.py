# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters of a card do with a packet: libvirt's rules, followed as the host's kernel would.

A packet passes twice: frame by frame through the chains of ebtables, then by its addresses and ports through iptables. Each
rule looks at whole networks at once; where one is only partly meant, the question is asked again for each part.
See https://libvirt.org/formatnwfilter.html.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..model.decode import decode
from ..model.nwfilter import FilterRule, Nwfilter
from ..model.types import Mac
from ..xml import nwfilter as nwfilter_xml

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Parameters = Mapping[str, str]
MOST_LOOKED_AT = 256  # addresses of a network, to see whether all of them are somebody else's
End = Literal["source", "target"]

# The chains that are entered from the first one, by how their names begin, and when (libvirt's defaults).
CHAINS: Mapping[str, tuple[int, frozenset[int]]] = {
    "mac": (-800, frozenset({4, 6})),
    "vlan": (-750, frozenset()),
    "stp": (-710, frozenset()),
    "ipv4": (-700, frozenset({4})),
    "ipv6": (-600, frozenset({6})),
    "arp": (-500, frozenset()),
    "rarp": (-400, frozenset()),
}
FRAMES = frozenset([None, "mac", "vlan", "stp", "arp", "rarp", "ip", "ipv6"])
NUMBERS = {"icmp": ("icmp", "1", "0x1"), "tcp": ("tcp", "6", "0x6"), "udp": ("udp", "17", "0x11")}
IDS = {4: ("ipv4", "0x800", "2048"), 6: ("ipv6", "0x86dd", "34525")}
PING = {4: "8", 6: "128"}
# Which kinds of packet a protocol of iptables stands for: a family, and a protocol or any.
PACKETS: Mapping[str, tuple[int, str | None]] = {
    "all": (4, None), "tcp": (4, "tcp"), "udp": (4, "udp"), "icmp": (4, "icmp"),
    "all-ipv6": (6, None), "tcp-ipv6": (6, "tcp"), "udp-ipv6": (6, "udp"), "icmpv6": (6, "icmp"),
}  # fmt: skip


class UndecidableError(Exception):
    """A rule looks at something that is known only when a packet comes."""


class _PartlyError(Exception):
    """A rule is about a part of the addresses that were asked for."""

    def __init__(self, end: End, part: Network) -> None:
        super().__init__(end, part)
        self.end, self.part = end, part


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a connection, or of a ping. `source` and `target` are networks; `None` is an unknown address."""

    direction: Literal["in", "out"]  # seen from the guest
    protocol: str
    port: int | None
    source: Network | None
    target: Network | None
    family: int
    mac: Mac | None = None


def verdicts(
    top: str,
    filters: Mapping[str, Nwfilter],
    parameters: Parameters,
    packet: Packet,
    others: frozenset[IpAddress] = frozenset(),
) -> frozenset[bool]:
    """Whether the packets pass: `{True}`, `{False}`, or both where it depends on the address. Those of `others` do not count.

    Raises `UndecidableError`, whose text says which rule cannot be told.
    """
    try:
        return frozenset([_passes(top, filters, parameters, packet)])
    except _PartlyError as partly:
        whole: Network = getattr(packet, partly.end)
        rest = whole.address_exclude(partly.part)  # type: ignore[arg-type]  # both are of the packet's family
        parts: list[Network] = [partly.part, *rest]
        found = (
            verdicts(top, filters, parameters, _narrowed(packet, partly.end, part), others)
            for part in parts
            if part.num_addresses > MOST_LOOKED_AT or not others.issuperset(part)
        )
        return frozenset().union(*found)


def _narrowed(packet: Packet, end: End, part: Network) -> Packet:
    return replace(packet, source=part) if end == "source" else replace(packet, target=part)


def unfolded(held: Nwfilter) -> Nwfilter:
    """The filter with the rules of its `xml` among the others."""
    return decode(Nwfilter, nwfilter_xml.parse(nwfilter_xml.render(held))) if held.xml else held


def _passes(top: str, filters: Mapping[str, Nwfilter], parameters: Parameters, packet: Packet) -> bool:
    reached = list(_reached(top, filters, parameters))
    rules = [(rule, held) for filter_, held in reached for rule in filter_.rules if rule.protocol not in FRAMES]
    if not _frame_passes(reached, packet):
        return False
    for rule, held in sorted(rules, key=lambda entry: entry[0].priority):
        if _concerns(rule, packet) and _matches(rule, held, packet):
            return rule.action not in ("drop", "reject")
    return True


def _reached(
    top: str, filters: Mapping[str, Nwfilter], parameters: Parameters, above: tuple[str, ...] = ()
) -> Iterator[tuple[Nwfilter, Parameters]]:
    """A filter and those it calls, each with its variables."""
    held = filters.get(top)
    if held is None:
        raise UndecidableError(f"filter {top} is not known here")
    yield held, parameters
    for call in held.references if top not in above else ():
        yield from _reached(call.filter, filters, {**parameters, **(call.parameters or {})}, (*above, top))


def _frame_passes(reached: Iterable[tuple[Nwfilter, Parameters]], packet: Packet) -> bool:
    """Through ebtables: the first chain in order of priority, and from it into the chains of the packet's family."""
    first: list[tuple[int, list[tuple[FilterRule, Parameters]]]] = []
    chains: dict[str, tuple[int, list[tuple[FilterRule, Parameters]]]] = {}
    for held, parameters in reached:
        rules = [(rule, parameters) for rule in held.rules if rule.protocol in FRAMES]
        if held.chain == "root":
            first += [(rule.priority, [(rule, parameters)]) for rule, parameters in rules]
            continue
        begins = next((name for name in CHAINS if held.chain == name or held.chain.startswith(f"{name}-")), None)
        if begins is None:
            raise UndecidableError(f"chain {held.chain} of filter {held.name}")
        priority, of_families = CHAINS[begins]
        if packet.family in of_families:
            kept = chains.setdefault(held.chain, (priority if held.priority is None else held.priority, []))
            kept[1].extend(rules)
    steps = [*((*step, False) for step in first), *((*step, True) for step in chains.values())]
    for _, rules, is_chain in sorted(steps, key=lambda step: step[0]):
        made = _chain(rules, packet)
        if made in ("drop", "reject"):
            return False
        if made == "accept" or (made == "return" and not is_chain):
            return True
    return True


def _chain(rules: Iterable[tuple[FilterRule, Parameters]], packet: Packet) -> str | None:
    for rule, parameters in sorted(rules, key=lambda entry: entry[0].priority):
        if rule.action != "continue" and _sees(rule, packet) and _matches(rule, parameters, packet):
            return rule.action
    return None


def _sees(rule: FilterRule, packet: Packet) -> bool:
    """Whether a rule of ebtables is about frames of this direction and family at all."""
    spoken = {"ip": (4,), "ipv6": (6,), "mac": (4, 6), None: (4, 6)}.get(rule.protocol, ())
    return rule.direction in ("inout", packet.direction) and packet.family in spoken


def _concerns(rule: FilterRule, packet: Packet) -> bool:
    """Whether a rule of iptables is about packets of this direction, family and protocol, and about first ones."""
    family, protocol = PACKETS.get(str(rule.protocol), (0, None))
    states = (rule.match or {}).get("state")
    if rule.direction == "inout" and protocol == "icmp" and "type" in (rule.match or {}):
        return False  # libvirt makes no rule of it at all
    return (
        rule.direction in ("inout", packet.direction)
        and family == packet.family
        and protocol in (None, packet.protocol)
        and (states is None or "NEW" in states)
    )


def _matches(rule: FilterRule, parameters: Parameters, packet: Packet) -> bool:
    """Whether all attributes of a rule fit. Addresses come last: by then it is known that they decide."""
    match = dict(rule.match or {})
    for ignored in ("comment", "state"):
        match.pop(ignored, None)
    ends: list[tuple[End, Network]] = []
    for end, prefix in (("source", "src"), ("target", "dst")):
        value, mask = match.pop(f"{prefix}ipaddr", None), match.pop(f"{prefix}ipmask", None)
        if value is None:
            continue
        meant = list(_networks(value, mask, parameters, packet))
        if len(meant) > 1:
            raise UndecidableError(f"{prefix}ipaddr {value} with several values")
        ends += [(end, network) for network in meant]  # type: ignore[misc]  # the pairs above are of these two words
    if not all(_attribute(name, value, parameters, packet) for name, value in match.items() if not _is_end(name)):
        return False
    if not _port_fits(match, packet):
        return False
    return all(_address_fits(end, network, packet) for end, network in ends)


def _is_end(name: str) -> bool:
    return name in ("dstportstart", "dstportend", "srcportstart", "srcportend")


def _attribute(name: str, value: str, parameters: Parameters, packet: Packet) -> bool:
    known = {
        "protocol": NUMBERS.get(packet.protocol, ()),
        "protocolid": IDS[packet.family],
        "type": (PING[packet.family],) if packet.protocol == "icmp" else (),
        "code": ("0",) if packet.protocol == "icmp" else (),
    }
    if name in known:
        return value.lower() in known[name]
    if name == "srcmacaddr" and packet.direction == "out":
        return value in ("$MAC", packet.mac)
    raise UndecidableError(f"a rule looks at {name}")


def _port_fits(match: Mapping[str, str], packet: Packet) -> bool:
    # A connection begins at a port nobody knows: what asks for one is about a service that calls by itself, like DHCP.
    if "srcportstart" in match:
        return False
    if "dstportstart" not in match:
        return True
    first = int(match["dstportstart"], 0)
    return packet.port is not None and first <= packet.port <= int(match.get("dstportend", match["dstportstart"]), 0)


def _networks(value: str, mask: str | None, parameters: Parameters, packet: Packet) -> Iterator[Network]:
    """The networks that an attribute means; nothing for the machine's own address where that is learned."""
    if value.startswith("$"):
        values = parameters.get(value[1:], "")
        if not values and value not in ("$IP", "$IPV6"):
            raise UndecidableError(f"variable {value} has no value")
        for one in values.split(",") if values else ():
            yield from _networks(one, mask, parameters, packet)
        return
    if mask is not None and mask.startswith("$"):
        mask = parameters.get(mask[1:])
    yield ipaddress.ip_network(f"{value}/{mask}" if mask else value, strict=False)


def _address_fits(end: End, meant: Network, packet: Packet) -> bool:
    asked: Network | None = getattr(packet, end)
    if asked is None:
        raise UndecidableError("a rule looks at an address that is not known before the machine runs")
    if asked.version != meant.version or not asked.overlaps(meant):
        return False
    if asked.subnet_of(meant):  # type: ignore[arg-type]  # of one version, seen above
        return True
    raise _PartlyError(end, meant)
