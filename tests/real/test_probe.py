# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.probe` on guests that run: assertions that hold, and rules that somebody changed on the host so that they do not.

The plan cannot see the latter: it knows what is declared, and refuses what would be declared wrongly. Packets see what is.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guests
import operators
import pytest
from guests import wait_for

from dosvm.hypervisor.libvirt import LibvirtHypervisor

FOUR, GATEWAY, WEB, DB = "192.168.238.0/24", "192.168.238.1", "192.168.238.11", "192.168.238.12"
SIX, GATEWAY6 = "fd00:238::/64", "fd00:238::1"
# Their kernels make the one of the other (EUI-64).
MACS = {"web": "52:54:00:23:80:0b", "db": "52:54:00:23:80:0c"}
SIXES = {"web": "fd00:238::5054:ff:fe23:800b", "db": "fd00:238::5054:ff:fe23:800c"}


class Operator(operators.Operator):
    """Somebody with an inventory of this machine and two guests, who asserts what they may."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, boot: Path, folder: Path) -> None:
        self.prefix = prefix
        cloud = guests.Cloud(hypervisor, prefix, boot)
        lan, lan6, web, db = (f"{prefix}{name}" for name in ("lan", "lan6", "web", "db"))

        def machine(name: str, ip: str) -> dict[str, Any]:
            card = {
                "network": lan,
                "security_group": f"{prefix}{name}",
                "mac": MACS[name],
                "ip": ip,
                "ip6": SIXES[name],
            }
            return cloud.machine(name, card, stop_timeout=0)

        site = {
            **cloud.declared,
            "dos_subnets": {
                lan: {"address": FOUR, "gateway": GATEWAY, "dhcp": {}},
                lan6: {"address": SIX, "gateway": GATEWAY6},
            },
            "dos_networks": {lan: {"type": "nat", "subnet": lan, "subnet6": lan6, "bridge": f"{prefix}br"}},
            "dos_security_groups": {
                web: {"rules": [{"protocol": "icmp"}]},
                db: {"rules": [{"protocol": "tcp", "ports": [80], "groups": [web]}, {"protocol": "udp", "ports": [9]}]},
            },
            "dos_instances": {"web": machine("web", WEB), "db": machine("db", DB)},
            "dos_assertions": {
                "page": {"from": "web", "to": "db", "port": 80},
                "shell": {"from": "web", "to": f"group:{db}", "port": 22, "expect": False},
                "back": {"from": f"{prefix}db", "to": "web"},
                "discard": {"from": "web", "to": "db", "protocol": "udp", "port": 9},
                "router": {"from": "web", "to": GATEWAY},
                "outside": {"from": "10.9.0.1", "to": "db", "expect": False},
            },
        }
        super().__init__(folder, site)

    def change(self, filter_: str, how: Callable[[str], str]) -> None:
        """What an operator does who thinks that virsh is quicker."""
        name = f"sg.{self.prefix}{filter_}.46"
        before = subprocess.run(["virsh", "nwfilter-dumpxml", name], capture_output=True, text=True, check=True).stdout
        after = how(before)
        assert after != before
        (self.folder / "filter.xml").write_text(after)
        subprocess.run(["virsh", "-q", "nwfilter-define", self.folder / "filter.xml"], check=True, capture_output=True)


@pytest.fixture
def operator(hypervisor: LibvirtHypervisor, prefix: str, folder: Path, tmp_path: Path) -> Operator:
    held = Operator(hypervisor, prefix, folder, tmp_path)
    held.play("site")
    with guests.Shell.of(f"{prefix}web") as web, guests.Shell.of(f"{prefix}db") as db:
        for shell, four, six in ((web, WEB, SIXES["web"]), (db, DB, SIXES["db"])):
            wait_for(f"the lease of {four}", lambda shell=shell, four=four: four in shell.run("cat /run/leases/*"))
            wait_for(f"the address {six}", lambda shell=shell, six=six: six in shell.run("ip -6 addr show dev eth0"))
    return held


def rows(output: str) -> dict[str, list[str]]:
    """The table by assertion: what is expected, what was seen, and why."""
    table = (re.split(r"\s{2,}", line) for line in output.splitlines() if " → " in line)
    return {cells[0]: cells[1:] for cells in table if len(cells) == 4}


def without_page(xml: str) -> str:
    return re.sub(r"<rule [^>]*>\s*<tcp(-ipv6)? [^>]*dstportstart='80'[^>]*/>\s*</rule>", "", xml)


def open_to_all(xml: str) -> str:
    return xml.replace("</filter>", "<rule action='accept' direction='in' priority='200'><tcp/></rule></filter>")


def test_assertions_are_asked_of_the_network_as_it_is(operator: Operator, prefix: str) -> None:
    """NWF-01: expected and seen, of each; what is changed beside us fails, in both directions, and is mended by a run."""
    seen = rows(operator.play("probe"))
    page = f"web → {'db'} tcp port 80"
    assert seen[page][:2] == ["yes", "yes"]
    assert "took the connection" in seen[page][2]
    assert seen[f"web → group:{prefix}db tcp port 22"][:2] == ["no", "no"]
    assert seen[f"{prefix}db → web icmp"][:2] == ["yes", "yes"]
    assert seen["web → db udp port 9"][:2] == ["yes", "yes"], "nobody listens there, and that was heard"
    assert seen[f"web → {GATEWAY}/32 icmp"][:2] == ["yes", "yes"]
    assert seen["10.9.0.1/32 → db icmp"][:2] == ["no", "not told"], "nobody here is outside"

    operator.change("db", without_page)
    told = operator.play("probe", succeeds=False)
    assert "dos_assertions.page: web → db tcp port 80 must work, and does not" in told
    assert rows(told)[page][:2] == ["yes", "no"]
    operator.play("site")  # which was as declared all the time, and sees the filter that is not

    operator.change("db", open_to_all)
    told = operator.play("probe", succeeds=False)
    assert f"dos_assertions.shell: web → group:{prefix}db tcp port 22 must not work, and does" in told
    operator.play("site")
    operator.play("probe")
    left = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\bd[pe][0-9a-f]{10}[@:]", left), "a card that was lent is still there"


def test_the_guest_keeps_its_connections_while_a_card_is_lent(operator: Operator, prefix: str) -> None:
    with guests.Shell.of(f"{prefix}web") as web:
        web.run(f"(ping -i 0.2 -c 100 {GATEWAY} >/run/pings 2>&1 &)")
        operator.play("probe")
        wait_for("the end of the pings", lambda: "packet loss" in web.run("cat /run/pings"))
        assert "100 packets received" in web.run("cat /run/pings")
