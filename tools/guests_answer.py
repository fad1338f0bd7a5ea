#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until guests answer for themselves: a DHCP lease, a name in the network's DNS, and a web page that says the name.

Nothing is taken from the guests' definitions but the network's name: what is proven is that a client on this machine
reaches each guest by name.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import re
import socket
import struct
import sys
import time
import urllib.request

import libvirt

POLL = 0.25  # seconds between two looks


def name_server(network: str) -> str:
    """The address of the host on a network, where its dnsmasq answers."""
    connection = libvirt.openReadOnly("qemu:///system")
    try:
        found = re.search(r"<ip [^>]*address='([^']+)'", connection.networkLookupByName(network).XMLDesc())
    finally:
        connection.close()
    if found is None:
        sys.exit(f"network {network} has no address on this machine")
    return found[1]


def resolve(name: str, server: str) -> str | None:
    """The IPv4 address of a name, asked of one server (RFC 1035); nothing when it has no answer."""
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    query = struct.pack(">6H", 0x6473, 0x0100, 1, 0, 0, 0) + question + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(1)
        try:
            channel.sendto(query, (server, 53))
            answer = channel.recv(512)
        except OSError:
            return None
    answers = struct.unpack(">H", answer[6:8])[0]
    return socket.inet_ntoa(answer[-4:]) if answers and answer[-6:-4] == b"\0\4" else None


def page(address: str) -> str | None:
    """What the guest's web server says; nothing while it does not."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy must not capture it (LVD-09)
    try:
        with opener.open(f"http://{address}/", timeout=2) as response:
            return str(response.read().decode())
    except OSError:
        return None


def wait_for(guest: str, domain: str, server: str, until: float) -> str | None:
    """The address at which the guest answered with its own name, or nothing when time ran out."""
    while time.monotonic() < until:
        address = resolve(f"{guest}.{domain}", server)
        if address is not None and guest in (page(address) or ""):
            return address
        time.sleep(POLL)
    return None


def main() -> int:
    """Exit status 1 names the guests that never answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("guests", nargs="+")
    parser.add_argument("--network", required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--seconds", type=float, default=180)
    options = parser.parse_args()
    started, server = time.monotonic(), name_server(options.network)
    until = started + options.seconds
    with concurrent.futures.ThreadPoolExecutor(len(options.guests)) as pool:
        found = dict(
            zip(
                options.guests,
                pool.map(lambda guest: wait_for(guest, options.domain, server, until), options.guests),
                strict=True,
            )
        )
    for guest, address in found.items():
        state = f"answers at {address}" if address else "did not answer"
        print(f"{guest}.{options.domain} {state} ({time.monotonic() - started:.1f} s)")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
