# SPDX-License-Identifier: GPL-3.0-or-later
"""A filtered card on Open vSwitch: the bridge that it gets, what its port is told, and what the card says itself (HOT-05)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dosvm.apply import converge
from dosvm.compile.export import Told, export
from dosvm.compile.moves import prepared
from dosvm.compile.placing import situation
from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.bridge import Bridge, ends
from dosvm.model.domain import Interface
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import Name, Uuid
from dosvm.placement.moves import Move
from dosvm.site.load import load

HOSTS = ("h1", "h2")
MAC = "52:54:00:00:00:0a"
HAS = Uuid("67a9c378-7c65-41e5-82e2-e662f728b4fa")
STATE = HostState(facts=FakeHypervisor().facts())
WEB = {"inbound": {"average": 1000}}
NETWORK: dict[str, Any] = {
    "type": "ovs",
    "bridge": "ovs-data",
    "forward_interface": "eth1",
    "mtu": 1400,
    "vlan": {"tags": [{"id": 1}]},
    "port_groups": [
        {"name": "plain"},
        {"name": "web", "vlan": {"tags": [{"id": 10}]}, "bandwidth": WEB},
    ],
}


def site(*cards: dict[str, Any], **network: Any) -> Any:
    return load(
        {
            "dos_projects": {"p": {}},
            "dos_networks": {"data": {**NETWORK, **network}, "office": {"type": "bridge", "bridge": "br0"}},
            "dos_security_groups": {"web": {"rules": []}},
            "dos_instances": {
                "web": {
                    "project": "p",
                    "memory": "64 MiB",
                    "interfaces": [{"network": "data", "mac": MAC, **card} for card in cards],
                    "vms": {"web": {"host": "h1"}},
                }
            },
        },
        hosts=HOSTS,
    )


def compiled(*cards: dict[str, Any], states: dict[str, HostState] | None = None, **network: Any) -> Slice:
    return compile_site(site(*cards, **network), states or dict.fromkeys(HOSTS, STATE), now=0.0).slices["h1"]


def one(*cards: dict[str, Any], **more: Any) -> tuple[Bridge, Interface]:
    """The bridge in front of a port, and the first card."""
    held = compiled(*cards, **more)
    (bridge,) = (bridge for bridge in held.bridges if bridge.port is not None)
    return bridge, held.domains[0].interfaces[0]


FILTERED = {"security_group": "web"}


def test_a_filtered_card_is_plugged_into_a_bridge_of_its_own() -> None:
    bridge, card = one(FILTERED)
    assert (card.network, card.bridge, card.filter) == (None, bridge.name, "sg.web")
    assert bridge.port is not None
    assert (bridge.port.switch, bridge.port.mac) == ("ovs-data", MAC)
    assert (bridge.stp, bridge.delay, bridge.snooping, bridge.mtu) == (False, 0, False, 1400)
    assert max(map(len, ends(bridge.name))) <= 15


def test_other_cards_have_none() -> None:
    held = compiled({}, {"network": "office", "mac": "52:54:00:00:00:0b", **FILTERED})
    assert [card.network for card in held.domains[0].interfaces] == ["data", "office"]
    assert [bridge.name for bridge in held.bridges] == ["ovs-data"]
    assert held.domains[0].uuid is None


def test_the_port_has_the_vlans_that_the_card_would_have() -> None:
    """PGRT-02, PGRT-04, PGRT-05: the card's own, those of its group, those of the network."""

    def tags(card: dict[str, Any]) -> list[int]:
        port = one({**FILTERED, **card})[0].port
        assert port is not None
        assert port.vlan is not None
        return [tag.id for tag in port.vlan.tags]

    assert tags({}) == [1]  # the first group is the default, and says nothing
    assert tags({"port_group": "web"}) == [10]
    assert tags({"port_group": "web", "vlan": {"tags": [{"id": 30}]}}) == [30]


def test_the_limits_of_its_group_are_the_cards() -> None:
    """PGRT-01: libvirt knows no group there."""
    _, card = one({**FILTERED, "port_group": "web"})
    assert (card.port_group, card.vlan) == (None, None)
    assert card.bandwidth is not None
    assert card.bandwidth.inbound is not None
    assert card.bandwidth.inbound.average == 1000
    _, own = one({**FILTERED, "port_group": "web", "bandwidth": {"inbound": {"average": 7}}})
    assert own.bandwidth is not None
    assert own.bandwidth.inbound is not None
    assert own.bandwidth.inbound.average == 7


def test_a_bridge_keeps_its_name_whatever_other_cards_there_are() -> None:
    first, _ = one(FILTERED)
    second = {"network": "office", "mac": "52:54:00:00:00:0b"}
    assert first.name in [bridge.name for bridge in compiled(second, FILTERED).bridges]
    assert first.name == one(FILTERED, bridge="ovs-other")[0].name


def test_the_port_knows_the_machine_before_it_is_there() -> None:
    """HOT-04: what a host has is kept, what is new is made with what the port says."""
    bridge, _ = one(FILTERED)
    held = compiled(FILTERED)
    assert bridge.port is not None
    assert held.domains[0].uuid == bridge.port.machine is not None
    has_it = replace(STATE, domains={"web": True}, active={"web": (1, 2**26)}, uuids={"web": HAS})
    kept = compiled(FILTERED, states={"h1": has_it, "h2": STATE})
    assert kept.domains[0].uuid == HAS
    # On the host that it goes to, too, before it is there.
    going = situation(site(FILTERED), {"h1": has_it, "h2": STATE}, now=0.0)
    move = Move(vm="web", source="h1", target="h2", why="asked", copies=False)
    slice_ = prepared(going, [move])["h2"]
    assert [bridge.port.machine for bridge in slice_.bridges if bridge.port] == [HAS]
    assert slice_.domains == ()


def test_the_same_card_has_the_same_bridge_and_port_on_every_host() -> None:
    going = situation(site(FILTERED), dict.fromkeys(HOSTS, STATE), now=0.0)
    move = Move(vm="web", source="h1", target="h2", why="asked", copies=False)
    there = next(bridge for bridge in prepared(going, [move])["h2"].bridges if bridge.port)
    assert there == one(FILTERED)[0]


def test_an_exported_machine_keeps_its_card() -> None:
    """IAC-06: by an overlay, since whose port a bridge is in front of is another site's affair; and the plan for it is empty."""
    host = FakeHypervisor()
    assert not converge(compiled(FILTERED), host, permission=Permission()).failures
    exported = export(Name("other"), {"h1": Told(facts=host.facts(), observed=host.observe(Name("other")))})
    assert (exported.differing, exported.problems) == ((), ())
    (overlay,) = exported.objects["instances"]["web"]["xml"]
    assert one(FILTERED)[0].name in overlay
    assert any("in a security group" in why for _, _, why in exported.left_out)
