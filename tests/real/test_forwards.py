# SPDX-License-Identifier: GPL-3.0-or-later
"""A service of a machine behind libvirt's NAT, asked for from outside: a namespace at the end of a cable (DEP-16)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import guests
import pytest
from guests import wait_for

from dosvm.hypervisor.libvirt import LibvirtHypervisor

GUEST, OUTSIDE, SERVICE = "192.168.236.11", "198.51.100.9", "198.51.100.77"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def outside(prefix: str) -> Iterator[str]:
    """The interface of this machine that somebody else is at the other end of, in the namespace of its name."""
    name = f"{prefix}up"
    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", "dev", name, "up")
        ip("address", "add", "198.51.100.1/24", "dev", name)
        ip("-n", name, "link", "set", "dev", "eth0", "up")
        ip("-n", name, "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", "dev", name], check=False)
        ip("netns", "delete", name)


def page(namespace: str, address: str) -> str:
    asking = ["ip", "netns", "exec", namespace, "curl", "--silent", "--max-time", "3", f"http://{address}/"]
    return subprocess.run(asking, capture_output=True, text=True, check=False).stdout


def rules() -> str:
    return subprocess.run(["iptables", "-w", "-S", "FORWARD"], capture_output=True, text=True, check=True).stdout


def test_a_service_is_reached_from_outside_and_nothing_else(
    hypervisor: LibvirtHypervisor, prefix: str, folder: Path, outside: str
) -> None:
    cloud = guests.Cloud(hypervisor, prefix, folder)
    lan = f"{prefix}lan"
    network = {
        "type": "nat",
        "subnet": lan,
        "bridge": f"{prefix}br",
        "forward_interface": outside,
        "forwards": [
            {"address": SERVICE, "protocol": "tcp", "port": 80, "to": GUEST},
            {"protocol": "tcp", "port": 8081, "to": GUEST, "to_port": 80},
        ],
    }
    cloud.declared |= {
        "dos_subnets": {lan: {"address": "192.168.236.0/24", "gateway": "192.168.236.1", "dhcp": {}}},
        "dos_networks": {lan: network},
        "dos_instances": {"web": cloud.machine("web", {"network": lan, "ip": GUEST})},
    }
    cloud.converge()
    assert cloud.converge() == []
    wait_for("the page at the service's address", lambda: "<h1>" in page(outside, SERVICE))
    assert "<h1>" in page(outside, "198.51.100.1:8081")
    ip("-n", outside, "route", "add", "192.168.236.0/24", "via", "198.51.100.1")
    assert not page(outside, GUEST), "the guest itself is behind NAT"

    # What somebody else took away is put back; the network restarted, which writes libvirt's rules anew.
    said = rules()
    (ours,) = [line for line in said.splitlines() if "dos.vm" in line and f"{prefix}br" in line]
    subprocess.run(f"iptables -w {ours.replace('-A', '-D', 1)}", shell=True, check=True)
    assert not page(outside, SERVICE)
    assert cloud.converge() != []
    assert "<h1>" in page(outside, SERVICE)

    # The service goes to nobody any more: its address leaves the interface, and the guest stays.
    without = {**network, "forwards": []}
    cloud.converge(dos_networks={lan: without})
    assert f"{prefix}br" not in "".join(line for line in rules().splitlines() if "dos.vm" in line)
    assert not page(outside, SERVICE)
    told = subprocess.run(["ip", "-4", "address", "show", "dev", outside], capture_output=True, text=True, check=True)
    assert SERVICE not in told.stdout
