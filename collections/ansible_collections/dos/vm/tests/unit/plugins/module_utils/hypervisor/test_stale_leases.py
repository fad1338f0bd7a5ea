# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of dnsmasq's lease file keep a reserved address from its VM."""

from __future__ import annotations

import pytest

from dosvm.hypervisor.stale_leases import kept
from dosvm.model.network import DhcpHost
from dosvm.model.types import Address, DnsName, Mac

OWN, OTHER = Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02")
RESERVED = [
    DhcpHost(ip=Address("10.0.0.13"), mac=OWN, name=DnsName("web")),
    DhcpHost(ip=Address("fd00::13"), mac=OWN, name=DnsName("web")),
]


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        (f"1700000000 {OWN} 10.0.0.13 web *", True),
        (f"1700000000 {OTHER} 10.0.0.13 old 01:{OTHER}", False),
        (f"1700000000 {OTHER} 10.0.0.14 other *", True),
        ("duid 00:01:00:01:2c:3d:4e:5f:52:54:00:00:00:99", True),
        (f"1700000000 65537 fd00::13 web 00:01:00:01:2c:3d:4e:5f:{OWN}", True),
        (f"1700000000 65537 fd00::13 web 00:01:00:01:2c:3d:4e:5f:{OTHER}", False),
        (f"1700000000 65537 fd00::13 * 00:03:00:01:{OTHER}", False),
        ("1700000000 65537 fd00::13 web 00:04:1e:f0", True),
        ("1700000000 65537 fd00::13 old 00:04:1e:f0", False),
        ("1700000000 65537 fd00::14 old 00:04:1e:f0", True),
    ],
)
def test_a_lease_of_another_client_on_a_reserved_address_is_dropped(line: str, stays: bool) -> None:
    assert kept([f"{line}\n"], RESERVED) == ([f"{line}\n"] if stays else [])


def test_a_mac_that_lost_its_reservation_loses_its_lease() -> None:
    lines = [f"1700000000 {mac} 10.0.0.{last} * *\n" for mac, last in ((OWN, 13), (OTHER, 14))]
    assert kept(lines, RESERVED, [OTHER]) == lines[:1]
