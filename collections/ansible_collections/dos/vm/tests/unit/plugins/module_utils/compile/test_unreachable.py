# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without an answer changes nothing on the others: its VMs and its gateways may run, and only its sshd may be dead.

Laws over sites of several hosts that were applied once; each asks of what the next run makes without one of them. The oracle
is what the hosts have: no slice of the run before is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosvm.apply import converge
from dosvm.compile.memory import NOTHING, Memory, Placement
from dosvm.compile.placing import situation
from dosvm.compile.site import Compiled, compile_site, compile_situation
from dosvm.compile.states import HostState, Kept, Tunnel
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.bridge import Bridge
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import Address, Name
from dosvm.plan.host import plan_host
from dosvm.plan.plan import Context
from dosvm.site.load import load
from dosvm.site.site import Site

HOSTS = ("h1", "h2", "h3")
ADDRESSES = {"h1": "10.9.0.1", "h2": "10.9.0.2", "h3": "10.9.0.3", "h4": "10.9.0.4"}
FACTS = FakeHypervisor().facts()
SIZE = (1, 2**26)


def network(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "bridge", "bridge": f"br-{number}", "stp": False, "vxlan": {"id": number}, **more}


def read(variables: Mapping[str, Any], hosts: Iterable[str] = HOSTS) -> Site:
    return load(dict(variables), hosts=tuple(hosts), address_of=lambda host: ADDRESSES[host])


def applied(compiled: Compiled) -> dict[str, HostState]:
    """What the hosts tell once all slices are made so."""
    return {host: _state(slice_) for host, slice_ in compiled.slices.items()}


def _state(slice_: Slice) -> HostState:
    return HostState(
        facts=FACTS,
        domains={str(domain.name): True for domain in slice_.domains},
        active={str(domain.name): SIZE for domain in slice_.domains if domain.active},
        volumes=frozenset(f"{volume.pool}/{volume.name}" for volume in slice_.volumes),
        gateways={str(gateway.name): True for gateway in slice_.gateways},
        addresses=tuple(_addresses(slice_)),
        tunnels={
            (bridge.vxlan.id, bridge.vxlan.port): Tunnel(bridge.vxlan.local, frozenset(bridge.vxlan.peers))
            for bridge in slice_.bridges
            if bridge.vxlan
        },
    )


def _addresses(slice_: Slice) -> Iterable[Kept]:
    for gateway in slice_.gateways:
        for subnet in gateway.subnets:
            for held in subnet.dhcp.hosts if subnet.dhcp else ():
                yield Kept(str(gateway.name), held.ip, held.mac or "", held.name or "")


def recorded(compiled: Compiled) -> Memory:
    """What a store says after that run and the next look at the hosts."""
    placed = {vm: made.host for vm, made in compiled.decisions.items() if made.host}
    rows = {vm: Placement(vm=vm, host=host, epoch=1, seen=True, project="p") for vm, host in placed.items()}
    return Memory(placements=rows, surveyed=frozenset(compiled.slices))


def peers(slice_: Slice) -> dict[str, set[str]]:
    return {str(bridge.name): set(map(str, bridge.vxlan.peers)) for bridge in slice_.bridges if bridge.vxlan}


def without(states: Mapping[str, HostState], *gone: str) -> dict[str, HostState]:
    return {host: state for host, state in states.items() if host not in gone}


WEB: dict[str, Any] = {
    "dos_projects": {"p": {}},
    "dos_networks": {"front": network(100), "back": network(200)},
    "dos_instances": {
        "web": {
            "project": "p",
            "memory": "64 MiB",
            "interfaces": [{"network": "front"}],
            "vms": {"w1": {"host": "h1"}, "w2": {"host": "h2"}, "w3": {"host": "h3"}},
        },
        "db": {"project": "p", "memory": "64 MiB", "interfaces": [{"network": "back"}], "vms": {"d1": {"host": "h1"}}},
    },
}


