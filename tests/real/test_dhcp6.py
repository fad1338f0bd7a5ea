# SPDX-License-Identifier: GPL-3.0-or-later
"""DHCPv6 of libvirt's networks, asked by a client that is nobody's guest: ISC's, in a name space plugged into the network's bridge.

The busybox of the guests speaks no DHCPv6; test_dual_stack.py has the addresses that they make themselves.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import guests
import pytest
from guests import wait_for

from dosvm.hypervisor.libvirt import LibvirtHypervisor

SUBNET, FIRST, LAST, OWN = "fd00:236::/64", "fd00:236::1000", "fd00:236::1fff", "fd00:236::11"


class Client:
    """A name space with a card on a bridge, and ISC's client in it. Device names are short, so the prefix's random part makes them."""

    def __init__(self, bridge: str, name: str, folder: Path) -> None:
        self.name, self.folder, self._card, self._plug = name, folder, f"{name}b", f"{name}a"
        for step in (
            f"ip netns add {name}",
            f"ip link add {self._plug} type veth peer name {self._card} netns {name}",
            f"ip -n {name} link set {self._card} up",
            f"ip link set {self._plug} master {bridge} up",
        ):
            subprocess.run(step.split(), check=True)

    def run(self, *command: str) -> str:
        done = subprocess.run(["ip", "netns", "exec", self.name, *command], capture_output=True, text=True, check=True)
        return done.stdout

    def _is_settled(self) -> bool:
        """Whether its link has an address of its own that nobody else claims: before that, it can ask nobody."""
        addresses = self.run("ip", "-6", "-o", "address", "show", "dev", self._card)
        return "fe80::" in addresses and "tentative" not in addresses

    def lease(self, sends: str = "") -> str:
        """The address that it is given when it says that its name is `sends`."""
        wait_for("an address of the link", self._is_settled)
        settings, leases = self.folder / "dhclient.conf", self.folder / f"{sends or 'nobody'}.leases"
        pid = self.folder / "dhclient.pid"
        settings.write_text(f'send fqdn.fqdn "{sends}";\n' if sends else "")
        own = ["-cf", settings, "-lf", leases, "-pf", pid, "-sf", "/bin/true"]
        self.run("dhclient", "-6", "-1", *map(str, own), self._card)
        self.run("dhclient", "-6", "-x", *map(str, own), self._card)
        found = re.findall(r"iaaddr (\S+) {", leases.read_text())
        assert len(set(found)) == 1, leases.read_text()
        return str(found[0])

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", self._plug], check=False)
        subprocess.run(["ip", "netns", "del", self.name], check=False)


@pytest.fixture
def client(hypervisor: LibvirtHypervisor, prefix: str, folder: Path, tmp_path: Path) -> Iterator[Client]:
    cloud = guests.Cloud(hypervisor, prefix, folder)
    lan, lan6 = f"{prefix}lan", f"{prefix}lan6"
    web = cloud.machine("web", {"network": lan})
    web["vms"] = {f"{prefix}web": {"power": "off", "ip6": {lan: OWN}}}
    cloud.declared |= {
        "dos_subnets": {
            lan: {"address": "192.168.236.0/24", "gateway": "192.168.236.1", "dhcp": {}},
            lan6: {
                "address": SUBNET,
                "gateway": "fd00:236::1",
                "pool": [{"start": FIRST, "end": LAST}],
                "dhcp": {"allocate": False},
            },
        },
        "dos_networks": {lan: {"type": "isolated", "subnet": lan, "subnet6": lan6, "bridge": f"{prefix}br"}},
        "dos_instances": {"web": web},
    }
    cloud.converge()
    assert cloud.converge() == []
    held = Client(f"{prefix}br", f"{prefix}c", tmp_path)
    yield held
    held.close()


def test_a_client_gets_an_address_of_the_pool_and_a_machine_its_own(client: Client, prefix: str) -> None:
    """SUBN-T1.8 over IPv6 (LIMIT-18): a machine is known by its name, which is all that libvirt asks a DHCPv6 client for."""
    stranger = ipaddress.ip_address(client.lease())
    assert ipaddress.ip_address(FIRST) <= stranger <= ipaddress.ip_address(LAST)
    assert client.lease(f"{prefix}web") == OWN
    assert (
        f"{OWN}/"
        in subprocess.run(
            ["virsh", "net-dhcp-leases", f"{prefix}lan"], capture_output=True, text=True, check=True
        ).stdout
    )
