# SPDX-License-Identifier: GPL-3.0-or-later
"""A subnet is declared once: what changes in it reaches every network that uses it, on every host (LIMIT-19)."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.network import Network
from dosvm.site.load import load

HOSTS = ("h1", "h2")
FACTS = FakeHypervisor().facts()
LAN: dict[str, Any] = {
    "address": "10.0.0.0/24",
    "gateway": "10.0.0.1",
    "pool": [{"start": "10.0.0.100", "end": "10.0.0.199"}],
    "dhcp": {},
    "dns": {"domain": "lan.example"},
}


def networks(**changed: Any) -> dict[tuple[str, str], Network]:
    """By host and name; two networks share the subnet, and one has another."""
    variables = {
        "dos_projects": {"p": {}},
        "dos_subnets": {
            "lan": {**LAN, **changed},
            "other": {**LAN, "address": "10.1.0.0/24", "gateway": "10.1.0.1", "pool": []},
        },
        "dos_networks": {
            "nat": {"type": "nat", "subnet": "lan"},
            "inner": {"type": "isolated", "subnet": "lan"},
            "other": {"type": "nat", "subnet": "other"},
        },
    }
    made = compile_site(load(variables, hosts=HOSTS), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    return {(host, str(held.name)): held for host, slice_ in made.slices.items() for held in slice_.networks}


@pytest.mark.parametrize(
    "changed",
    [
        {"gateway": "10.0.0.2"},
        {"pool": [{"start": "10.0.0.50", "end": "10.0.0.99"}]},
        {"dhcp": {"reservations": [{"mac": "52:54:00:00:00:01", "ip": "10.0.0.9"}]}},
        {"dhcp": {"boot_file": "pxe.0"}},
        {"dhcp": {"enabled": False}},
        {"tftp": "/srv/tftp"},
        {"dns": {"domain": "new.example"}},
        {"dns": {"domain": "lan.example", "forwarders": ["192.0.2.53"]}},
        {"dns": {"enabled": False}},
    ],
    ids=str,
)
def test_whatever_changes_in_a_subnet_reaches_all_who_use_it(changed: dict[str, Any]) -> None:
    """SUBN-07, LIMIT-19."""
    before, after = networks(), networks(**changed)
    differing = {key for key in before if before[key] != after[key]}
    assert differing == {(host, name) for host in HOSTS for name in ("nat", "inner")}
