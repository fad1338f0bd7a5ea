# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a probe: what they are to the byte, and which frames are answers to them."""

from __future__ import annotations

import struct

import pytest

from dosvm.hypervisor.frames import Packet, answered, checksum, first, is_the, neighbour, question
from dosvm.model.types import Address

MINE, THEIRS = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
HERE = {4: Address("10.0.0.11"), 6: Address("fd00::11")}
THERE = {4: Address("10.0.0.21"), 6: Address("fd00::21")}
ELSEWHERE = {4: Address("10.0.0.99"), 6: Address("fd00::99")}
PORTS = {"tcp": 80, "udp": 53, "icmp": None}


def packet(protocol: str, family: int, **more: object) -> Packet:
    held = {"source": HERE[family], "target": THERE[family], "port": PORTS[protocol], "number": 40000, **more}
    return Packet(protocol=protocol, **held)  # type: ignore[arg-type]  # of the kinds above


def payload(frame: bytes) -> bytes:
    """What is inside the IP packet of a frame."""
    return frame[34:] if frame[12:14] == b"\x08\0" else frame[54:]


def reply(frame: bytes, changed: bytes, protocol: int | None = None) -> bytes:
    """A frame that goes the other way with this inside; checksums are the kernel's affair and not looked at."""
    if frame[12:14] == b"\x08\0":
        head = frame[14:23] + bytes([protocol or frame[23]]) + frame[24:26] + frame[30:34] + frame[26:30]
    else:
        head = frame[14:20] + bytes([protocol or frame[20]]) + frame[21:22] + frame[38:54] + frame[22:38]
    return frame[6:12] + frame[:6] + frame[12:14] + head + changed


def test_a_checksum_is_that_of_the_rfc() -> None:
    """RFC 1071, section 3."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2
    assert checksum(b"\x01") == 0xFFFF ^ 0x0100


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_sums_of_what_is_sent_are_right(protocol: str, family: int) -> None:
    """A receiver sums everything up with the sum in it, and gets nothing."""
    frame = first(packet(protocol, family), MINE, THEIRS)
    assert frame[:12] == THEIRS + MINE
    inside, number = payload(frame), frame[23] if family == 4 else frame[20]
    above = HERE[family].ip.packed + THERE[family].ip.packed
    length = struct.pack(
        "!HH" if family == 4 else "!IHBB", *((number, len(inside)) if family == 4 else (len(inside), 0, 0, number))
    )
    plain = family == 4 and protocol == "icmp"
    assert checksum(inside if plain else above + length + inside) == 0
    if family == 4:
        assert checksum(frame[14:34]) == 0


@pytest.mark.parametrize("family", [4, 6])
def test_a_question_for_a_neighbour_is_answered_by_that_neighbour_alone(family: int) -> None:
    asked = question(MINE, HERE[family], THERE[family])
    assert asked[6:12] == MINE
    assert neighbour(asked, THERE[family]) is None, "a question is no answer"
    if family == 4:
        assert asked[:6] == b"\xff" * 6
        says = (
            THEIRS
            + MINE
            + b"\x08\x06"
            + asked[14:20]
            + b"\0\2"
            + THEIRS
            + THERE[4].ip.packed
            + MINE
            + HERE[4].ip.packed
        )
    else:
        assert asked[:6] == bytes.fromhex("3333ff000021"), "the group of its last three octets (RFC 4291)"
        message = b"\x88\0\0\0\x60\0\0\0" + THERE[6].ip.packed + b"\x02\x01" + THEIRS
        says = MINE + THEIRS + asked[12:20] + b"\x3a\xff" + THERE[6].ip.packed + HERE[6].ip.packed + message
    assert neighbour(says, THERE[family]) == THEIRS
    assert neighbour(says, ELSEWHERE[family]) is None


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_is_answered_by_taking_or_refusing(family: int) -> None:
    held = packet("tcp", family)
    sent = first(held, MINE, THEIRS)
    back = payload(sent)[2:4] + payload(sent)[:2] + payload(sent)[4:13]
    assert answered(reply(sent, back + b"\x12" + bytes(6)), held) == "took the connection"
    assert answered(reply(sent, back + b"\x14" + bytes(6)), held) == "refused the connection, so it was reached"
    assert answered(sent, held) is None
    assert is_the(sent, held)
    assert not is_the(sent, packet("tcp", family, number=40001))
    assert answered(reply(sent, back + b"\x12" + bytes(6)), packet("tcp", family, number=40001)) is None
    assert answered(reply(sent, back + b"\x12" + bytes(6)), packet("tcp", family, target=ELSEWHERE[family])) is None


@pytest.mark.parametrize(("family", "kind"), [(4, 0), (6, 129)])
def test_a_ping_is_answered_by_its_echo(family: int, kind: int) -> None:
    held = packet("icmp", family)
    sent = first(held, MINE, THEIRS)
    assert answered(reply(sent, bytes([kind]) + payload(sent)[1:]), held) == "answered"
    assert answered(reply(sent, payload(sent)), held) is None, "a ping of theirs"
    assert is_the(sent, held)


@pytest.mark.parametrize(
    ("family", "number", "closed", "filtered"), [(4, 1, b"\3\3", b"\3\x0a"), (6, 58, b"\1\4", b"\1\1")]
)
def test_a_closed_port_was_reached_and_a_forbidden_one_was_not(
    family: int, number: int, closed: bytes, filtered: bytes
) -> None:
    held = packet("udp", family)
    sent = first(held, MINE, THEIRS)
    told = bytes(6) + sent[14:]
    assert answered(reply(sent, closed + told, number), held) == "has nobody listening there, so it was reached"
    assert answered(reply(sent, filtered + told, number), held) is None
    assert answered(reply(sent, closed + told, number), packet("udp", family, number=40001)) is None
