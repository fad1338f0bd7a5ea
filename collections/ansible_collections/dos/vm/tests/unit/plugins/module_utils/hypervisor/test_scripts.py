# SPDX-License-Identifier: GPL-3.0-or-later
"""A value stays one word of the scripts that are made of it, whatever its text."""

from __future__ import annotations

import shlex

import pytest

from dosvm.hypervisor.bridges import script
from dosvm.xml.build import E

HOSTILE = "fe80::1%$(touch owned)`id`; id #'\""


@pytest.mark.parametrize("kind", ["linux", "openvswitch"])
def test_the_address_of_a_peer_is_one_word(kind: str) -> None:
    vxlan = E("vxlan", E("peer", address=HOSTILE), id="7", port="4789", local=HOSTILE)
    bridge = E("bridge", E("name", "br-x"), vxlan, E("stp", state="off", delay="0"), type=kind, datapath="system")
    lines = [line for line in script(bridge)[""].splitlines() if "touch owned" in line]
    assert lines
    for line in lines:
        whole = shlex.split(line)
        assert all(HOSTILE in word for word in whole if "touch" in word), line
