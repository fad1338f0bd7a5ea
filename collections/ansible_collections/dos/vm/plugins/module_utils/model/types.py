# SPDX-License-Identifier: GPL-3.0-or-later
"""Values with a meaning: parsed once at the edge, compared as objects ever after.

Each is a `str` or an `int` that was checked and brought to one spelling when it was made, so it serialises as itself.
A constructor raises `ValueError` whose text says what to write instead; `decode` adds the path and the origin.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import uuid
from fractions import Fraction
from functools import cached_property

IDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LUN = re.compile(r"unit:\d+:\d+:\d+")
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,14}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
PORTS = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?")
CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
CPUS = re.compile(r"\^?\d{1,4}(?:-\d{1,4})?(?:,\^?\d{1,4}(?:-\d{1,4})?)*")
PCI = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])")
USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
LONGEST_DNS_NAME = 253  # characters, RFC 1035
LONGEST_NUMBER = 40  # characters of a number that still can be a size
LARGEST = 2**63 - 1  # what libvirt, SQL and QEMU take for a number of bytes

UNITS = {
    "b": 1,
    "bytes": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "pb": 10**15,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
    "p": 2**50,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "pib": 2**50,
}


class Name(str):
    """An identifier: 1–64 letters, digits, hyphens, underscores and dots, beginning with a letter or digit (`ident64`)."""

    __slots__ = ()

    def __new__(cls, text: str) -> Name:
        if not isinstance(text, str) or not IDENT.fullmatch(text):
            raise ValueError(
                f"{_shown(text)} is not a name, write 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit"
            )
        return super().__new__(cls, text)


class VolumeName(str):
    """A name, or what libvirt calls a LUN: `unit:0:0:1` (POOL-13)."""

    __slots__ = ()

    def __new__(cls, text: str) -> VolumeName:
        return super().__new__(cls, text if isinstance(text, str) and LUN.fullmatch(text) else Name(text))

    @property
    def is_lun(self) -> bool:
        """Whether it is a LUN of a target, which only the target can make."""
        return LUN.fullmatch(self) is not None


class DeviceName(str):
    """A Linux interface or bridge name: at most 15 characters (IFNAMSIZ), no slash and no space."""

    __slots__ = ()

    def __new__(cls, text: str) -> DeviceName:
        if not isinstance(text, str) or not DEVICE.fullmatch(text):
            raise ValueError(f"{_shown(text)} is not a device name, write at most 15 letters, digits, '-', '_' or '.'")
        return super().__new__(cls, text)


class AbsolutePath(str):
    """A path on a host, from the root, without control characters."""

    __slots__ = ()

    def __new__(cls, text: str) -> AbsolutePath:
        if not isinstance(text, str) or not PATH.fullmatch(text):
            raise ValueError(f"{_shown(text)} is not an absolute path, write it from the root, like /srv/vm")
        if ".." in text.split("/"):
            raise ValueError(f"{_shown(text)} climbs with '..', write the path it ends at")
        return super().__new__(cls, canonical(text))


class CpuSet(str):
    """Numbers of CPUs or of NUMA nodes, `0-3,8`; `0-7,^4` leaves out. Spelled as libvirt writes it back."""

    __slots__ = ()

    def __new__(cls, text: str | int) -> CpuSet:
        spelled = re.sub(r"\s", "", str(text))
        members = _members(spelled) if CPUS.fullmatch(spelled) else set()
        if not members:
            raise ValueError(f"{_shown(text)} is not a set of CPUs, write one like 0-3,8")
        return super().__new__(cls, _ranges(members))

    @property
    def members(self) -> frozenset[int]:
        """The numbers."""
        return frozenset(_members(self))


def _members(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.removeprefix("^").partition("-")
        numbers = range(int(low), int(high or low) + 1)
        found = found.difference(numbers) if part.startswith("^") else found.union(numbers)
    return found


def _ranges(members: set[int]) -> str:
    starts = [number for number in sorted(members) if number - 1 not in members]
    ends = [number for number in sorted(members) if number + 1 not in members]
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in zip(starts, ends, strict=True))


class PciAddress(str):
    """Where a device is on the PCI buses of a host, as lspci -D says it: `0000:03:00.0`."""

    __slots__ = ()

    def __new__(cls, text: str) -> PciAddress:
        found = PCI.fullmatch(str(text).strip().lower())
        if found is None:
            raise ValueError(f"{_shown(text)} is not a PCI address, write it as lspci -D says it, like 0000:03:00.0")
        domain, bus, slot, function = found.groups()
        return super().__new__(cls, f"{domain or '0000'}:{bus}:{slot}.{function}")


class UsbId(str):
    """Vendor and product of a USB device, as lsusb says them: `046d:c31c`."""

    __slots__ = ()

    def __new__(cls, text: str) -> UsbId:
        spelled = str(text).strip().lower()
        if not USB.fullmatch(spelled):
            raise ValueError(
                f"{_shown(text)} is not a USB device, write vendor and product as lsusb says, like 046d:c31c"
            )
        return super().__new__(cls, spelled)


class Checksum(str):
    """The SHA-256 of a content, `sha256:` and 64 hexadecimal digits in lower case."""

    __slots__ = ()

    def __new__(cls, text: str) -> Checksum:
        spelled = str(text).strip().lower()
        if not CHECKSUM.fullmatch(spelled):
            raise ValueError(
                f"{_shown(text)} is not a checksum, write sha256: and the 64 hex digits that sha256sum says"
            )
        return super().__new__(cls, spelled)


class Mac(str):
    """An Ethernet address in lower case, `52:54:00:00:00:01`."""

    __slots__ = ()

    def __new__(cls, text: str | int) -> Mac:
        if isinstance(text, int):
            raise ValueError(f"{text} is a number: YAML reads an address of digits alone as one, write it in quotes")
        spelled = str(text).lower().replace("-", ":")
        if not MAC.fullmatch(spelled):
            raise ValueError(f"{_shown(text)} is not a MAC address, write six hex octets like 52:54:00:00:00:01")
        if int(spelled[:2], 16) & 1:
            raise ValueError(
                f"{_shown(text)} is a multicast address, write one whose first octet is even, like 52:54:…"
            )
        return super().__new__(cls, spelled)


class Uuid(str):
    """A UUID in its canonical lower-case spelling."""

    __slots__ = ()

    def __new__(cls, text: str) -> Uuid:
        try:
            return super().__new__(cls, str(uuid.UUID(str(text))))
        except ValueError:
            raise ValueError(f"{_shown(text)} is not a UUID, write 8-4-4-4-12 hex digits") from None


def _refuse_scope(text: object) -> None:
    """RFC 4007 lets an IPv6 address end in `%` and any text. An address here names a VM or a network, never a link."""
    address, scope, _ = str(text).partition("%")
    if scope:
        raise ValueError(f"{_shown(text)} has a scope after '%', write {_shown(address)}")


class DnsName(str):
    """A name in DNS: labels of letters, digits, `-` and `_`, joined by dots; at most 253 characters (RFC 1035)."""

    __slots__ = ()

    def __new__(cls, text: str) -> DnsName:
        spelled = str(text)
        if len(spelled) > LONGEST_DNS_NAME or not all(map(LABEL.fullmatch, spelled.split("."))):
            raise ValueError(
                f"{_shown(text)} is not a DNS name, write labels of letters, digits, '-' and '_' joined by dots, like www.example.org"
            )
        return super().__new__(cls, spelled)


class Line(str):
    """Text of one line, all of it printable: it goes into files that are read line by line."""

    __slots__ = ()

    def __new__(cls, text: str) -> Line:
        spelled = str(text)
        if not spelled.isprintable():
            raise ValueError(f"{_shown(text)} is not one line of printable text, write it without line breaks")
        return super().__new__(cls, spelled)


class Word(Line):
    """Text of one line without spaces, commas, quotes and backslashes: one field of a line."""

    __slots__ = ()

    def __new__(cls, text: str) -> Word:
        if not str(text) or set(str(text)) & set(" ,\"'\\"):
            raise ValueError(f"{_shown(text)} is not one word, write it without spaces, commas, quotes and backslashes")
        return super().__new__(cls, text)  # type: ignore[return-value]  # `super().__new__` makes the subclass it was given


class Address(str):
    """One IPv4 or IPv6 address, without a prefix and without a scope."""

    def __new__(cls, text: str) -> Address:
        _refuse_scope(text)
        try:
            return super().__new__(cls, str(ipaddress.ip_address(str(text))))
        except ValueError:
            hint = f", write {text.split('/')[0]}" if isinstance(text, str) and "/" in text else ""
            raise ValueError(f"{_shown(text)} is not an IP address{hint}") from None

    @cached_property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(str(self))

    @property
    def version(self) -> int:
        return self.ip.version


class Cidr(str):
    """An address with its prefix, `10.0.0.1/24`: the address of a host in a network, or of the network itself."""

    def __new__(cls, text: str) -> Cidr:
        _refuse_scope(text)
        if not isinstance(text, str) or "/" not in text:
            raise ValueError(f"{_shown(text)} has no prefix, write {text}/24")
        try:
            return super().__new__(cls, str(ipaddress.ip_interface(text)))
        except ValueError:
            raise ValueError(f"{_shown(text)} is not an address with a prefix, write one like 10.0.0.1/24") from None

    @cached_property
    def interface(self) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
        return ipaddress.ip_interface(str(self))

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return self.interface.ip

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return self.interface.network

    @property
    def prefix(self) -> int:
        return self.interface.network.prefixlen

    @property
    def version(self) -> int:
        return self.interface.version


class Prefix(Cidr):
    """A network: a `Cidr` whose host bits are zero (AMB-08)."""

    def __new__(cls, text: str) -> Prefix:
        value = super().__new__(cls, text)
        if value.ip != value.network.network_address:
            raise ValueError(f"{_shown(text)} has host bits, write {value.network}")
        return value  # type: ignore[return-value]  # `super().__new__` makes the subclass it was given


class Ports(str):
    """A port, `80`, or a range of them, `8000-8080`."""

    def __new__(cls, text: str | int) -> Ports:
        match = PORTS.fullmatch(str(text).strip())
        if isinstance(text, bool) or match is None:
            raise ValueError(f"{_shown(text)} is not a port, write a number like 80 or a range like 8000-8080")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= 65535:
            raise ValueError(f"{_shown(text)} is not a range of ports, write them from 1 to 65535, the lower first")
        return super().__new__(cls, f"{first}" if first == last else f"{first}-{last}")

    @property
    def first(self) -> int:
        return int(self.partition("-")[0])

    @property
    def last(self) -> int:
        return int(self.partition("-")[2] or self)


class ByteSize(int):
    """A number of bytes, written with its unit: `2 GiB` is 2·2^30, `2 GB` is 2·10^9."""

    def __new__(cls, text: str | int) -> ByteSize:
        if isinstance(text, bool) or not isinstance(text, (str, int)):
            raise ValueError(f"{_shown(text)} is not a size, write a number with a unit like 512 MiB")
        if isinstance(text, int):
            return super().__new__(cls, text)
        match = SIZE.fullmatch(text.strip())
        if match is None:
            number = text.strip() if text.strip().isdigit() else "512"
            raise ValueError(f"{_shown(text)} has no unit, write {number} MiB, {number} GiB or {number} B")
        unit = UNITS.get(match[2].lower())
        if unit is None:
            raise ValueError(f"{_shown(text)} has an unknown unit {match[2]!r}, write B, KiB, MiB, GiB or TiB")
        # Exact where a float would overflow or round.
        whole = Fraction(match[1]) * unit if len(match[1]) <= LONGEST_NUMBER else Fraction(LARGEST + 1)
        if whole.denominator != 1:
            raise ValueError(f"{_shown(text)} is not a whole number of bytes")
        if whole > LARGEST:
            raise ValueError(f"{_shown(text)} is more than the largest size, write less than 8 EiB")
        return super().__new__(cls, int(whole))

    def __str__(self) -> str:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            factor = UNITS[unit.lower()]
            if self and self % factor == 0:
                return f"{self // factor} {unit}"
        return f"{int(self)} B"

    __repr__ = __str__

    @property
    def kib(self) -> int:
        """Rounded up to whole KiB, the unit libvirt answers in for memory."""
        return -(-self // 1024)


def canonical(path: str) -> str:
    """An absolute path in its one spelling: a slash once, no `.`, none at the end."""
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _shown(value: object) -> str:
    """The value as an error message quotes it: one line, printable, at most 60 characters."""
    text = repr(value if isinstance(value, (int, float, bool, type(None), list, dict)) else str(value))
    return text if len(text) <= 60 else text[:57] + "…" + text[0]
