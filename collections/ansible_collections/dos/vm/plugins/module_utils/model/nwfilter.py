# SPDX-License-Identifier: GPL-3.0-or-later
"""A libvirt network filter; see https://libvirt.org/formatnwfilter.html."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .fragment_rules import check_whole
from .types import Name

# In the words of libvirt. The first line is looked at frame by frame (ebtables), the others packet by packet (iptables).
Protocol = Literal[
    "mac", "vlan", "stp", "arp", "rarp", "ip", "ipv6",
    "all", "tcp", "udp", "udplite", "sctp", "esp", "ah", "icmp", "igmp",
    "all-ipv6", "tcp-ipv6", "udp-ipv6", "udplite-ipv6", "sctp-ipv6", "esp-ipv6", "ah-ipv6", "icmpv6",
]  # fmt: skip


# libvirt brings these along: they are never declared and never listed (NWF-06).
PREDEFINED = frozenset(
    {
        "allow-arp", "allow-dhcp", "allow-dhcp-server", "allow-dhcpv6", "allow-dhcpv6-server", "allow-incoming-ipv4",
        "allow-incoming-ipv6", "allow-ipv4", "allow-ipv6", "clean-traffic", "clean-traffic-gateway", "no-arp-ip-spoofing",
        "no-arp-mac-spoofing", "no-arp-spoofing", "no-ip-multicast", "no-ip-spoofing", "no-ipv6-multicast",
        "no-ipv6-spoofing", "no-mac-broadcast", "no-mac-spoofing", "no-other-l2-traffic", "no-other-rarp-traffic",
        "qemu-announce-self", "qemu-announce-self-rarp",
    }
)  # fmt: skip


@declaration
class FilterRule:
    """One rule: what of a packet is looked at, and what becomes of it."""

    action: Literal["accept", "drop", "reject", "return", "continue"] = option(
        "What becomes of a match.", spec="NWF-T1.4"
    )
    direction: Literal["in", "out", "inout"] = option("Seen from the guest.", spec="NWF-T1.4")
    protocol: Protocol | None = option(
        "Protocol, in libvirt's words. Every frame when not given; V(all) is every IPv4 packet.",
        spec="NWF-T1.4",
        default=None,
    )
    priority: int = option("Lower goes first.", spec="NWF-T1.4", default=500, low=-1000, high=1000)
    statematch: bool = option("Whether connection tracking applies.", spec="NWF-T1.4", default=True)
    match: dict[str, str] | None = option(
        "Attributes of the protocol element, in libvirt's names.",
        spec="NWF-T1.4",
        default=None,
        example={"srcipaddr": "10.0.0.0", "srcipmask": "24", "dstportstart": "80"},
    )


@declaration
class FilterReference:
    """Another filter that this one calls, with the values of its variables."""

    filter: Name = option("Name of the other filter.", spec="NWF-01")
    parameters: dict[str, str] | None = option("Variables for the other filter.", spec="NWF-01", default=None)


@declaration
class Nwfilter:
    """Packet rules that a host lays on every interface which names them."""

    name: Name = option("Name, unique in the whole system.", spec="NWF-T1.2")
    chain: str = option("Chain of ebtables the rules go to.", spec="NWF-T1.4", default="root", low=1, high=28)
    priority: int | None = option("Priority of the chain.", spec="NWF-T1.4", default=None, low=-1000, high=1000)
    references: tuple[FilterReference, ...] = option("Filters called before the rules.", spec="NWF-04", default=())
    rules: tuple[FilterRule, ...] = option("Rules in order of priority.", spec="NWF-T1.4", default=())
    xml: str | None = option("Elements of `<filter>` that have no field here.", spec="NWF-02", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_whole("filter", self.xml)
        for index, rule in enumerate(self.rules):
            if rule.match and rule.protocol is None:
                yield f"rules[{index}].match", "needs the protocol whose attributes these are, write protocol: tcp"
            for name in rule.match or {}:
                if not name.replace("_", "").replace("-", "").isalnum():
                    yield f"rules[{index}].match.{name}", "is not an attribute of a protocol element"
