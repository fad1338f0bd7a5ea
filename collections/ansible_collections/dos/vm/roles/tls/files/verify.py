# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls other hosts' libvirt over TLS from this one: as who we are, which must do, and as nobody, which must not.

The first argument says whom and where; the answer is a list of sentences, empty when all is well (LVD-05).
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = 15  # seconds
#: What libvirt's server says to those whose certificate will do, before anything else.
WELCOME = b"\x01"


def problems(peer: list[str], call: dict[str, Any]) -> Iterator[str]:
    name = peer[0]
    address = next(text for text in (*peer[1:], name) if text)
    who = f"{name} ({address}:{call['port']})"
    hostname, why = called(address, call["port"])
    if why:
        yield f"cannot call {who}: {why}"
        return
    try:
        welcome = answered_to_nobody(address, hostname, call)
    except ssl.SSLCertVerificationError:
        yield (
            f"libvirt on {who} calls itself {hostname}, and machines move to that name: it is not in its certificate, "
            f"add it to tls_names of {name}"
        )
        return
    except OSError:
        welcome = b""  # refused by an alert or a reset instead of a silent end
    if welcome == WELCOME:
        yield f"{who} lets in who has no certificate: does its libvirt run with tls_no_verify_certificate?"


def called(address: str, port: int) -> tuple[str, str]:
    """What the host there calls itself, or why that cannot be had."""
    spelled = f"[{address}]" if ":" in address else address
    command = ("virsh", "--connect", f"qemu+tls://{spelled}:{port}/system", "hostname")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "", f"no answer within {PATIENCE} s; is the port open in its firewall?"
    return done.stdout.strip(), "" if done.returncode == 0 else " ".join(done.stderr.split())


def answered_to_nobody(address: str, hostname: str, call: dict[str, Any]) -> bytes:
    """The first byte a caller without certificate gets, who for his part wants to see the host's own name certified."""
    context = ssl.create_default_context(cafile=call["trusted"])
    with (
        socket.create_connection((address, call["port"]), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=hostname) as encrypted,
    ):
        return encrypted.recv(1)


def main() -> None:
    call = json.loads(sys.argv[1])
    with ThreadPoolExecutor(max_workers=8) as callers:
        found = callers.map(lambda peer: list(problems(peer, call)), call["peers"])
        print(json.dumps({"problems": [problem for each in found for problem in each]}))


if __name__ == "__main__":
    main()