@pytest.mark.parametrize("with_store", [True, False])
def test_a_host_without_an_answer_stays_an_end_of_the_tunnels(with_store: bool) -> None:
    site = read(WEB)
    first = compile_site(site, {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    memory = recorded(first) if with_store else NOTHING
    again = compile_site(site, without(applied(first), "h2"), now=0.0, memory=memory)
    assert (
        peers(again.slices["h1"]) == peers(first.slices["h1"]) == {"br-100": {"10.9.0.2", "10.9.0.3"}, "br-200": set()}
    )
    assert peers(again.slices["h3"]) == {"br-100": {"10.9.0.1", "10.9.0.2"}}


def test_it_stays_one_where_a_host_has_it_as_a_peer_and_nothing_else_is_known() -> None:
    """Its VM is no longer declared, and without a store nothing but the other hosts' peers tells of it."""
    states = {host: HostState(facts=FACTS) for host in ("h1", "h3")}
    states["h1"] = replace(
        states["h1"], tunnels={(100, 4789): Tunnel(Address("10.9.0.1"), frozenset([Address("10.9.0.2")]))}
    )
    vms = {"w1": {"host": "h1"}, "w3": {"host": "h3"}}
    instances = {**WEB["dos_instances"], "web": {**WEB["dos_instances"]["web"], "vms": vms}}
    made = compile_site(read({**WEB, "dos_instances": instances}), states, now=0.0)
    assert "10.9.0.2" in peers(made.slices["h1"])["br-100"]
    assert "10.9.0.2" in peers(made.slices["h3"])["br-100"], "the host without the peer gets it back"
    assert "br-200" not in peers(made.slices["h3"])


def test_an_address_that_the_inventory_no_longer_has_stays_while_a_host_does_not_answer() -> None:
    """A slip in a host's address makes it unreachable; the tunnels to where it really is are not cut."""
    first = compile_site(read(WEB), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    mistyped = load(dict(WEB), hosts=HOSTS, address_of=lambda host: {**ADDRESSES, "h2": "10.9.0.22"}[host])
    again = compile_site(mistyped, without(applied(first), "h2"), now=0.0)
    assert {"10.9.0.2", "10.9.0.3"} <= peers(again.slices["h1"])["br-100"]


def test_a_peer_goes_when_its_host_answered_and_has_no_end() -> None:
    first = compile_site(read(WEB), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    vms = {"w1": {"host": "h1"}, "w3": {"host": "h3"}}
    instances = {**WEB["dos_instances"], "web": {**WEB["dos_instances"]["web"], "vms": vms}}
    states = applied(first)
    states["h2"] = replace(states["h2"], domains={}, active={})
    again = compile_site(read({**WEB, "dos_instances": instances}), states, now=0.0)
    assert peers(again.slices["h1"])["br-100"] == {"10.9.0.3"}
    assert _bridge(again, "h1").vxlan.unused == ("10.9.0.2",)  # type: ignore[union-attr]


def test_a_peer_goes_when_its_host_is_dead() -> None:
    first = compile_site(read(WEB), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    vms = {"w1": {"host": "h1"}, "w3": {"host": "h3"}}
    instances = {**WEB["dos_instances"], "web": {**WEB["dos_instances"]["web"], "vms": vms}}
    held = situation(
        read({**WEB, "dos_instances": instances}),
        without(applied(first), "h2"),
        now=0.0,
        memory=Memory(dead=frozenset(["h2"])),
    )
    again = compile_situation(held)
    assert peers(again.slices["h1"])["br-100"] == {"10.9.0.3"}


def test_a_host_that_left_the_inventory_keeps_its_end_until_it_is_released() -> None:
    first = compile_site(read(WEB), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    vms = {"w1": {"host": "h1"}, "w2": {}, "w3": {"host": "h3"}}
    instances = {**WEB["dos_instances"], "web": {**WEB["dos_instances"]["web"], "vms": vms}}
    smaller, memory = read({**WEB, "dos_instances": instances}, ("h1", "h3")), recorded(first)
    again = compile_site(smaller, without(applied(first), "h2"), now=0.0, memory=memory)
    assert "10.9.0.2" in peers(again.slices["h1"])["br-100"]
    released = {
        vm: replace(row, host=None, seen=False) if row.host == "h2" else row for vm, row in memory.placements.items()
    }
    over = compile_site(smaller, without(applied(first), "h2"), now=0.0, memory=replace(memory, placements=released))
    assert peers(over.slices["h1"])["br-100"] == {"10.9.0.3"}


def test_a_vm_against_the_binding_of_its_network_keeps_the_end_of_its_host() -> None:
    first = compile_site(read(WEB), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    narrower = {**WEB, "dos_networks": {**WEB["dos_networks"], "front": network(100, hosts=["h1", "h3"])}}
    vms = {"w1": {"host": "h1"}, "w2": {}, "w3": {"host": "h3"}}
    instances = {**WEB["dos_instances"], "web": {**WEB["dos_instances"]["web"], "vms": vms}}
    again = compile_site(read({**narrower, "dos_instances": instances}), applied(first), now=0.0)
    assert again.decisions["w2"].host == "h2", "it runs there"
    assert "10.9.0.2" in peers(again.slices["h1"])["br-100"]


def test_a_host_that_may_have_the_gateway_stays_an_end() -> None:
    subnet = {"address": "10.0.0.0/24", "gateway": "10.0.0.1", "automatic_gateway": {}}
    networks = {"front": network(100, subnet="lan"), "back": network(200)}
    site = read({**WEB, "dos_subnets": {"lan": subnet}, "dos_networks": networks})
    states = {host: HostState(facts=FACTS, domains={f"w{host[1]}": True, "d1": host == "h1"}) for host in ("h1", "h3")}
    made = compile_site(site, states, now=0.0)
    assert made.gateways[Name("front")].host is None
    assert "10.9.0.2" in peers(made.slices["h1"])["br-100"]


def test_the_plan_interrupts_nothing_and_removes_no_peer() -> None:
    """Whatever the facts left out, a host gives up no peer that may be in use."""
    first = compile_site(read(WEB), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    vms = {"w1": {"host": "h1"}, "w3": {"host": "h3"}}
    instances = {**WEB["dos_instances"], "web": {**WEB["dos_instances"]["web"], "vms": vms}}
    blind = {host: replace(state, tunnels={}) for host, state in without(applied(first), "h2").items()}
    again = compile_site(read({**WEB, "dos_instances": instances}), blind, now=0.0)
    host = FakeHypervisor()
    converge(first.slices["h1"], host, permission=Permission())
    before = host.observe("dos")
    context = Context(site="dos", host=host.facts(), permission=Permission(), observed=before)
    (plan,) = (one for one in plan_host(again.slices["h1"], context) if str(one.address) == "bridge br-100")
    assert (plan.needs, plan.actions) == ("restart", ())
    assert [planned.change.path for planned in plan.pending] == ["vxlan.peers[10.9.0.2]"]


def _bridge(compiled: Compiled, host: str) -> Bridge:
    return next(bridge for bridge in compiled.slices[host].bridges if bridge.name == "br-100")


# The law

NAMES = ("a1", "a2", "b1", "b2", "c1", "c2")


@st.composite
def sites(draw: st.DrawFn) -> dict[str, Any]:
    """Instances on networks with tunnels, gateways and groups that name each other; disks of their own and shared ones."""
    hosts = st.sampled_from(HOSTS[:2])
    lan = {
        "address": "10.0.0.0/24",
        "gateway": "10.0.0.1",
        "automatic_gateway": draw(st.sampled_from([{}, {"host": "h1"}])),
    }
    lan |= {"dhcp": {}, "pool": [{"start": "10.0.0.10", "end": draw(st.sampled_from(["10.0.0.99", "10.0.0.17"]))}]}
    front = st.fixed_dictionaries({"network": st.just("front"), "security_group": st.sampled_from(["one", "two"])})
    others = st.fixed_dictionaries({"network": st.sampled_from(["back", "wire"])})
    interfaces = st.lists(front | others, min_size=1, max_size=2, unique_by=lambda card: card["network"])
    disks = st.lists(
        st.sampled_from([{"pool": "common", "capacity": "1 MiB"}, {"pool": "own", "capacity": "1 MiB"}]), max_size=2
    )
    instances = {}
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True)):
        vms = [vm for vm in NAMES if vm.startswith(name)]
        instances[name] = {
            "project": "p",
            "memory": "64 MiB",
            "interfaces": draw(interfaces),
            "disks": draw(disks),
            "vms": {vm: draw(st.sampled_from([{}, {"host": draw(hosts)}])) for vm in vms},
        }
    rule = {"direction": "in", "protocol": "tcp", "ports": ["80"]}
    return {
        "dos_projects": {"p": {}},
        "dos_pools": {"common": {"path": "/srv/common", "shared": True}, "own": {"path": "/srv/own"}},
        "dos_subnets": {"lan": lan},
        "dos_networks": {
            "front": network(100, subnet="lan"),
            "back": network(200, **draw(st.sampled_from([{}, {"hosts": ["h1", "h2"]}]))),
            "wire": network(300, hosts="all"),
        },
        "dos_security_groups": {
            "one": {"rules": [{**rule, "groups": ["two"]}]},
            "two": {"rules": [{**rule, "groups": ["one", "two"]}]},
        },
        "dos_instances": instances,
    }


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(sites(), st.sampled_from(HOSTS), st.booleans(), st.booleans())
def test_a_host_without_an_answer_changes_nothing_on_the_others(
    variables: dict[str, Any], left_out: str, with_store: bool, asked: bool
) -> None:
    """Whether it is unreachable or, by a limit, was not asked; then nothing is written about its VMs either."""
    site = read(variables)
    first = compile_site(site, {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0)
    states, memory = applied(first), recorded(first) if with_store else NOTHING
    steady = compile_site(site, states, now=0.0, memory=memory)
    unasked = frozenset() if asked else frozenset([left_out])
    held = situation(site, without(states, left_out), now=0.0, memory=memory, unasked=unasked)
    again = compile_situation(held)
    for host in set(HOSTS) - {left_out}:
        assert again.slices[host] == steady.slices[host]
    there = {vm for vm, made in first.decisions.items() if made.host == left_out}
    if not asked:
        assert not there & (held.changes().keys() | held.pending().keys())
