# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups on guests that run: what their rules let through, what they do not, and what a change does to both.

Two guests on one network; one listens on ports 80 and 81. The other's shell, on its serial port, is the client.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import guests
import pytest
from guests import wait_for
from lxml import etree

from dosvm.compile.predefined import FILTERS
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.nwfilter import Nwfilter
from dosvm.xml import nwfilter as nwfilter_xml
from dosvm.xml.normalize import normalize

NET = ipaddress.ip_network("192.168.234.0/24")
GATEWAY, CLIENT, SERVER, FORGED = (str(NET[at]) for at in (1, 11, 12, 77))
REFUSED = 4.0  # seconds after which nothing more comes


def reaches(address: str, port: int) -> bool:
    """Whether this machine, which is the gateway, gets a connection."""
    try:
        with socket.create_connection((address, port), timeout=REFUSED):
            return True
    except OSError:
        return False


class Cloud(guests.Cloud):
    """Two machines, the card of each in a group of its own (NWF-08)."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
        super().__init__(hypervisor, prefix, folder)

        def machine(name: str, group: str, address: str) -> dict[str, Any]:
            return self.machine(name, {"network": f"{prefix}lan", "security_group": f"{prefix}{group}", "ip": address})

        self.declared |= {
            "dos_subnets": {f"{prefix}lan": {"address": str(NET), "gateway": GATEWAY, "dhcp": {}}},
            "dos_networks": {f"{prefix}lan": {"type": "nat", "subnet": f"{prefix}lan", "bridge": f"{prefix}br"}},
            "dos_security_groups": {
                f"{prefix}web": {"rules": [{"protocol": "tcp", "ports": [80], "groups": [f"{prefix}client"]}]},
                f"{prefix}client": {"rules": []},
            },
            "dos_instances": {
                "server": machine("server", "web", SERVER),
                "client": machine("client", "client", CLIENT),
            },
        }

    def with_rules(self, *rules: dict[str, Any]) -> dict[str, Any]:
        groups = deepcopy(self.declared["dos_security_groups"])
        groups[f"{self.prefix}web"]["rules"] = list(rules)
        return {"dos_security_groups": groups}


def test_rules_do_what_they_say_on_running_guests(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
    cloud = Cloud(hypervisor, prefix, folder)
    cloud.converge()
    assert cloud.converge() == []
    server, client = cloud.shell("server"), cloud.shell("client")
    try:
        # Both have leases: what a guest cannot do without is let through, though the client's group has no rule.
        wait_for("the client's lease", lambda: CLIENT in client.run("cat /run/leases/*"))
        wait_for("the server's lease", lambda: SERVER in server.run("cat /run/leases/*"))
        server.run("httpd -p 81 -h /www")
        assert client.says_yes(f"nc -w 4 {SERVER} 80 </dev/null"), "the rule that names the client's group"
        assert not client.says_yes(f"nc -w 4 {SERVER} 81 </dev/null")
        assert not reaches(SERVER, 80), "the gateway is not in the client's group"
        assert not reaches(CLIENT, 80), "no rule lets anybody in"

        # A rule more, on the running guest; what is connected meanwhile stays connected.
        anybody = {"protocol": "tcp", "ports": ["80-81"]}
        assert cloud.converge(**cloud.with_rules(anybody)) != []
        with (
            socket.create_connection((SERVER, 80), REFUSED) as held,
            socket.create_connection((SERVER, 81), REFUSED) as lost,
        ):
            assert cloud.converge(**cloud.with_rules({"protocol": "tcp", "ports": [80]})) != []
            held.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"<h1>" in held.makefile("rb").read(), "a connection that stays allowed was dropped"
            lost.settimeout(REFUSED)
            lost.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                lost.recv(1)
        assert not reaches(SERVER, 81)
        assert reaches(SERVER, 80)

        # A forged address gets nowhere, even where everything may be sent.
        assert cloud.converge(**cloud.with_rules({})) != []
        assert client.says_yes(f"ping -c 1 -W 3 {SERVER}")
        client.run(f"ip addr add {FORGED}/24 dev eth0")
        assert not client.says_yes(f"ping -c 1 -W 3 -I {FORGED} {SERVER}")
        assert client.says_yes(f"ping -c 1 -W 3 -I {CLIENT} {SERVER}")
    finally:
        server.close()
        client.close()


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_libvirts_own_filters_say_what_we_think(hypervisor: LibvirtHypervisor, name: str) -> None:
    xml = subprocess.run(["virsh", "nwfilter-dumpxml", name], capture_output=True, check=True).stdout
    told = normalize(etree.fromstring(xml), nwfilter_xml.SHAPE)
    assert decode(Nwfilter, nwfilter_xml.parse(told)) == FILTERS[name]
