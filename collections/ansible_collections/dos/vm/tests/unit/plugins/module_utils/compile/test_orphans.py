# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that run and are no longer declared keep what they have: MAC, address, disks, quota, neighbours, tunnel ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dosvm.compile.admission import contradictions, refused_starts
from dosvm.compile.memory import NOTHING, Memory, Placement
from dosvm.compile.placing import Situation, situation
from dosvm.compile.site import Compiled, compile_situation
from dosvm.compile.states import HostState, HostVm, Kept, Plug
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.types import Address, ByteSize
from dosvm.site.device_sources import Source
from dosvm.site.load import load
from dosvm.site.usage import used

FACTS = replace(FakeHypervisor().facts(), memory=ByteSize("8 GiB"), cpus=16)
HOSTS = ("h1", "h2", "h3")
MAC = "52:54:00:b0:60:01"
MIB = 2**20
INSTANCE: dict[str, Any] = {
    "project": "p",
    "memory": "64 MiB",
    "vcpus": 2,
    "interfaces": [{"network": "lan", "security_group": "web"}],
    "vms": {"new": {"ip": {"lan": "10.20.0.13"}}},
}
SITE: dict[str, Any] = {
    "dos_projects": {"p": {"quota": {"vcpus": 4}}},
    "dos_pools": {"common": {"path": "/srv/common", "shared": True}},
    "dos_volumes": {"data": {"pool": "common", "capacity": "1 GiB"}},
    "dos_subnets": {
        "lan": {
            "address": "10.20.0.0/24",
            "gateway": "10.20.0.1",
            "dhcp": {},
            "pool": [{"start": "10.20.0.100", "end": "10.20.0.103"}],
            "automatic_gateway": {},
        }
    },
    "dos_networks": {"lan": {"type": "bridge", "bridge": "br-lan", "subnet": "lan", "vxlan": {"id": 7}}},
    "dos_security_groups": {"web": {"rules": [{"direction": "in", "protocol": "tcp", "groups": ["web"]}]}},
    "dos_instances": {"web": INSTANCE},
}


def orphan(mac: str = MAC, network: str = "lan", **more: Any) -> HostVm:
    plugs = (Plug(mac=mac, network=network, filter="sg.web"),) if mac else ()
    return replace(HostVm(project="p", instance="web", vcpus=2, memory=64 * MIB, plugs=plugs), **more)


def state(name: str = "", vm: HostVm | None = None, *, active: bool = True, **more: Any) -> HostState:
    """A host, with one VM on it."""
    if vm is None:
        return HostState(facts=FACTS, active={}, **more)
    running = {name: (vm.vcpus, vm.memory)} if active else {}
    return HostState(facts=FACTS, domains={name: True}, active=running, vms={name: vm}, **more)


def kept(ip: str = "10.20.0.13", mac: str = MAC, name: str = "old", network: str = "lan", *, firm: bool = True) -> Kept:
    return Kept(network=network, ip=Address(ip), mac=mac, name=name, firm=firm)


def held(
    states: dict[str, HostState], *, prune: bool = False, memory: Memory = NOTHING, on: Any = (), **more: Any
) -> Situation:
    declared = {**SITE, **{f"dos_{kind}": what for kind, what in more.items()}}
    addresses = dict(zip(HOSTS, ("10.9.0.1", "10.9.0.2", "10.9.0.3"), strict=True))
    site = load(declared, hosts=HOSTS, address_of=addresses.get)
    return situation(site, states, now=0.0, prune=prune, memory=memory, on=frozenset(on))


def instance(**more: Any) -> dict[str, Any]:
    return {"web": {**INSTANCE, **more}}


def domain(made: Compiled, name: str = "new") -> Any:
    return next(domain for slice_ in made.slices.values() for domain in slice_.domains if domain.name == name)


def fleet(**more: HostState) -> dict[str, HostState]:
    return {**{host: state() for host in HOSTS}, **more}


# --------------------------------------------------------------------------------------------- addresses and disks


def test_a_vm_with_the_address_of_one_that_still_runs_is_not_started() -> None:
    """The gateway, which is on another host, knows whose address it is."""
    found = held(fleet(h1=state("old", orphan()), h2=state(gateways={"lan": True}, addresses=(kept(),))))
    text = "10.20.0.13 is still used by VM old, which runs on h1 and is no longer declared: remove it (dos_prune: true)"
    assert found.handovers.blocked["new"].startswith(text)
    assert found.pending()["new"].startswith(text)
    made = compile_situation(found)
    assert not domain(made).active
    (gateway,) = made.slices["h2"].gateways
    (subnet,) = gateway.subnets
    assert subnet.dhcp is not None
    assert [(host.mac, host.ip, host.name) for host in subnet.dhcp.hosts] == [(MAC, "10.20.0.13", "old")]


