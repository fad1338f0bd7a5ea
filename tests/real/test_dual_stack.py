# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of both families with guests that run: addresses, names, rules and spoofing over IPv6 (LIMIT-18).

The guests have no DHCPv6 client: their kernel makes its address of the network that the router tells (RFC 4862).
"""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

import guests
from guests import Shell, wait_for

from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.types import Mac

FOUR, SIX = ipaddress.ip_network("192.168.235.0/24"), ipaddress.ip_network("fd00:235::/64")
GATEWAY, GATEWAY6 = str(FOUR[1]), str(SIX[1])
MACS = {"server": Mac("52:54:00:23:50:0b"), "client": Mac("52:54:00:23:50:0c")}


def made_of(mac: Mac) -> str:
    """The address that a kernel makes of its network and its MAC (EUI-64)."""
    octets = bytearray(bytes.fromhex(mac.replace(":", "")))
    octets[0] ^= 2
    return str(SIX[int.from_bytes(bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]]), "big")])


SERVER, CLIENT = made_of(MACS["server"]), made_of(MACS["client"])
FORGED = str(SIX[0xBAD])


def cloud_of(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> guests.Cloud:
    cloud = guests.Cloud(hypervisor, prefix, folder)
    lan, lan6 = f"{prefix}lan", f"{prefix}lan6"

    def machine(name: str, **card: Any) -> dict[str, Any]:
        return cloud.machine(name, {"network": lan, "mac": MACS[name], "security_group": f"{prefix}{name}", **card})

    cloud.declared |= {
        "dos_subnets": {
            lan: {"address": str(FOUR), "gateway": GATEWAY, "dhcp": {}, "dns": {"domain": "six.example"}},
            lan6: {"address": str(SIX), "gateway": GATEWAY6},
        },
        "dos_networks": {
            lan: {"type": "nat", "subnet": lan, "subnet6": lan6, "bridge": f"{prefix}br", "nat": {"ipv6": True}}
        },
        "dos_security_groups": {
            f"{prefix}server": {
                "rules": [
                    {"protocol": "tcp", "ports": [80], "groups": [f"{prefix}client"]},
                    {"protocol": "tcp", "ports": [81], "cidrs": [f"{GATEWAY6}/128"]},
                ]
            },
            f"{prefix}client": {"rules": []},
        },
        "dos_instances": {
            "server": machine("server", ip=str(FOUR[11]), ip6=SERVER),
            "client": machine("client", ip=str(FOUR[12]), ip6=CLIENT),
        },
    }
    return cloud


def connects(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=4):
            return True
    except OSError:
        return False


def has(shell: Shell, address: str) -> bool:
    """Whether it has the address, and nobody else claims it: before that it would send from its link's own."""
    heard = shell.run("ip -6 addr show dev eth0")
    return any(address in line and "tentative" not in line for line in heard.splitlines())


def test_guests_speak_both_families(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
    cloud = cloud_of(hypervisor, prefix, folder)
    cloud.converge()
    assert cloud.converge() == []
    with cloud.shell("server") as server, cloud.shell("client") as client:
        wait_for("the client's lease", lambda: str(FOUR[12]) in client.run("cat /run/leases/*"))
        wait_for("the server's lease", lambda: str(FOUR[11]) in server.run("cat /run/leases/*"))
        wait_for("the client's IPv6 address", lambda: has(client, CLIENT))
        wait_for("the server's IPv6 address", lambda: has(server, SERVER))
        assert "default via fe80::" in client.run("ip -6 route"), "the router was not heard"
        server.run("httpd -p 81 -h /www")
        for address in (str(FOUR[11]), SERVER):
            assert client.says_yes(f"nc -w 4 {address} 80 </dev/null"), f"the rule that names the client, to {address}"
            assert not client.says_yes(f"nc -w 4 {address} 81 </dev/null"), address
        assert connects(SERVER, 81), "the rule that names the gateway's IPv6 address"
        assert not connects(str(FOUR[11]), 81), "the gateway's IPv4 address is in no rule"
        assert not connects(CLIENT, 80)
        name = f"{prefix}server.six.example"
        assert SERVER in client.run(f"nslookup -type=aaaa {name} {GATEWAY}")

        # A forged address gets nowhere, where everything may be sent.
        assert client.says_yes(f"ping -6 -c 1 -W 3 {GATEWAY6}")
        client.run(f"ip -6 addr add {FORGED}/64 dev eth0 nodad")
        assert not client.says_yes(f"ping -6 -c 1 -W 3 -I {FORGED} {GATEWAY6}")
        assert client.says_yes(f"ping -6 -c 1 -W 3 -I {CLIENT} {GATEWAY6}")
