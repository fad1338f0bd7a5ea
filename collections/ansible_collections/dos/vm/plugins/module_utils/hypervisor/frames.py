# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of Ethernet as bytes: the few that a probe sends, and what answers to them look like. Pure.

ARP is RFC 826, neighbours of IPv6 are RFC 4861, ICMP is RFC 792 and RFC 4443.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from ..model.types import Address

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
SYN, RST, ACK = 0x02, 0x04, 0x10
SOLICITATION, ADVERTISEMENT = 135, 136
# Of a ping and its answer, and of the message that nobody listens at a port: type, type, (type, code).
ECHO = {4: (8, 0, (3, 3)), 6: (128, 129, (1, 4))}
BROADCAST = b"\xff" * 6
HOPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a conversation. `number` is the port it leaves from, or what tells one ping from another."""

    source: Address
    target: Address
    protocol: str
    port: int | None
    number: int

    @property
    def family(self) -> int:
        return self.source.version


def question(mac: bytes, own: Address, wanted: Address) -> bytes:
    """Who has an address: by ARP, or a neighbour solicitation."""
    if own.version == 4:
        body = struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + mac + own.ip.packed + bytes(6) + wanted.ip.packed
        return _ethernet(BROADCAST, mac, ARP, body)
    group = ipaddress.IPv6Address(
        int(ipaddress.IPv6Address("ff02::1:ff00:0")) | int.from_bytes(wanted.ip.packed[-3:], "big")
    )
    asked = bytes(4) + wanted.ip.packed + b"\x01\x01" + mac
    message = _icmp(own.ip.packed, group.packed, 6, SOLICITATION, 0, asked)
    return _ethernet(
        b"\x33\x33" + group.packed[-4:], mac, IPV6, _ip(own.ip.packed, group.packed, ICMPV6, message, hops=255)
    )


def neighbour(frame: bytes, wanted: Address) -> bytes | None:
    """The MAC that a frame says an address is at."""
    kind, body = _opened(frame)
    if kind == ARP and body[6:8] == b"\0\2" and body[14:18] == wanted.ip.packed:
        return body[8:14]
    if (
        kind == IPV6
        and body[6:7] == bytes([ICMPV6])
        and body[40:41] == bytes([ADVERTISEMENT])
        and body[48:64] == wanted.ip.packed
    ):
        options = body[64:]
        return options[2:8] if options[:2] == b"\x02\x01" else frame[6:12]
    return None


def first(packet: Packet, mac: bytes, to: bytes) -> bytes:
    """The packet as a frame from one card to another."""
    source, target = packet.source.ip.packed, packet.target.ip.packed
    if packet.protocol == "icmp":
        number = ICMP if packet.family == 4 else ICMPV6
        message = _icmp(source, target, packet.family, ECHO[packet.family][0], 0, struct.pack("!HH", packet.number, 1))
    elif packet.protocol == "tcp":
        number = TCP
        head = struct.pack("!HHIIBBHHH", packet.number, packet.port, packet.number, 0, 5 << 4, SYN, 1024, 0, 0)
        message = _summed(head, 16, source, target, TCP)
    else:
        number = UDP
        message = _summed(struct.pack("!HHHH", packet.number, packet.port, 8, 0), 6, source, target, UDP)
    kind = IPV4 if packet.family == 4 else IPV6
    return _ethernet(to, mac, kind, _ip(source, target, number, message))


def answered(frame: bytes, packet: Packet) -> str | None:
    """What the target says with a frame, as a sentence goes on; `None` for a frame that is no answer of its to this packet."""
    kind, source, target, protocol, body = _ip_parts(frame)
    if kind != packet.family or (source, target) != (packet.target.ip.packed, packet.source.ip.packed):
        return None
    if protocol in (ICMP, ICMPV6):
        return _told(body, packet)
    if len(body) < 8 or struct.unpack("!HH", body[:4]) != (packet.port, packet.number):
        return None
    if protocol == TCP and packet.protocol == "tcp":
        return "refused the connection, so it was reached" if body[13] & RST else "took the connection"
    return "answered" if protocol == UDP and packet.protocol == "udp" else None


def _told(body: bytes, packet: Packet) -> str | None:
    """A message of ICMP: the answer to our ping, or that nobody listens at a port of the target's."""
    _, reply, closed = ECHO[packet.family]
    if packet.protocol == "icmp":
        return "answered" if body[:1] == bytes([reply]) and body[4:6] == struct.pack("!H", packet.number) else None
    if tuple(body[:2]) != closed:
        return None
    kind, source, target, _, inner = _ip_parts(
        bytes(12) + struct.pack("!H", IPV4 if packet.family == 4 else IPV6) + body[8:]
    )
    mine = (packet.family, packet.source.ip.packed, packet.target.ip.packed)
    ports = len(inner) >= 4 and struct.unpack("!HH", inner[:4]) == (packet.number, packet.port)
    return "has nobody listening there, so it was reached" if (kind, source, target) == mine and ports else None


def is_the(frame: bytes, packet: Packet) -> bool:
    """Whether a frame carries this very packet."""
    kind, source, target, protocol, body = _ip_parts(frame)
    if kind != packet.family or (source, target) != (packet.source.ip.packed, packet.target.ip.packed):
        return False
    if packet.protocol == "icmp":
        asks = bytes([ECHO[packet.family][0]])
        return protocol in (ICMP, ICMPV6) and body[:1] == asks and body[4:6] == struct.pack("!H", packet.number)
    wanted = TCP if packet.protocol == "tcp" else UDP
    return protocol == wanted and len(body) >= 4 and struct.unpack("!HH", body[:4]) == (packet.number, packet.port)


def _opened(frame: bytes) -> tuple[int, bytes]:
    return int.from_bytes(frame[12:14], "big"), frame[14:]


def _ip_parts(frame: bytes) -> tuple[int, bytes, bytes, int, bytes]:
    """Family, source, target, protocol and what is inside; family 0 for anything else."""
    kind, body = _opened(frame)
    if kind == IPV4 and len(body) >= 20:
        return 4, body[12:16], body[16:20], body[9], body[(body[0] & 15) * 4 :]
    if kind == IPV6 and len(body) >= 40:
        return 6, body[8:24], body[24:40], body[6], body[40:]
    return 0, b"", b"", 0, b""


def _ethernet(to: bytes, mac: bytes, kind: int, body: bytes) -> bytes:
    return to + mac + struct.pack("!H", kind) + body


def _ip(source: bytes, target: bytes, protocol: int, body: bytes, hops: int = HOPS) -> bytes:
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, hops) + source + target + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, hops, protocol, 0) + source + target
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def _icmp(source: bytes, target: bytes, family: int, kind: int, code: int, rest: bytes) -> bytes:
    message = struct.pack("!BBH", kind, code, 0) + rest
    if family == 6:
        return _summed(message, 2, source, target, ICMPV6)
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def _summed(message: bytes, place: int, source: bytes, target: bytes, protocol: int) -> bytes:
    """With its checksum, which is about the addresses too (RFC 9293, RFC 8200)."""
    numbers = "!IHBB" if len(source) == 16 else "!BBH"
    above = (len(message), 0, 0, protocol) if len(source) == 16 else (0, protocol, len(message))
    found = checksum(source + target + struct.pack(numbers, *above) + message)
    return message[:place] + struct.pack("!H", found or 0xFFFF) + message[place + 2 :]


def checksum(data: bytes) -> int:
    """That of the internet (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