def test_an_address_that_its_filter_allows_is_known_without_dhcp() -> None:
    vm = orphan(plugs=(Plug(mac=MAC, network="lan", ips=("10.20.0.13",)),))
    assert "10.20.0.13 is still used" in held(fleet(h1=state("old", vm))).handovers.blocked["new"]


def test_a_vm_with_the_mac_of_one_that_still_runs_is_not_started() -> None:
    vms = {"new": {"mac": {"lan": MAC}}}
    text = held(fleet(h1=state("old", orphan())), instances=instance(vms=vms)).handovers.blocked["new"]
    assert text.startswith(f"MAC {MAC} is still used by VM old, which runs on h1")


def test_a_vm_that_is_off_has_nothing() -> None:
    found = held(fleet(h1=state("old", orphan(), active=False), h2=state(addresses=(kept(),))))
    assert found.handovers.blocked == {}
    assert domain(compile_situation(found)).active


def test_with_prune_the_new_one_is_started_when_the_old_one_is_off() -> None:
    for host in HOSTS:
        states = fleet(h1=state("old", orphan()), h2=state(addresses=(kept(),)))
        made = compile_situation(held(states, prune=True, instances=instance(host=host)))
        assert domain(made).active
        assert made.slices[host].waits == ("new",), "not in the first pass"
        (wave,) = made.waves
        assert wave.gates == ("old on h1, which must be off",)
        assert wave.starts == {"new": (host, (0,))}
        (check,) = wave.checks["h1"]
        assert (check.name, check.off, check.gate) == ("old", True, 0)


def test_a_gate_is_beside_those_that_are_declared() -> None:
    """Who comes after others and after one that is removed waits for both; and what comes after that one waits for it."""
    vms = {"new": INSTANCE["vms"]["new"], "last": {"after": [{"name": "new"}]}}
    instances = instance(vms=vms, after=[{"name": "db"}]) | {
        "db": {"project": "p", "memory": "64 MiB", "vms": {"db": {}}}
    }
    states = fleet(h1=state("old", orphan()), h2=state(addresses=(kept(),)))
    first, second = compile_situation(held(states, prune=True, instances=instances, projects={"p": {}})).waves
    assert first.starts["new"][1] == (0, 1)
    assert first.gates[1] == "old on h1, which must be off"
    assert list(second.starts) == ["last"]


def test_addresses_of_a_vm_that_still_runs_are_not_given_to_others() -> None:
    """The pool has four: the new one gets another, whatever its name hashes to."""
    taken = [kept(f"10.20.0.{last}") for last in (100, 101, 103)]
    states = fleet(h1=state("old", orphan(), addresses=tuple(taken)))
    found = held(states, instances=instance(vms={"new": {}}))
    assert found.handovers.blocked == {}
    (machine,) = (one for found in compile_situation(found).machines.values() for one in found)
    assert machine.ips(0) == ("10.20.0.102",)


def test_a_disk_that_an_undeclared_vm_writes_is_not_written_by_another() -> None:
    """Under whatever name: the volume's file, as a disk that was attached by hand."""
    writer = instance(disks=[{"volume": "data"}], vms={"new": {}})
    for source in (Source(name="data", pool="common"), Source(name="/srv/common/data")):
        found = held(fleet(h1=state("old", orphan(mac="", writes=(source,)))), instances=writer)
        assert "volume data is still used by VM old" in found.handovers.blocked["new"]
    assert held(fleet(h1=state("old", orphan(mac=""))), instances=writer).handovers.blocked == {}


def test_a_disk_goes_from_host_to_host_when_the_vm_that_had_it_is_off() -> None:
    """The first is declared off and runs still: the second is started after it, in the same run."""
    writer = {"disks": [{"volume": "data"}], "interfaces": []}
    instances = {
        "a": {**INSTANCE, **writer, "host": "h1", "vms": {"a1": {"power": "off"}}},
        "b": {**INSTANCE, **writer, "host": "h2", "vms": {"b1": {}}},
    }
    states = fleet(h1=state("a1", orphan(mac="", writes=(Source(name="data", pool="common"),))))
    made = compile_situation(held(states, instances=instances))
    assert not domain(made, "a1").active
    (wave,) = made.waves
    assert (list(wave.starts), wave.gates) == (["b1"], ("a1 on h1, which must be off",))


