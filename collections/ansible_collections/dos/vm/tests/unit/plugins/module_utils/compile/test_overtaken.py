# SPDX-License-Identifier: GPL-3.0-or-later
"""Controllers that contradict each other and are held up anywhere between reading and defining make no machine twice (law 8).

What the real ones do is in `tests/lab/test_store.py`; here are all the ways in which their steps may come one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dosvm.compile.memory import Memory, Placement
from dosvm.compile.recall import Recall
from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.slice import Permission
from dosvm.plan.fence import overtaken
from dosvm.plan.plan import Context
from dosvm.site.load import load
from dosvm.site.site import Site

HOSTS = ("h1", "h2", "h3")
FACTS = FakeHypervisor().facts()
VM = "one"
HELD = st.sampled_from(["to h1", "to h2", "to any"])


def site(vm: Mapping[str, Any]) -> Site:
    declared = {
        "dos_projects": {"shop": {}},
        "dos_pools": {"common": {"path": "/srv/common", "shared": True}},
        "dos_instances": {
            "web": {
                "project": "shop",
                "memory": "64 MiB",
                "disks": [{"pool": "common", "capacity": "1 MiB"}],
                "vms": {VM: dict(vm)},
            }
        },
    }
    return load(declared, hosts=HOSTS)


SITES = {"to h1": site({"host": "h1"}), "to h2": site({"host": "h2"}), "to any": site({})}


@dataclass
class Controller:
    """One of them, and how far it has come: what it read, what it decided, whether it may define."""

    site: Site
    states: dict[str, HostState] | None = None
    generation: int = 0  # of the placements, before it read the hosts
    memory: Memory = field(default_factory=Memory)
    made: Compiled | None = None
    told: bool = False  # the hosts that its decision takes something from
    claimed: bool = False


class Race(RuleBasedStateMachine):
    """Every step of every controller at any time, and the claims kept by compare-and-set."""

    def __init__(self) -> None:
        super().__init__()
        self.on: dict[str, set[str]] = {host: set() for host in HOSTS}
        self.made: dict[str, set[str]] = {host: set() for host in HOSTS}
        self.fences: dict[str, dict[str, int]] = {host: {} for host in HOSTS}
        self.store: dict[str, Placement] = {}
        self.surveyed: frozenset[str] = frozenset()
        self.controllers = {name: Controller(site=held) for name, held in SITES.items()}

    @rule(name=HELD, silent=st.sampled_from([None, None, *HOSTS]))
    def begins(self, name: str, silent: str | None) -> None:
        """Read the hosts."""
        states = {
            host: HostState(
                facts=replace(FACTS, fences=dict(self.fences[host]) or None),
                domains={vm: True for vm in self.on[host]},
                active={vm: (1, 2**26) for vm in self.on[host]},
                volumes=frozenset(f"common/{vm}-vda" for vm in self.made[host]),
            )
            for host in HOSTS
            if host != silent
        }
        self.controllers[name] = Controller(site=SITES[name], states=states, generation=self.generation())

    @rule(name=HELD)
    def goes_on(self, name: str) -> None:
        """The next step of a run, whatever others have done since its last one."""
        held = self.controllers[name]
        if held.states is None:
            self.begins(name, None)
        elif held.made is None:
            self.decides(name)
        elif not held.told:
            self.tells_the_hosts_it_takes_from(name)
        elif not held.claimed:
            held.claimed = self.claims(held.memory, held.made.placements)
            self.surveyed |= frozenset(held.states) if held.claimed else frozenset()
            if not held.claimed:
                self.begins(name, None)
        else:
            for host in held.states:
                self.makes_a_host_so(name, host)
            self.controllers[name] = Controller(site=held.site)

    def decides(self, name: str) -> None:
        held = self.controllers[name]
        assert held.states is not None
        if self.generation() != held.generation:
            self.begins(name, None)  # what it read may be older than what it would remember
            return
        held.memory = Memory(placements=dict(self.store), surveyed=self.surveyed)
        held.made = compile_site(held.site, held.states, now=0.0, memory=held.memory)

    def generation(self) -> int:
        return Memory(placements=self.store).generation

    def claims(self, before: Memory, after: tuple[Placement, ...]) -> bool:
        for one in after:
            known, now = before.placements.get(one.vm), self.store.get(one.vm)
            if (known.epoch if known else 0) != (now.epoch if now else 0):
                return False
        self.store |= {one.vm: one for one in after}
        return True

    def tells_the_hosts_it_takes_from(self, name: str) -> None:
        held = self.controllers[name]
        assert held.made is not None
        there = False
        for host, epochs in held.made.taken.items():
            for vm, epoch in epochs.items():
                self.fences[host][vm] = max(epoch, self.fences[host].get(vm, 0))
                there = there or vm in self.on[host]
        if there:
            self.controllers[name] = Controller(site=held.site)  # reads and decides once more
        else:
            held.told = True

    def makes_a_host_so(self, name: str, host: str) -> None:
        held = self.controllers[name]
        assert held.made is not None
        context = Context(
            site="dos", host=replace(FACTS, fences=self.fences[host]), permission=Permission(), observed={}
        )
        for domain in held.made.slices[host].domains:
            vm = str(domain.name)
            if domain.active and vm not in self.on[host] and overtaken(Address("domain", vm), domain, context) is None:
                self.on[host].add(vm)
                self.made[host].add(vm)

    @rule(name=HELD, to=st.sampled_from(HOSTS))
    def moves_it(self, name: str, to: str) -> None:
        """Claimed, told to the host it leaves, and moved; by what was read at any time before."""
        held = self.controllers[name]
        if held.states is None or held.made is None:
            return
        recall = Recall(held.memory, held.states, HOSTS)
        source = next((host for host, state in held.states.items() if VM in state.domains and host != to), None)
        if source is None or to not in held.states:
            return
        leaving = recall.leave({VM: to})
        if not self.claims(held.memory, leaving):
            return
        self.fences[source][VM] = max(leaving[0].epoch, self.fences[source].get(VM, 0))
        if VM in self.on[source]:  # libvirt moves only what is there
            self.on[source].discard(VM)
            self.on[to].add(VM)
            self.made[to].add(VM)

    @invariant()
    def nothing_runs_twice(self) -> None:
        assert sum(VM in held for held in self.on.values()) <= 1, (self.on, self.store, self.fences)


TestNothingIsMadeTwice = Race.TestCase
TestNothingIsMadeTwice.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
