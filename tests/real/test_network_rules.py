# SPDX-License-Identifier: GPL-3.0-or-later
"""What a NAT network's host does with packets: which way they leave, as whom, and which routes it has (NET-14 to NET-26).

Who sends are name spaces: one on the network's bridge, and two outside, on interfaces of their own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guests
import pytest

from dosvm.hypervisor.libvirt import LibvirtHypervisor

INSIDE, GATEWAY, BEYOND = "192.168.239.11", "192.168.239.1", "10.239.9.9"
# Of the outside: the host's end and the other. What goes out is to have an address between those of `AS`.
OUT, OTHER = ("198.51.100.1", "198.51.100.2"), ("203.0.113.1", "203.0.113.2")
AS, PORTS = ("198.51.100.10", "198.51.100.11"), (40000, 40009)
ANSWER = """
import socket, sys
held = socket.create_server(("", 7000)); print("up", flush=True)
while True:
    wire, (address, port) = held.accept()
    with wire: wire.sendall(f"{address} {port}".encode())
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000), timeout=4) as wire: print(wire.recv(100).decode())
"""


class Place:
    """A name space with one card, whose other end is here."""

    def __init__(self, name: str, address: str, *plugged: str) -> None:
        self.name, self.device = name, f"{name}a"
        self._answering: subprocess.Popen[str] | None = None
        for step in (
            f"ip netns add {name}",
            f"ip link add {self.device} type veth peer name {name}b netns {name}",
            f"ip -n {name} address add {address}/24 dev {name}b",
            f"ip -n {name} link set {name}b up",
            f"ip -n {name} link set lo up",
            *(step.format(self.device) for step in plugged),
            f"ip link set {self.device} up",
        ):
            subprocess.run(step.split(), check=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command], capture_output=True, text=True, timeout=60, check=False
        )

    def answers(self) -> None:
        """Tell everybody who connects as whom he comes."""
        command = ["ip", "netns", "exec", self.name, "python3", "-c", ANSWER]
        self._answering = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._answering.stdout is not None
        assert self._answering.stdout.readline() == "up\n"

    def comes_as(self, address: str) -> tuple[str, int] | None:
        """How somebody elsewhere sees it; `None` where nothing comes through."""
        done = self.run("python3", "-c", ASK, address)
        if done.returncode:
            return None
        seen, port = done.stdout.split()
        return seen, int(port)

    def close(self) -> None:
        if self._answering is not None:
            self._answering.kill()
            self._answering.communicate()
        subprocess.run(["ip", "link", "del", self.device], check=False)
        subprocess.run(["ip", "netns", "del", self.name], check=False)


@pytest.fixture
def outside(prefix: str) -> Iterator[tuple[Place, Place]]:
    """Two places that the host has an interface to each."""
    held: list[Place] = []
    try:
        for letter, (near, far) in zip("xy", (OUT, OTHER), strict=True):
            held.append(Place(f"{prefix}{letter}", far, f"ip address add {near}/24 dev {{}}"))
            held[-1].answers()
        yield held[0], held[1]
    finally:
        for place in held:
            place.close()


def declared(prefix: str, interface: str, **more: Any) -> dict[str, Any]:
    lan = f"{prefix}lan"
    network = {"type": "nat", "subnet": lan, "bridge": f"{prefix}br", "forward_interface": interface, **more}
    return {
        "dos_subnets": {lan: {"address": "192.168.239.0/24", "gateway": GATEWAY, "dhcp": {}}},
        "dos_networks": {lan: network},
    }


def test_what_leaves_goes_one_way_and_as_declared(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, outside: tuple[Place, Place]
) -> None:
    """NET-14, NET-16, NET-21, NET-22, NET-24, NET-25, NET-26."""
    out, other = outside
    cloud = guests.Cloud(hypervisor, prefix, tmp_path)
    nat = {"addresses": {"start": AS[0], "end": AS[1]}, "ports": {"start": PORTS[0], "end": PORTS[1]}}
    routes = [{"to": "10.239.9.0/24", "via": INSIDE}]
    cloud.declared |= declared(prefix, out.device, nat=nat, routes=routes)
    cloud.converge()
    assert cloud.converge() == []
    inside = Place(f"{prefix}i", INSIDE, f"ip link set {{}} master {prefix}br")
    try:
        inside.run("ip", "route", "add", "default", "via", GATEWAY)
        inside.run("ip", "address", "add", f"{BEYOND}/32", "dev", "lo")
        guests.wait_for("the bridge forwards", lambda: not inside.run("ping", "-c1", "-W1", GATEWAY).returncode)
        # The addresses that are translated to are the host's, or nobody would send answers to it.
        for address in AS:
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", out.device], check=True)
        for _ in range(3):
            seen = inside.comes_as(OUT[1])
            assert seen is not None, "nothing leaves by the declared interface"
            assert seen[0] in AS
            assert PORTS[0] <= seen[1] <= PORTS[1]
        assert inside.comes_as(OTHER[1]) is None, "it leaves by an interface that is not declared"
        assert other.run("ping", "-c1", "-W2", INSIDE).returncode, "somebody came in"
        # Between machines and host nothing is translated, and the route leads to what is behind a machine.
        inside.answers()
        assert guests_seen(INSIDE) == GATEWAY
        assert subprocess.run(["ping", "-c1", "-W4", BEYOND], capture_output=True).returncode == 0
        subprocess.run(["virsh", "-q", "net-destroy", f"{prefix}lan"], check=True)
        left = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
        assert "10.239.9.0" not in left, "the route stays without its network"
    finally:
        inside.close()


def guests_seen(address: str) -> str:
    """As whom this machine comes to somebody on the network."""
    done = subprocess.run(["python3", "-c", ASK, address], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]