def test_a_disk_is_not_started_beside_a_vm_that_runs_by_an_older_definition() -> None:
    instances = {
        "a": {**INSTANCE, "interfaces": [], "vms": {"a1": {}}},
        "b": {**INSTANCE, "disks": [{"volume": "data"}], "interfaces": [], "host": "h2", "vms": {"b1": {}}},
    }
    states = fleet(h1=state("a1", orphan(mac="", writes=(Source(name="data", pool="common"),))))
    text = "volume data is still used by VM a1, which runs on h1: stop or restart it"
    assert held(states, instances=instances).handovers.blocked == {"b1": text}


def test_what_is_on_an_unreachable_host_is_known_by_what_others_have_for_it() -> None:
    memory = Memory(placements={"old": Placement(vm="old", host="h1", epoch=1, seen=True, project="p")})
    states = {"h2": state(gateways={"lan": True}, addresses=(kept(),)), "h3": state()}
    found = held(states, memory=memory, instances=instance(hosts=["h2"]))
    assert (
        "used by VM old, which may run on h1, which is unreachable, and is no longer declared"
        in found.handovers.blocked["new"]
    )
    assert "dos.vm.release -e dos_release=h1" in found.handovers.blocked["new"]


def test_a_power_operation_does_not_start_it_either() -> None:
    states = fleet(h1=state("old", orphan()), h2=state("new", orphan(mac=""), active=False, addresses=(kept(),)))
    off = instance(vms={"new": {"ip": {"lan": "10.20.0.13"}, "power": "off"}})
    (found,) = refused_starts(held(states, on={"new"}, instances=off), frozenset(["new"]))
    assert "cannot be started: 10.20.0.13 is still used by VM old" in found.text


# ------------------------------------------------------------------------------------------------------- shares


def test_it_counts_for_the_quota_of_its_project() -> None:
    three = instance(vms={"new": {}, "second": {}})
    free = held(fleet(), instances=three)
    assert contradictions(free, None) == []
    beside = held(fleet(h1=state("old", orphan())), instances=three)
    assert used(beside.site, beside.intent, beside.counted)["p", "vcpus"] == 6
    (found,) = contradictions(beside, None)
    text = "quota vcpus of project p is 4: 4 used, 2 requested; of that 2 by old on h1, no longer declared: remove it"
    assert text in found.text
    assert contradictions(held(fleet(h1=state("old", orphan())), prune=True, instances=three), None) == []
    assert contradictions(beside, {("p", "vcpus"): 6}) == [], "QUOTA-06"


def test_its_volumes_count_until_they_are_gone() -> None:
    vm = orphan(writes=(Source(name="old-vda", pool="common"), Source(name="data", pool="common")))
    sizes = {"common/old-vda": 5 * MIB, "common/data": 7 * MIB}
    (counted,) = held(fleet(h1=state("old", vm, active=False, capacities=sizes))).counted
    assert (counted.vcpus, counted.memory, counted.disk) == (0, 0, 5 * MIB), "a declared volume counts by itself"


def test_others_keep_apart_from_it() -> None:
    apart = {"placement": {"anti_affinity": [{}]}, "vms": {"new": {}}}
    for host in HOSTS[:2]:
        found = held(fleet(**{host: state("old", orphan())}), instances=instance(**apart, hosts=list(HOSTS[:2])))
        assert found.decisions["new"].host not in (None, host)
    full = {host: state(f"old-{host}", orphan()) for host in HOSTS}
    assert held(full, instances=instance(**apart)).decisions["new"].host is None
    pruned = held(full, prune=True, instances=instance(**apart))
    assert pruned.decisions["new"].host is not None


def test_it_stays_a_member_of_its_security_group() -> None:
    found = held(fleet(h1=state("old", orphan(), addresses=(kept("10.20.0.77"),))), instances=instance(host="h2"))
    (filter_,) = compile_situation(found).slices["h2"].nwfilters
    sources = {rule.match.get("srcipaddr") for rule in filter_.rules if rule.match}
    assert {"10.20.0.13", "10.20.0.77"} <= sources


def test_its_host_stays_an_end_of_its_networks() -> None:
    for prune, ends in ((False, ("10.9.0.1",)), (True, ())):
        states = fleet(h1=state("old", orphan()), h2=state(gateways={"lan": True}))
        made = compile_situation(held(states, prune=prune, instances=instance(host="h2")))
        (bridge,) = made.slices["h2"].bridges
        assert bridge.vxlan is not None
        assert bridge.vxlan.peers == ends
        assert [bridge.name for bridge in made.slices["h1"].bridges] == (["br-lan"] if ends else [])
