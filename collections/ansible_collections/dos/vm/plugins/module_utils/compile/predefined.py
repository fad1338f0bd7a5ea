# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt's own filters say, so that it can be told what they do. `tests/real/test_filters.py` compares it with libvirt.

See https://libvirt.org/formatnwfilter.html; libvirt 9.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.nwfilter import FilterReference, FilterRule, Nwfilter
from ..model.types import Name


def _rule(action: Any, direction: Any, priority: int, on: Any = None, /, **match: str) -> FilterRule:
    return FilterRule(action=action, direction=direction, priority=priority, protocol=on, match=match or None)


def _filter(
    name: str, *rules: FilterRule, chain: str = "root", priority: int | None = None, calls: tuple[str, ...] = ()
) -> Nwfilter:
    references = tuple(FilterReference(filter=Name(called)) for called in calls)
    return Nwfilter(name=Name(name), chain=chain, priority=priority, references=references, rules=rules)


FILTERS: Mapping[str, Nwfilter] = {
    str(held.name): held
    for held in (
        _filter("allow-arp", _rule("accept", "inout", 500), chain="arp", priority=-500),
        _filter(
            "allow-dhcp",
            _rule(
                "accept",
                "out",
                100,
                "ip",
                srcipaddr="0.0.0.0",
                dstipaddr="255.255.255.255",
                protocol="udp",
                srcportstart="68",
                dstportstart="67",
            ),
            _rule("accept", "in", 100, "ip", protocol="udp", srcportstart="67", dstportstart="68"),
            chain="ipv4",
            priority=-700,
        ),
        _filter(
            "allow-dhcp-server",
            _rule(
                "accept",
                "out",
                100,
                "ip",
                srcipaddr="0.0.0.0",
                dstipaddr="255.255.255.255",
                protocol="udp",
                srcportstart="68",
                dstportstart="67",
            ),
            _rule(
                "accept", "in", 100, "ip", srcipaddr="$DHCPSERVER", protocol="udp", srcportstart="67", dstportstart="68"
            ),
            chain="ipv4",
            priority=-700,
        ),
        _filter(
            "allow-dhcpv6",
            _rule(
                "accept",
                "out",
                100,
                "ipv6",
                srcipaddr="fe80::",
                srcipmask="10",
                dstipaddr="ff02::1:2",
                protocol="udp",
                srcportstart="546",
                dstportstart="547",
            ),
            _rule("accept", "in", 100, "ipv6", protocol="udp", srcportstart="547", dstportstart="546"),
            chain="ipv6",
            priority=-600,
        ),
        _filter(
            "allow-dhcpv6-server",
            _rule(
                "accept",
                "out",
                100,
                "ipv6",
                srcipaddr="fe80::",
                srcipmask="10",
                dstipaddr="ff02::1:2",
                protocol="udp",
                srcportstart="546",
                dstportstart="547",
            ),
            _rule(
                "accept",
                "in",
                100,
                "ipv6",
                srcipaddr="$DHCPSERVER",
                protocol="udp",
                srcportstart="547",
                dstportstart="546",
            ),
            chain="ipv6",
            priority=-600,
        ),
        _filter("allow-incoming-ipv4", _rule("accept", "in", 500), chain="ipv4", priority=-700),
        _filter("allow-incoming-ipv6", _rule("accept", "in", 500), chain="ipv6", priority=-600),
        _filter("allow-ipv4", _rule("accept", "inout", 500), chain="ipv4", priority=-700),
        _filter("allow-ipv6", _rule("accept", "inout", 500), chain="ipv6", priority=-600),
        _filter(
            "clean-traffic",
            _rule("accept", "out", -650, "mac", protocolid="ipv4"),
            _rule("accept", "inout", -500, "mac", protocolid="arp"),
            calls=(
                "no-mac-spoofing",
                "no-ip-spoofing",
                "allow-incoming-ipv4",
                "no-arp-spoofing",
                "no-other-l2-traffic",
                "qemu-announce-self",
            ),
        ),
        _filter(
            "clean-traffic-gateway",
            _rule("accept", "inout", -500, "mac", protocolid="arp"),
            _rule("accept", "in", 500, "mac", srcmacaddr="$GATEWAY_MAC"),
            _rule("accept", "out", 500, "mac", dstmacaddr="$GATEWAY_MAC"),
            calls=(
                "no-mac-spoofing",
                "no-ip-spoofing",
                "no-arp-spoofing",
                "no-other-l2-traffic",
                "qemu-announce-self",
            ),
        ),
        _filter(
            "no-arp-ip-spoofing",
            _rule("return", "out", 400, "arp", arpsrcipaddr="$IP"),
            _rule("drop", "out", 1000),
            chain="arp-ip",
            priority=-510,
        ),
        _filter(
            "no-arp-mac-spoofing",
            _rule("return", "out", 350, "arp", arpsrcmacaddr="$MAC"),
            _rule("drop", "out", 1000),
            chain="arp-mac",
            priority=-520,
        ),
        _filter(
            "no-arp-spoofing",
            calls=(
                "no-arp-mac-spoofing",
                "no-arp-ip-spoofing",
            ),
        ),
        _filter(
            "no-ip-multicast",
            _rule("drop", "out", 500, "ip", dstipaddr="224.0.0.0", dstipmask="4"),
            chain="ipv4",
            priority=-700,
        ),
        _filter(
            "no-ip-spoofing",
            _rule("return", "out", 100, "ip", srcipaddr="0.0.0.0", protocol="udp"),
            _rule("return", "out", 500, "ip", srcipaddr="$IP"),
            _rule("drop", "out", 1000),
            chain="ipv4-ip",
            priority=-710,
        ),
        _filter(
            "no-ipv6-multicast",
            _rule("drop", "out", 500, "ipv6", dstipaddr="ff00::", dstipmask="8"),
            chain="ipv6",
            priority=-600,
        ),
        _filter(
            "no-ipv6-spoofing",
            _rule("return", "out", 100, "ipv6", srcipaddr="fe80::", srcipmask="10", protocol="udp"),
            _rule("return", "out", 500, "ipv6", srcipaddr="$IPV6"),
            _rule("drop", "out", 1000),
            chain="ipv6-ip",
            priority=-610,
        ),
        _filter(
            "no-mac-broadcast",
            _rule("drop", "out", 500, "mac", dstmacaddr="ff:ff:ff:ff:ff:ff"),
            chain="ipv4",
            priority=-700,
        ),
        _filter(
            "no-mac-spoofing",
            _rule("return", "out", 500, "mac", srcmacaddr="$MAC"),
            _rule("drop", "out", 500, "mac"),
            chain="mac",
            priority=-800,
        ),
        _filter("no-other-l2-traffic", _rule("drop", "inout", 1000)),
        _filter("no-other-rarp-traffic", _rule("drop", "inout", 1000), chain="rarp", priority=-400),
        _filter(
            "qemu-announce-self",
            _rule("accept", "out", 500, "mac", protocolid="0x835"),
            calls=(
                "qemu-announce-self-rarp",
                "no-other-rarp-traffic",
            ),
        ),
        _filter(
            "qemu-announce-self-rarp",
            _rule(
                "accept",
                "out",
                500,
                "rarp",
                srcmacaddr="$MAC",
                dstmacaddr="ff:ff:ff:ff:ff:ff",
                opcode="Request_Reverse",
                arpsrcmacaddr="$MAC",
                arpdstmacaddr="$MAC",
                arpsrcipaddr="0.0.0.0",
                arpdstipaddr="0.0.0.0",
            ),
            _rule(
                "accept",
                "in",
                500,
                "rarp",
                dstmacaddr="ff:ff:ff:ff:ff:ff",
                opcode="Request_Reverse",
                arpsrcmacaddr="$MAC",
                arpdstmacaddr="$MAC",
                arpsrcipaddr="0.0.0.0",
                arpdstipaddr="0.0.0.0",
            ),
            chain="rarp",
            priority=-400,
        ),
    )
}
