# SPDX-License-Identifier: GPL-3.0-or-later
"""The interfaces of this machine: whose port each is, and which addresses it carries. Read from the kernel, nothing is run."""

from __future__ import annotations

import array
import fcntl
import ipaddress
import os
import socket
import struct
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from ..model.bridge import ENDS
from ..model.host import Link
from ..model.types import Address

NET = Path("/sys/class/net")
IPV6 = Path("/proc/net/if_inet6")
MADE_BY_LIBVIRT = ("vnet", "macvtap", "virbr")  # they come and go with guests and networks
SIOCGIFCONF = 0x8912  # netdevice(7)
ENTRY = 40  # bytes of a `struct ifreq`
GLOBAL = "00"  # the scope of /proc/net/if_inet6 that is not of the link alone


def links() -> dict[str, Link]:
    """Every interface but those that libvirt gives its names to, and the cables that we lay to Open vSwitch."""
    addresses = _addresses()
    return {
        name: Link(
            bridge=(NET / name / "bridge").is_dir(),
            master=_master(name),
            addresses=tuple(addresses.get(name, ())),
        )
        for name in sorted(os.listdir(NET))
        if not name.startswith(MADE_BY_LIBVIRT) and (NET / name).is_dir() and not _is_cable(name)
    }


def traffic() -> int:
    """Bytes that the machine's own interfaces have received and sent: not those of guests, of bridges, or to itself."""
    return sum(
        _counted(NET / name / "statistics" / counter)
        for name in os.listdir(NET)
        if name != "lo" and not name.startswith(MADE_BY_LIBVIRT) and not _is_made(NET / name) and not _is_cable(name)
        for counter in ("rx_bytes", "tx_bytes")
    )


def _counted(counter: Path) -> int:
    """Of an interface that went while we looked, nothing: reading on says EINVAL, opening ENOENT."""
    with suppress(OSError, ValueError):
        return int(counter.read_text())
    return 0


def _is_made(link: Path) -> bool:
    """A bridge, a tap, or something that is not an interface: what goes through it goes through another one as well."""
    return any((link / what).exists() for what in ("bridge", "tun_flags")) or not (link / "statistics").is_dir()


def _is_cable(name: str) -> bool:
    """An end of a cable between a bridge and Open vSwitch: both ends carry what a card of a guest does."""
    return name.endswith(ENDS) and (NET / name[: -len(ENDS[0])] / "bridge").is_dir()


def _master(name: str) -> str | None:
    with suppress(OSError):  # it has none, or went while we looked
        return os.path.basename(os.readlink(NET / name / "master"))
    return None


def _addresses() -> dict[str, list[Address]]:
    found: defaultdict[str, list[Address]] = defaultdict(list)
    for name, address in [*_ipv4(), *_ipv6()]:
        found[name].append(address)
    return found


def _ipv4() -> list[tuple[str, Address]]:
    size = 64
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        while True:
            room = array.array("B", bytes(size * ENTRY))
            where, _ = room.buffer_info()
            told = fcntl.ioctl(asked, SIOCGIFCONF, struct.pack("iP", len(room), where))
            used: int = struct.unpack("iP", told)[0]
            if used < len(room):
                break
            size *= 4
    entries = [bytes(room[at : at + ENTRY]) for at in range(0, used, ENTRY)]
    # An address may have a label, eth0:1, which begins with the interface.
    return [
        (entry[:16].split(b"\0")[0].decode().partition(":")[0], Address(socket.inet_ntoa(entry[20:24])))
        for entry in entries
    ]


def _ipv6() -> list[tuple[str, Address]]:
    if not IPV6.exists():
        return []
    lines = [line.split() for line in IPV6.read_text().splitlines()]
    return [
        (line[5], Address(str(ipaddress.IPv6Address(int(line[0], 16)))))
        for line in lines
        if line[3] == GLOBAL and line[5] != "lo"
    ]
