# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM that replaces another one gets its declared address at once, though the other one's lease has not ended."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import guests
import pytest

from dosvm.hypervisor.libvirt import LibvirtHypervisor

pytestmark = pytest.mark.libvirt

FIRST, SECOND = "52:54:00:d0:51:01", "52:54:00:d0:51:02"


@contextmanager
def client(bridge: str, name: str, mac: str) -> Iterator[str]:
    """A network namespace with an interface of that MAC on a bridge, which is called as the namespace."""
    steps = (
        f"ip netns add {name}",
        f"ip link add {name}a type veth peer name {name}b address {mac} netns {name}",
        f"ip -n {name} link set {name}b up",
        f"ip link set {name}a master {bridge} up",
    )
    try:
        for step in steps:
            subprocess.run(step.split(), check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], check=False)
        subprocess.run(["ip", "netns", "del", name], check=False)


def leased(bridge: str, name: str, mac: str) -> str:
    """The address that a client of that MAC is given. It does not release it when it goes."""
    with client(bridge, name, mac):
        asks = ["busybox", "udhcpc", "-i", f"{name}b", "-f", "-n", "-q", "-t", "10", "-T", "1", "-s", "/bin/true"]
        done = subprocess.run(["ip", "netns", "exec", name, *asks], capture_output=True, text=True, check=False)
    found = re.search(r"lease of (\S+) obtained", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    return found[1]


@pytest.fixture
def bridge(prefix: str) -> Iterator[str]:
    """A bridge of the host, which our gateway serves."""
    name = f"{prefix}o"
    subprocess.run(["ip", "link", "add", name, "up", "type", "bridge"], check=True)
    yield name
    subprocess.run(["ip", "link", "del", name], check=True)


def test_a_reserved_address_is_not_kept_from_its_vm_by_an_older_lease(
    hypervisor: LibvirtHypervisor, prefix: str, bridge: str, tmp_path: Path
) -> None:
    """NIC-02, SUBN-04: the reservation goes from one MAC to another one, as when a VM is renamed or replaced."""
    cloud = guests.Cloud(hypervisor, prefix, tmp_path)
    lan, out = f"{prefix}lan", f"{prefix}out"
    bridges = {lan: f"{prefix}l", out: bridge}
    subnet = {"pool": [], "dhcp": {}}
    cloud.declared |= {
        "dos_subnets": {
            lan: {"address": "192.168.237.0/24", "gateway": "192.168.237.1", **subnet},
            out: {"address": "192.168.238.0/24", "gateway": "192.168.238.1", "automatic_gateway": {}, **subnet},
        },
        "dos_networks": {
            lan: {"type": "isolated", "subnet": lan, "bridge": bridges[lan]},
            out: {"type": "bridge", "subnet": out, "bridge": bridges[out]},
        },
    }

    def declare(name: str, mac: str) -> None:
        vm = {"power": "off", "ip": {lan: "192.168.237.13", out: "192.168.238.13"}}
        cards = [{"network": network, "mac": mac[:-1] + str(number)} for number, network in enumerate((lan, out))]
        cloud.declared["dos_instances"] = {
            name: {"project": "p", "memory": "16 MiB", "interfaces": cards, "vms": {f"{prefix}{name}": vm}}
        }
        cloud.converge()
        assert cloud.converge() == []

    for name, mac in (("old", FIRST), ("new", SECOND)):
        declare(name, mac.replace("d0:51", f"d0:5{mac[-1]}"))
        for number, (network, link) in enumerate(bridges.items()):
            own = cloud.declared["dos_instances"][name]["interfaces"][number]["mac"]
            wanted = {lan: "192.168.237.13", out: "192.168.238.13"}[network]
            assert leased(link, f"{prefix}{number}", own) == wanted, f"{network}: {name}"
