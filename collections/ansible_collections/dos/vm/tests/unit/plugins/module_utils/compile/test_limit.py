# SPDX-License-Identifier: GPL-3.0-or-later
"""A limited run: the hosts that it leaves out are no source, target or evidence, and nothing is written about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dosvm.compile.advice import not_asked
from dosvm.compile.memory import NOTHING, Memory, Placement
from dosvm.compile.placing import Situation, situation
from dosvm.compile.promises import reckoned
from dosvm.compile.site import compile_situation
from dosvm.compile.states import HostState
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.load import load

HOSTS = ("h1", "h2", "h3")
FACTS = FakeHypervisor().facts()
INSTANCE: dict[str, Any] = {"project": "p", "memory": "64 MiB", "vms": {"one": {}, "two": {}}}
SITE: dict[str, Any] = {"dos_projects": {"p": {}}, "dos_instances": {"web": INSTANCE}}


def placed(**hosts: str) -> Memory:
    """A store that has looked at all hosts and says where VMs are."""
    rows = {vm: Placement(vm=vm, host=host, epoch=3, seen=True, project="p") for vm, host in hosts.items()}
    return Memory(placements=rows, surveyed=frozenset(HOSTS))


def limited(
    states: Mapping[str, HostState], memory: Memory = NOTHING, unasked: tuple[str, ...] = ("h2", "h3"), **more: Any
) -> Situation:
    return situation(load({**SITE, **more}, hosts=HOSTS), states, now=0.0, memory=memory, unasked=frozenset(unasked))


def host(*vms: str) -> HostState:
    return HostState(facts=FACTS, domains=dict.fromkeys(vms, True), active=dict.fromkeys(vms, (1, 2**26)))


def test_a_vm_that_was_placed_on_a_host_that_is_not_asked_stays_and_nothing_is_written() -> None:
    held = limited({"h1": host("one")}, placed(one="h1", two="h2"))
    assert held.decisions["two"].reason == "waits: it is on h2, which was not asked"
    assert held.pending() == {}
    assert held.changes() == {}
    assert (held.undecided, held.elsewhere) == ({"two"}, {"two"})
    assert list(not_asked(held)) == ["not asked: h2, h3; 1 VM that was placed there stays as it is"]
    compiled = compile_situation(held)
    assert [str(domain.name) for domain in compiled.slices["h1"].domains] == ["one"]
    assert compiled.placements == ()
    assert compiled.findings == ()


def test_a_new_vm_is_placed_only_where_no_other_host_can_have_it() -> None:
    """The store has looked at all hosts since; without one the VM may be on one that is not asked."""
    assert limited({"h1": host("one")}, placed(one="h1")).decisions["two"].host == "h1"
    without = limited({"h1": host("one")})
    assert without.decisions["two"].reason == "waits: it may be on h2, h3, which was not asked"
    assert without.changes() == {"one": Placement(vm="one", host="h1", epoch=1, seen=True, project="p")}
    assert without.pending() == {}


def test_a_vm_that_is_missing_where_it_was_placed_may_be_where_nothing_was_asked() -> None:
    held = limited({"h1": host()}, placed(one="h1", two="h2"))
    assert (
        held.decisions["one"].reason
        == "waits: it was on h1, is not there any more, and may be on h2, h3, which was not asked"
    )
    assert held.pending() == held.changes() == {}


def test_a_vm_that_no_asked_host_can_take_waits_and_the_others_go_on() -> None:
    """Without the limit it would be an error that it has no host."""
    settings = {"dos_host_settings": {"h1": {"active": False}}}
    held = limited({"h1": host("one")}, placed(one="h1"), **settings)
    assert held.decisions["two"].reason == "waits: no host that was asked can take it; not asked: h2, h3"
    assert held.pending() == {}
    assert "two" not in held.changes()
    assert [str(domain.name) for domain in compile_situation(held).slices["h1"].domains] == ["one"]
    with pytest.raises(DeclarationError, match="no host can take two"):
        compile_situation(limited({"h1": host("one")}, placed(one="h1"), unasked=(), **settings))


def test_a_host_that_was_asked_and_does_not_answer_is_unreachable_all_the_same() -> None:
    held = limited({"h1": host("one")}, placed(one="h1", two="h2"), unasked=("h3",))
    assert held.decisions["two"].reason == "waits: it is on h2, and there is no answer from there"
    assert set(held.pending()) == {"two"}
    mixed = limited({"h1": host("one")}, unasked=("h3",))
    assert mixed.pending() == {}, "it may also be on the host that was not asked"


def test_evidence_that_a_host_is_dead_counts_only_while_that_is_asked() -> None:
    """It ends when the host answers, which one that is not asked cannot."""
    memory = replace(placed(one="h1", two="h2"), dead=frozenset(["h2"]))
    assert limited({"h1": host("one")}, memory).decisions["two"].reason == "waits: it is on h2, which was not asked"
    assert limited({"h1": host("one")}, memory, unasked=("h3",)).decisions["two"].host == "h1"


def test_of_a_part_of_the_site_nothing_is_reckoned() -> None:
    assert reckoned(limited({"h1": host("one"), "h2": host("two")}, placed(one="h1", two="h2"), unasked=("h3",))) == []


LAN: dict[str, Any] = {
    "dos_subnets": {"lan": {"address": "10.0.0.0/24", "gateway": "10.0.0.1", "automatic_gateway": {}}},
    "dos_networks": {"lan": {"type": "bridge", "bridge": "br0", "forward_interface": "eth1", "subnet": "lan"}},
}


def test_a_gateway_waits_for_hosts_that_are_not_asked_and_does_not_move_by_a_limited_run() -> None:
    held = limited({"h1": host("one")}, placed(one="h1", two="h2"), **LAN)
    assert compile_situation(held).gateways["lan"].reason == "waits: h2, h3 may be it, which was not asked"  # type: ignore[index]
    with pytest.raises(
        DeclarationError, match=r"dos_gateway_hosts\.lan: h2, h3 may have it and was not asked: leave out --limit"
    ):
        compile_situation(held, moves={"lan": "h1"})


def test_a_gateway_stays_while_the_host_that_it_is_bound_to_does_not_answer() -> None:
    """The host that has it would stop it at once, and no other would start it."""
    subnet = {**LAN["dos_subnets"]["lan"], "automatic_gateway": {"host": "h2"}}
    state = HostState(facts=FACTS, domains={"one": True, "two": True}, gateways={"lan": True})
    for unasked in ((), ("h2", "h3")):
        held = limited({"h1": state}, placed(one="h1", two="h1"), unasked, **{**LAN, "dos_subnets": {"lan": subnet}})
        compiled = compile_situation(held)
        assert compiled.gateways["lan"].host == "h1"  # type: ignore[index]
        assert [str(gateway.name) for gateway in compiled.slices["h1"].gateways] == ["lan"]
    answers = limited(
        {"h1": state, "h2": host()}, placed(one="h1", two="h1"), **{**LAN, "dos_subnets": {"lan": subnet}}
    )
    assert compile_situation(answers).gateways["lan"].host == "h2"  # type: ignore[index]


def test_a_gateway_does_not_move_to_a_host_without_an_answer() -> None:
    held = limited({"h1": host("one", "two")}, unasked=(), **LAN)
    with pytest.raises(DeclarationError, match="host h2 is unreachable: move the gateway to a host that answers"):
        compile_situation(held, moves={"lan": "h2"})


def test_vms_that_are_kept_apart_stay_so_while_one_of_them_is_on_a_host_without_an_answer() -> None:
    """By racks: h2 has `one` and does not answer, and h1 is in its rack."""
    racks = {
        "dos_host_groups": {"r1": {"key": "rack", "hosts": ["h1", "h2"]}, "r2": {"key": "rack", "hosts": ["h3"]}},
        "dos_instances": {"web": {**INSTANCE, "placement": {"anti_affinity": [{"to": ["web"], "by": "rack"}]}}},
    }
    held = limited({"h1": host(), "h3": host()}, placed(one="h2"), unasked=(), **racks)
    assert held.decisions["one"].host is None
    assert held.decisions["two"].host == "h3"
