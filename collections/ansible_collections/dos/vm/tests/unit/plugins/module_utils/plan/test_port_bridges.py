# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge in front of a port goes by itself, but never from under somebody (HOT-03, HOT-05)."""

from __future__ import annotations

from typing import Any

import pytest
from law_cases import marked

from dosvm.apply import converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice

MAC = "52:54:01:00:00:01"
CARD = {"bridge": "dv5f0c3a91be2", "mac": MAC}
BRIDGE = {"name": "dv5f0c3a91be2", "port": {"switch": "ovs-data"}, "stp": False, "snooping": False}
SWITCH = {"name": "ovs-data", "type": "openvswitch", "stp": False}
OVERLAY = f"<domain><devices><interface type='bridge'><mac address='{MAC}'/><source bridge='dv5f0c3a91be2'/></interface></devices></domain>"


def machine(*cards: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "web-1", "memory": "16 MiB", "interfaces": list(cards), **more}


def verdicts(after: dict[str, Any], **allowed: bool) -> dict[str, str]:
    """What becomes of the objects of a host that has all three, by the plan."""
    host = FakeHypervisor()
    before = {"bridges": [BRIDGE, SWITCH], "domains": [machine(CARD)]}
    assert not converge(marked(decode(Slice, before)), host, permission=Permission()).failures
    held = marked(decode(Slice, after))
    return {
        str(plan.address): plan.verdict
        for plan in converge(held, host, permission=Permission(**allowed), dry_run=True).plans
    }


BRIDGE_NAME = str(Address("bridge", "dv5f0c3a91be2"))


def test_it_goes_with_its_card() -> None:
    assert verdicts({"bridges": [SWITCH], "domains": [machine()]})[BRIDGE_NAME] == "remove"


@pytest.mark.parametrize(
    "domain", [[], [machine(CARD)], [machine(xml=[OVERLAY])]], ids=["undeclared", "kept", "overlay"]
)
def test_it_stays_under_a_machine_that_stays(domain: list[dict[str, Any]]) -> None:
    found = verdicts({"bridges": [SWITCH], "domains": domain})
    assert found[BRIDGE_NAME] == "left"


def test_the_switch_stays_under_it() -> None:
    found = verdicts({"domains": [machine(CARD)]}, prune=True)
    assert (found[BRIDGE_NAME], found["bridge ovs-data"]) == ("left", "left")


def test_machine_bridge_and_switch_go_together() -> None:
    assert set(verdicts({}, prune=True).values()) == {"remove"}
