# SPDX-License-Identifier: GPL-3.0-or-later
"""Law 8 and quotas over what is intended and what runs: power overrides, VMs started by hand, VMs that are no longer declared, and
VMs that are to be off on an unreachable host, where they may run.

The oracle knows none of the library. It compares every VM that may be on with every other one, from what was drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from dosvm.compile.admission import contradictions, refused_starts
from dosvm.compile.memory import Memory, Placement
from dosvm.compile.placing import Situation, situation
from dosvm.compile.site import compile_situation
from dosvm.compile.states import HostState, HostVm, Kept, Plug
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.intent.power import Order
from dosvm.model.types import Address, ByteSize
from dosvm.site.device_sources import Source
from dosvm.site.load import load

HOSTS = ("h1", "h2", "h3")
FACTS = replace(FakeHypervisor().facts(), memory=ByteSize("64 GiB"), cpus=64)
MACS = tuple(f"52:54:00:00:00:0{number}" for number in range(4))
IPS = tuple(f"10.1.0.1{number}" for number in range(4))
DISKS = ("d0", "d1")
many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


class Vm(NamedTuple):
    """A VM as it is declared, if it is, and as its host has it."""

    name: str
    declared: bool
    power: bool
    override: bool | None
    host: str
    vcpus: int
    disk: str | None
    mac: str
    ip: str
    runs: bool
    # As it runs, perhaps by an older definition.
    now_disk: str | None
    now_mac: str
    now_ip: str

    @property
    def intended(self) -> bool:
        return self.declared and (self.power if self.override is None else self.override)


class World(NamedTuple):
    vms: tuple[Vm, ...]
    unreachable: frozenset[str]
    limit: int
    prune: bool

    def reachable(self, vm: Vm) -> bool:
        return vm.host not in self.unreachable

    @property
    def running(self) -> list[Vm]:
        return [vm for vm in self.vms if vm.runs and self.reachable(vm)]

    def stays_beside(self, vm: Vm) -> list[Vm]:
        """The VMs that run, or may run, when a VM is started, which have what it wants and do not go."""
        stays = [other for other in self.running if other.intended or not (self.prune or other.declared)]
        away = [other for other in self.vms if other.declared and not self.reachable(other) and not other.power]
        return [
            *(other for other in stays if other.name != vm.name and shared(self, vm, other)),
            *(other for other in away if vm.disk is not None and vm.disk == other.disk),
        ]

    @property
    def orphans(self) -> list[Vm]:
        return [vm for vm in self.running if not vm.declared and not self.prune]


@st.composite
def worlds(draw: Any) -> World:
    vms = []
    maybe = st.sampled_from([None, None, *DISKS])
    for number in range(draw(st.integers(1, 4))):
        declared, runs = draw(st.booleans()), draw(st.booleans())
        disk, older = draw(maybe), draw(st.booleans())
        vms.append(
            Vm(
                name=f"vm{number}",
                declared=declared,
                power=draw(st.booleans()),
                override=draw(st.sampled_from([None, None, True, False])),
                host=draw(st.sampled_from(HOSTS)),
                vcpus=draw(st.integers(1, 3)),
                disk=disk,
                mac=MACS[number],
                ip=IPS[number],
                runs=runs or not declared,
                now_disk=draw(maybe) if older or not declared else disk,
                now_mac=draw(st.sampled_from(MACS)) if older or not declared else MACS[number],
                now_ip=draw(st.sampled_from(IPS)) if not declared else IPS[number],
            )
        )
    unreachable = frozenset(draw(st.sets(st.sampled_from(HOSTS), max_size=1)))
    return World(tuple(vms), unreachable, draw(st.integers(0, 8)), draw(st.booleans()))


def variables(world: World) -> dict[str, Any]:
    instances = {
        vm.name: {
            "project": "p",
            "memory": "64 MiB",
            "vcpus": vm.vcpus,
            "host": vm.host,
            "disks": [{"volume": vm.disk}] if vm.disk else [],
            "interfaces": [{"network": "lan"}],
            "vms": {
                vm.name: {"power": "on" if vm.power else "off", "mac": {"lan": vm.mac}, "ip": {"lan": vm.ip}},
            },
        }
        for vm in world.vms
        if vm.declared
    }
    return {
        "dos_projects": {"p": {"quota": {"vcpus": world.limit}}},
        "dos_placement": {"homeless": "wait"},
        "dos_pools": {"common": {"path": "/srv/common", "shared": True}},
        "dos_volumes": {disk: {"pool": "common", "capacity": "1 MiB", "format": "raw"} for disk in DISKS},
        "dos_subnets": {"lan": {"address": "10.1.0.0/24", "gateway": "10.1.0.1"}},
        "dos_networks": {"lan": {"type": "bridge", "bridge": "br0", "subnet": "lan"}},
        "dos_instances": instances,
    }


def state(world: World, host: str) -> HostState:
    here = [vm for vm in world.vms if vm.host == host]
    overrides = [
        Order(at=1, vm=vm.name, on=vm.override, against=vm.power)
        for vm in here
        if vm.declared and vm.override is not None
    ]
    return HostState(
        facts=FACTS,
        domains={vm.name: True for vm in here},
        active={vm.name: (vm.vcpus, 64 * 2**20) for vm in here if vm.runs},
        orders=tuple(overrides),
        vms={
            vm.name: HostVm(
                project="p",
                instance=vm.name,
                vcpus=vm.vcpus,
                memory=64 * 2**20,
                plugs=(Plug(mac=vm.now_mac, network="lan"),),
                writes=(Source(name=vm.now_disk, pool="common"),) if vm.now_disk else (),
            )
            for vm in here
        },
        addresses=tuple(
            Kept(network="lan", ip=Address(vm.now_ip), mac=vm.now_mac, name=vm.name)
            for vm in here
            if vm.runs and not vm.declared
        ),
    )


def held(world: World, **more: Any) -> Situation:
    site = load(variables(world), hosts=HOSTS, check=False)
    states = {host: state(world, host) for host in HOSTS if host not in world.unreachable}
    seen = {vm.name: Placement(vm=vm.name, host=vm.host, epoch=1, seen=True, project="p") for vm in world.vms}
    memory = Memory(placements=seen, surveyed=frozenset(HOSTS))
    return situation(site, states, now=2.0, prune=world.prune, memory=memory, **more)


# ---------------------------------------------------------------------------------------------------------- oracle


def overridden(world: World) -> list[Vm]:
    """The VMs that are intended on. An override that is on an unreachable host is not known."""
    return [vm for vm in world.vms if vm.declared and (vm.intended if world.reachable(vm) else vm.power)]


def twice(vms: list[Vm]) -> bool:
    return any(one.disk and one.disk == other.disk for one, other in combinations(vms, 2))


def is_valid(world: World) -> bool:
    """Whether the declaration alone is in order."""
    on = [vm for vm in world.vms if vm.declared and vm.power]
    return not twice(on) and sum(vm.vcpus for vm in on) <= world.limit


def shared(world: World, vm: Vm, other: Vm) -> bool:
    """Whether a VM that starts would have something that another one has now. Hosts hand volumes over by themselves.

    DHCP knows an address by its MAC, so what it gave to one MAC is of all VMs that run with that.
    """
    by_its_host = other.declared and other.host == vm.host
    given = {one.now_ip for one in world.running if not one.declared and one.now_mac == other.now_mac}
    return (
        vm.mac == other.now_mac
        or (not other.declared and vm.ip in given)
        or (vm.disk is not None and vm.disk == other.now_disk and not by_its_host)
    )


@many
@given(worlds())
def test_a_run_is_refused_exactly_if_what_is_intended_breaks_a_rule(world: World) -> None:
    assume(is_valid(world))
    on = overridden(world)
    used = sum(vm.vcpus for vm in (*on, *world.orphans))
    # A limit that VMs pass which are no longer declared keeps others from growing; alone they keep what they have.
    grown = on and used > world.limit
    changed = world.orphans or {vm.name for vm in on} != {vm.name for vm in world.vms if vm.declared and vm.power}
    wrong = bool(changed and (twice(on) or grown))
    event("refused" if wrong else "allowed")
    assert bool(contradictions(held(world), None)) == wrong


def _off(vms: Iterable[Vm]) -> set[str]:
    return {f"{vm.name} on {vm.host}, which must be off" for vm in vms}


@many
@given(worlds())
def test_no_vm_starts_beside_one_that_has_what_it_wants(world: World) -> None:
    assume(is_valid(world))
    found = held(world)
    assume(not contradictions(found, None))
    made = compile_situation(found)
    gates = {
        vm: [wave.gates[gate] for gate in numbers] for wave in made.waves for vm, (_, numbers) in wave.starts.items()
    }
    for host, slice_ in made.slices.items():
        for domain in slice_.domains:
            vm = next(vm for vm in world.vms if vm.name == domain.name)
            if not domain.active or (vm.runs and world.reachable(vm)):
                continue
            others = [other for other in world.running if other.name != vm.name and shared(world, vm, other)]
            assert not world.stays_beside(vm), f"{vm.name} starts beside one that stays"
            # An address is known by the MAC that it is reserved for, so whoever has that MAC may have the address.
            macs = {other.now_mac for other in others}
            alike = [other for other in world.running if other.name != vm.name and other.now_mac in macs]
            assert _off(others) <= set(gates.get(vm.name, ())) <= _off([*others, *alike])
            assert bool(others) == (domain.name in slice_.waits)
            event("after another one" if others else "at once")
            assert host == vm.host


@many
@given(worlds())
def test_a_vm_that_nothing_stands_in_the_way_of_is_started(world: World) -> None:
    """It is kept from starting by what it would share, and by nothing else."""
    assume(is_valid(world))
    found = held(world)
    for vm in overridden(world):
        if world.reachable(vm) and not vm.runs:
            stays = world.stays_beside(vm)
            assert found.starts(vm.name) == (not stays)
            assert (vm.name in found.handovers.blocked) == bool(stays)


@many
@given(worlds(), st.data())
def test_a_power_operation_is_refused_exactly_if_it_breaks_a_rule(world: World, data: st.DataObject) -> None:
    world = world._replace(prune=False)
    able = [vm for vm in world.vms if vm.declared and not vm.runs and world.reachable(vm)]
    assume(able)
    chosen = data.draw(st.lists(st.sampled_from(able), unique=True, min_size=1))
    running = frozenset(vm.name for vm in world.running)
    names = frozenset(vm.name for vm in chosen)
    on = {vm.name: vm for vm in (*overridden(world), *(vm for vm in world.running if vm.declared))}
    after = {**on, **{vm.name: vm for vm in chosen}}
    writers = any(
        vm.disk and other.name != vm.name and vm.disk == other.disk for vm in chosen for other in after.values()
    )
    beside = sum(vm.vcpus for vm in world.orphans)
    before, then = (beside + sum(vm.vcpus for vm in vms.values()) for vms in (on, after))
    grown = then > max(world.limit, before)  # what was counted may start above a limit that was lowered
    met = any(world.stays_beside(vm) for vm in chosen) or any(
        shared(world, vm, other) for vm in chosen for other in world.running
    )
    event("refused" if writers or grown or met else "allowed")
    assert bool(refused_starts(held(world, on=names | running), names)) == (writers or grown or met)
