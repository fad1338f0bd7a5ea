# SPDX-License-Identifier: GPL-3.0-or-later
"""DHCP leases that keep a reserved address from the VM that it is reserved for.

dnsmasq does not give a reserved address while another client has a lease on it ("not using configured address"), so a VM that
replaced another one would wait for the end of that lease. A reservation counts for more: such a lease is dropped. Leases of
our gateways are lines of a file, those of libvirt's networks are released by a DHCPRELEASE in the name of their client.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..model.gateway import Gateway
from ..model.network import DhcpHost
from ..xml.build import parse
from ..xml.common import absent
from .connection import allowing

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

SERVER_PORT = 67  # RFC 2131
COOKIE = b"\x63\x82\x53\x63"
RELEASE = 7
BY_LINK = re.compile(r"00:0[13]:00:01:")  # a DUID that ends with the client's MAC (RFC 8415, 11.2 and 11.4)
HALT = 2.0  # seconds for dnsmasq to end


# ----------------------------------------------------------------------------------------------- files of our gateways


def drop(gateway: Gateway, before: Gateway | None, leases: Path, pid: Path) -> None:
    """Drop a gateway's stale leases. Its dnsmasq is ended for that, since it reads the file only when it starts.

    `before` is what it runs by until now: a MAC that loses its reservation loses its lease as well.
    """
    now = _reserved(gateway)
    gone = {host.mac for host in (_reserved(before) if before else ()) if host.mac} - {host.mac for host in now}
    with suppress(FileNotFoundError):
        lines = leases.read_text().splitlines(keepends=True)
        if len(kept(lines, now, gone)) < len(lines):
            _end(pid)  # it writes the file once more
            leases.write_text("".join(kept(leases.read_text().splitlines(keepends=True), now, gone)))


def _reserved(gateway: Gateway) -> list[DhcpHost]:
    return [host for subnet in gateway.subnets if subnet.dhcp for host in subnet.dhcp.hosts]


def kept(lines: Iterable[str], reserved: Iterable[DhcpHost], gone: Iterable[str | None] = ()) -> list[str]:
    """Pure: the lines of dnsmasq's lease file without those that are stale."""
    owners, lost = {str(host.ip): host for host in reserved}, frozenset(gone)
    return [line for line in lines if not _is_stale(line.split(), owners, lost)]


def _is_stale(words: list[str], owners: Mapping[str, DhcpHost], lost: frozenset[str | None]) -> bool:
    """Of a lease's words: its end, MAC (of IPv6 a number), address, name of the client, and identity of the client."""
    if len(words) < 4:
        return False  # the server's own DUID
    _, mac, ip, name = words[:4]
    owner = owners.get(ip)
    if owner is None:
        return mac in lost
    if owner.ip.version == 4:
        return owner.mac is not None and mac != owner.mac
    client = words[4] if len(words) > 4 else ""
    if owner.mac is not None and BY_LINK.match(client):
        return not client.endswith(owner.mac)
    return name not in ("*", owner.name)


def _end(pid: Path) -> None:
    """End the dnsmasq of a gateway; its script starts it again."""
    try:
        number = int(pid.read_text())
        if Path(f"/proc/{number}/comm").read_text().strip() != "dnsmasq":
            return
        os.kill(number, signal.SIGTERM)
    except (OSError, ValueError):
        return  # it does not run
    deadline = time.monotonic() + HALT
    while Path(f"/proc/{number}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------- libvirt's networks


def release(network: Any) -> None:
    """Release the stale leases of one of libvirt's networks, which runs on this host."""
    xml = parse(network.XMLDesc())
    owners = {host.get("ip"): host.get("mac", "").lower() for host in xml.iterfind("ip/dhcp/host") if host.get("mac")}
    bridge = absent(xml.find("bridge"), "name")
    for lease in _leases(network) if owners and bridge else ():
        ip, mac = lease["ipaddr"], lease["mac"].lower()
        server = _server(xml, ip)
        if owners.get(ip, mac) != mac and server:
            _send(str(bridge), server, _packet(server, ip, mac, lease.get("clientid")))


def _leases(network: Any) -> list[dict[str, Any]]:
    with allowing("VIR_ERR_NO_SUPPORT", "VIR_ERR_OPERATION_UNSUPPORTED", "VIR_ERR_OPERATION_INVALID"):
        found: list[dict[str, Any]] = network.DHCPLeases()
        return [lease for lease in found if lease["type"] == libvirt.VIR_IP_ADDR_TYPE_IPV4 and lease.get("mac")]
    return []


def _server(xml: Element, ip: str) -> str | None:
    """The network's own address in the subnet of a lease: where its reservation is."""
    places = (held for held in xml.iterfind("ip") if any(host.get("ip") == ip for host in held.iterfind("dhcp/host")))
    return next((address for held in places if (address := held.get("address"))), None)


def _packet(server: str, ip: str, mac: str, client: str | None) -> bytes:
    """A DHCPRELEASE of a lease."""
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, int.from_bytes(os.urandom(4), "big"), 0, 0)
    hardware = bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0")
    options = b"".join(_options(server, client))
    return head + socket.inet_aton(ip) + bytes(12) + hardware + bytes(192) + COOKIE + options + b"\xff"


def _options(server: str, client: str | None) -> Iterator[bytes]:
    yield bytes([53, 1, RELEASE])
    yield bytes([54, 4]) + socket.inet_aton(server)
    if client:
        identity = bytes.fromhex(client.replace(":", ""))
        yield bytes([61, len(identity)]) + identity


def _send(bridge: str, server: str, packet: bytes) -> None:
    """Send it as if it came in by the bridge, which is where dnsmasq listens."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire,
        suppress(OSError),
    ):  # a lease that stays ends by itself
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
        wire.sendto(packet, (server, SERVER_PORT))
