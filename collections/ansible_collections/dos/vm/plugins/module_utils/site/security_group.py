# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups: what may reach the machines that are in one, and what they may reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.types import Name, Ports, Prefix

# What is made of the rules of group `web` is filter `sg.web` on a host; the prefix is kept for these.
PREFIX = "sg."
LONGEST = 64 - len(PREFIX) - len(".46")


@declaration
class GroupRule:
    """Traffic that is let through. Answers to it pass by themselves; what no rule lets through is dropped."""

    direction: Literal["in", "out"] = option(
        "To the machines of the group, or from them.", spec="NWF-T1.4", default="in"
    )
    protocol: Literal["any", "tcp", "udp", "sctp", "icmp"] = option(
        "Protocol; V(icmp) is ICMPv6 where the machine speaks IPv6.", spec="NWF-T1.4", default="any"
    )
    ports: tuple[Ports, ...] = option(
        "Ports at the receiver: numbers and ranges; any when not given.",
        spec="NWF-T1.4",
        default=(),
        example=[80, "8000-8080"],
    )
    icmp_type: int | None = option("Type of ICMP message; any when not given.", default=None, low=0, high=255)
    cidrs: tuple[Prefix, ...] = option(
        "Who is at the other end: networks. Anybody when neither networks nor groups are given.",
        spec="NWF-T1.4",
        default=(),
        example=["10.0.0.0/8"],
    )
    groups: tuple[Name, ...] = option(
        "Who is at the other end: the machines of these groups, wherever they run.", spec="NWF-T1.4", default=()
    )
    description: str | None = option("Free text.", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.ports and self.protocol not in ("tcp", "udp", "sctp"):
            yield (
                "ports",
                f"are of tcp, udp and sctp, and this is {self.protocol}: write the protocol, or leave them out",
            )
        if self.icmp_type is not None and self.protocol != "icmp":
            yield "icmp_type", "is of protocol icmp, write protocol: icmp"


@declaration
class SecurityGroup:
    """What an interface names to be filtered: rules, or one filter."""

    rules: tuple[GroupRule, ...] | None = option(
        "What is let through. With an empty list nothing gets in. Everything gets out unless a rule of direction out is there.",
        spec="NWF-01",
        default=None,
    )
    anti_spoofing: bool = option(
        "Whether machines may only send from their own MAC and IP addresses, when there are rules.",
        spec="NWF-11",
        default=True,
    )
    filter: Name | None = option(
        "A filter that is laid on the interface, instead of rules.", spec="NWF-T2.3", default=None
    )
    filters: tuple[Name, ...] | None = option(
        "Every declared filter that is reached from the first; worked out when not given.",
        spec="NWF-T2.4",
        default=None,
    )
    label: str | None = option("Label in any script.", spec="NWF-T2.1", default=None)
    description: str | None = option("Free text.", spec="NWF-T2.2", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.rules is None and self.filter is None:
            yield "rules", "are required, or the name of a filter: rules: [] lets nothing in"
        if self.rules is not None and self.filter is not None:
            yield "filter", "takes the place of rules, write one of the two"
        if self.filters is not None and self.filter is None:
            yield "filters", "are those that filter calls, and there is none"
        if not self.anti_spoofing and self.rules is None:
            yield "anti_spoofing", "goes with rules, a filter says itself what it refuses"

    def limits_out(self) -> bool:
        """Whether there is something the machines may not reach."""
        return any(rule.direction == "out" for rule in self.rules or ())
