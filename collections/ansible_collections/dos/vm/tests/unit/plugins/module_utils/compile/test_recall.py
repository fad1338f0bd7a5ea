# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered lets new machines start while a host is silent, and never lets one run twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dosvm.compile.memory import Memory, Placement
from dosvm.compile.placing import situation
from dosvm.compile.recall import Recall
from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.intent.power import Order
from dosvm.site.load import load

HOSTS = ("h1", "h2", "h3")
FACTS = FakeHypervisor().facts()
DECLARED: dict[str, Any] = {
    "dos_projects": {"shop": {}},
    "dos_pools": {"common": {"path": "/srv/common", "shared": True}},
    "dos_instances": {
        "web": {
            "project": "shop",
            "memory": "64 MiB",
            "disks": [{"pool": "common", "capacity": "1 MiB"}],
            "vms": {"free": {}, "bound": {"host": "h2"}},
        }
    },
}
ALL = Memory(surveyed=frozenset(HOSTS))


def states(
    answering: Iterable[str],
    at: Mapping[str, Iterable[str]],
    off: Iterable[str] = (),
    made: Mapping[str, Iterable[str]] | None = None,
    **epochs: int,
) -> dict[str, HostState]:
    """Hosts that answer; `at` are the machines on each, which run unless they are `off`, and `made` those it knows disks of."""
    return {
        host: HostState(
            facts=FACTS,
            domains={vm: True for vm in at.get(host, ())},
            active={vm: (1, 2**26) for vm in at.get(host, ()) if vm not in off},
            volumes=frozenset(f"common/{vm}-vda" for vm in (made or {}).get(host, ())),
            epochs={vm: epoch for vm, epoch in epochs.items() if vm in at.get(host, ())},
        )
        for host in answering
    }


def compiled(memory: Memory, held: Mapping[str, HostState], hosts: Iterable[str] = HOSTS) -> Compiled:
    return compile_site(load(DECLARED, hosts=hosts), held, now=0.0, memory=memory)


def remembered(memory: Memory, made: Compiled, answering: Iterable[str]) -> Memory:
    placements = {**memory.placements, **{placement.vm: placement for placement in made.placements}}
    return Memory(placements=placements, surveyed=memory.surveyed | frozenset(answering))


def placed(vm: str, host: str | None, epoch: int = 1, *, seen: bool = True) -> Memory:
    return Memory(placements={vm: Placement(vm=vm, host=host, epoch=epoch, seen=seen)}, surveyed=ALL.surveyed)


def reason(made: Compiled, vm: str = "free") -> str:
    return f"{made.decisions[vm].host}: {made.decisions[vm].reason}"


def test_a_new_machine_need_not_wait_for_a_silent_host_that_is_known() -> None:
    assert compiled(ALL, states(["h1", "h3"], {})).decisions["free"].host in ("h1", "h3")


def test_it_waits_for_one_of_which_not_everything_is_known() -> None:
    known = Memory(surveyed=frozenset(["h1", "h3"]))
    waits = "None: waits: it may be on h2, and there is no answer from there"
    assert reason(compiled(known, states(["h1", "h3"], {}))) == waits


def test_what_was_placed_on_a_silent_host_waits_for_it() -> None:
    made = compiled(placed("free", "h2"), states(["h1", "h3"], {}))
    assert reason(made) == "None: waits: it is on h2, and there is no answer from there"
    assert "free" not in {change.vm for change in made.placements}


def test_what_was_placed_on_a_host_that_left_the_inventory_waits_for_a_persons_word() -> None:
    made = compiled(placed("free", "h9"), states(HOSTS, {}))
    assert "placed on h9, which is not in the inventory" in reason(made)
    assert "-e dos_release=h9" in reason(made)


def test_what_was_let_go_is_placed_anew_under_a_higher_epoch() -> None:
    made = compiled(placed("free", None, 4, seen=False), states(["h1", "h3"], {}))
    (change,) = (change for change in made.placements if change.vm == "free")
    assert change.host in ("h1", "h3")
    assert change.epoch == 5


def test_a_machine_that_is_being_made_stays_where_it_was_placed() -> None:
    """Another controller may be defining it there this very moment."""
    for host in HOSTS:
        assert compiled(placed("free", host, seen=False), states(HOSTS, {})).decisions["free"].host == host


def test_one_that_vanished_from_its_host_may_have_been_taken_to_a_silent_one() -> None:
    made = compiled(placed("free", "h1"), states(["h1", "h3"], {}))
    assert "it was on h1, is not there any more, and may be on h2" in reason(made)
    assert compiled(placed("free", "h1", seen=False), states(["h1", "h3"], {})).decisions["free"].host == "h1"
    assert compiled(placed("free", "h1"), states(HOSTS, {})).decisions["free"].host == "h1"


def test_a_claim_of_which_there_are_disks_may_have_been_followed_and_the_machine_taken_away() -> None:
    """Found by the machine below: h1 was told to make it, nobody looked afterwards, and a person took it to h2."""
    claimed = placed("free", "h1", seen=False)
    made = compiled(claimed, states(["h1", "h3"], {}, made={"h1": ["free"]}))
    assert (
        reason(made)
        == "None: waits: it was placed on h1, is not there, and may be on h2, and there is no answer from there"
    )
    assert compiled(claimed, states(HOSTS, {}, made={"h1": ["free"]})).decisions["free"].host == "h1"


def test_a_claim_that_failed_in_this_run_was_not_followed() -> None:
    site = load(DECLARED, hosts=HOSTS)
    held = states(["h1", "h3"], {}, made={"h1": ["free"]})
    made = compile_site(site, held, now=0.0, memory=placed("free", "h1", seen=False), failed={"free": ["h1"]})
    assert made.decisions["free"].host == "h3"
    assert [(one.host, one.epoch) for one in made.placements if one.vm == "free"] == [("h3", 2)]


def test_what_a_machine_is_bound_to_does_not_say_where_people_took_it() -> None:
    """Found by the machine below: made on h2, which it is bound to, and taken to h1, which is silent."""
    made = compiled(placed("bound", "h2"), states(["h2"], {}))
    assert "it was on h2, is not there any more, and may be on h1, h3" in reason(made, "bound")


@pytest.mark.parametrize("memory", [Memory(), ALL], ids=["the store was lost", "all hosts were looked at since"])
def test_a_disk_without_a_machine_says_that_there_was_one(memory: Memory) -> None:
    made = compiled(memory, states(["h2"], {}, made={"h2": ["bound"]}))
    assert "waits: it may be on h1, h3" in reason(made, "bound")


def test_that_a_machine_was_missed_is_remembered_until_all_answer_at_once() -> None:
    """Otherwise it could be carried from host to host, always on one that is silent, until all were looked at."""
    memory = Memory(surveyed=frozenset(["h1", "h3"]))
    held = states(["h1", "h3"], {})
    memory = remembered(memory, compiled(memory, held), ["h1", "h3"])
    memory = remembered(memory, compiled(memory, states(["h2"], {})), ["h2"])
    assert memory.surveyed == frozenset(HOSTS)
    assert "waits" in reason(compiled(memory, held))
    assert compiled(memory, states(HOSTS, {})).decisions["free"].host in HOSTS


def test_one_that_is_bound_to_a_silent_host_and_runs_elsewhere_stops_nobody() -> None:
    """Found by the machine below: the whole run was refused."""
    made = compiled(placed("bound", "h2"), states(["h1"], {"h1": ["bound"]}))
    assert made.decisions["bound"].host == "h1"
    off = compiled(placed("bound", "h1"), states(["h1"], {"h1": ["bound"]}, off=["bound"]))
    assert [one.active for one in off.slices["h1"].domains if one.name == "bound"] == [False]


def test_an_older_definition_is_not_started_while_the_newer_may_run() -> None:
    made = compiled(placed("free", "h2", 5), states(["h1", "h3"], {"h1": ["free"]}, off=["free"], free=3))
    assert "it is on h2" in reason(made)
    assert "h1 has an older definition, which must not be started" in reason(made)


def test_of_two_definitions_the_newer_is_the_vm_and_the_older_is_never_started() -> None:
    """A host returned after its release; the VM is off on both."""
    at = {"h1": ["free"], "h3": ["free"]}
    held = states(HOSTS, at, off=["free"])
    made = compiled(placed("free", "h3", 5), held)
    assert made.decisions["free"].host == "h3"
    assert {(change.host, change.epoch) for change in made.placements if change.vm == "free"} == {("h3", 5)}
    assert "free" not in {domain.name for domain in made.slices["h1"].domains}
    assert made.findings == (
        "h1 has an older definition of free, which is on h3 now: it is never started, and dos_prune: true removes it",
    )
    held["h3"] = replace(held["h3"], epochs={"free": 5})
    assert compiled(Memory(), held).decisions["free"].host == "h3", "the store was lost"
    recall = Recall(placed("free", "h3", 5), held, HOSTS)
    assert recall.operand("free") == "h3"
    with pytest.raises(DeclarationError, match=r"is on h3, which is unreachable; h1 has an older definition"):
        Recall(placed("free", "h3", 5), {"h1": held["h1"]}, HOSTS).operand("free")
    with pytest.raises(DeclarationError, match=r"runs on h1 and h3: stop it on all but one"):
        Recall(ALL, states(HOSTS, at), HOSTS).operand("free")
    with pytest.raises(DeclarationError, match=r"is defined on h1 and h3, and none is newer"):
        Recall(ALL, states(HOSTS, at, off=["free"]), HOSTS).operand("free")


def test_what_runs_is_where_it_runs_and_the_contradiction_is_told() -> None:
    made = compiled(placed("free", "h2", 5), states(["h1", "h3"], {"h1": ["free"]}))
    assert made.decisions["free"].host == "h1"
    assert made.findings == ("free runs on h1, and was placed on h2, which does not answer",)


def test_one_machine_on_two_hosts_is_told_and_is_where_it_runs() -> None:
    at = {"h1": ["free"], "h3": ["free"]}
    assert compiled(ALL, states(HOSTS, at, off=["free"])).findings == (
        "free is defined on h1 and h3: undefine it on all but one",
    )
    assert compiled(ALL, states(HOSTS, at)).findings == ("free RUNS ON h1 AND h3: stop it on all but one now (law 8)",)


def test_a_definition_is_made_under_the_epoch_of_its_placement_and_keeps_it() -> None:
    def epoch(made: Compiled) -> int | None:
        (found,) = (
            one.mark.epoch for held in made.slices.values() for one in held.domains if one.name == "free" and one.mark
        )
        return found

    assert epoch(compiled(placed("free", None, 4), states(HOSTS, {}))) == 5
    assert epoch(compiled(ALL, states(HOSTS, {}))) == 1
    assert epoch(compiled(placed("free", "h1", 5), states(HOSTS, {"h1": ["free"]}))) is None


def test_a_store_that_was_lost_learns_the_epochs_from_the_hosts() -> None:
    made = compiled(Memory(), states(HOSTS, {"h1": ["free"], "h2": ["bound", "stray"]}, free=7, stray=3))
    held = {change.vm: (change.host, change.epoch, change.seen) for change in made.placements}
    assert held == {"free": ("h1", 7, True), "bound": ("h2", 1, True), "stray": ("h2", 3, True)}


def test_a_host_is_told_what_was_taken_from_it_unless_it_has_it() -> None:
    """Somebody who decided earlier may come to h2 only now."""
    bound = placed("bound", "h1", 3, seen=False)
    assert compiled(bound, states(HOSTS, {})).taken == {"h1": {"bound": 4}}
    assert compiled(bound, states(["h2", "h3"], {})).taken == {}
    assert compiled(bound, states(HOSTS, {"h1": ["bound"]})).taken == {}
    assert compiled(placed("bound", "h1", 3), states(HOSTS, {"h2": ["bound"]})).taken == {"h1": {"bound": 4}}
    # Somebody took our mark off it: what is not ours has its name, and will have it however often that is asked.
    held = states(HOSTS, {})
    held["h1"] = replace(held["h1"], domains={"gone": False})
    assert compiled(placed("gone", "h1", 3), held).taken == {}


def test_an_epoch_is_above_all_that_anything_tells_of() -> None:
    """A store that was lost would else place a machine under an epoch that the host has been told to refuse."""
    held = states(HOSTS, {})
    held["h2"] = replace(held["h2"], facts=replace(FACTS, fences={"bound": 7}))
    epochs = {one.vm: one.epoch for one in compiled(Memory(), held).placements}
    assert epochs == {"bound": 7, "free": 1}
    recall = Recall(placed("free", "h1", 4), held, HOSTS)
    assert recall.leave({"free": "h2", "bound": "h1"}) == (
        Placement(vm="bound", host="h1", epoch=8),
        Placement(vm="free", host="h2", epoch=5),
    )


def test_what_is_neither_declared_nor_there_is_let_go_and_keeps_its_epoch() -> None:
    made = compiled(placed("gone", "h1", 3), states(HOSTS, {}))
    assert Placement(vm="gone", host=None, epoch=4) in made.placements
    assert "gone" not in {
        change.vm for change in compiled(placed("gone", "h2", 3), states(["h1", "h3"], {})).placements
    }
    # It may be on h2, and be declared again tomorrow.
    assert "gone" not in {
        change.vm for change in compiled(placed("gone", "h1", 3), states(["h1", "h3"], {})).placements
    }


def test_a_renamed_host_has_what_it_had() -> None:
    memory = placed("free", "old", 3).renamed({"old": "h1"})
    made = compiled(memory, states(["h2", "h3"], {}))
    assert "it is on h1" in reason(made)
    # Under a new epoch: one that was used for another host is never used again.
    assert memory.placements["free"] == placed("free", "h1", 4).placements["free"]


def test_what_was_on_a_host_that_evidence_says_is_dead_is_placed_anew() -> None:
    held = replace(placed("free", "h2", 3), dead=frozenset(["h2"]))
    made = compiled(held, states(["h1", "h3"], {}))
    assert made.decisions["free"].host in ("h1", "h3")
    assert [one.epoch for one in made.placements if one.vm == "free"] == [4]
    assert reason(made, "bound") == "None: waits: it is bound to h2, confirmed to run nothing any more"


def test_what_was_on_a_host_whose_name_another_machine_has_waits() -> None:
    made = compiled(replace(placed("free", "h2", 3), foreign=frozenset(["h2"])), states(["h1", "h3"], {}))
    assert reason(made) == "None: waits: it is on h2, and another machine answers by that name"


def test_a_host_that_left_the_inventory_and_is_dead_holds_up_no_vm() -> None:
    made = compiled(replace(placed("free", "h9", 3), dead=frozenset(["h9"])), states(HOSTS, {}))
    assert made.decisions["free"].host in HOSTS


def test_a_vm_that_was_never_seen_does_not_wait_for_a_dead_host() -> None:
    known = Memory(surveyed=frozenset(["h1", "h3"]), dead=frozenset(["h2"]))
    assert compiled(known, states(["h1", "h3"], {})).decisions["free"].host in ("h1", "h3")


def test_evidence_ends_when_the_host_answers() -> None:
    held = replace(placed("free", "h2", 3), dead=frozenset(["h2"]))
    assert compiled(held, states(HOSTS, {"h2": ["free"]})).decisions["free"].host == "h2"


class Runs(RuleBasedStateMachine):
    """Controllers come and go, hosts fall silent, runs are killed at any point, people take machines elsewhere by hand.

    Law 8: what we start never runs on two hosts. And what was settled stays: a second look at the same changes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on: dict[str, set[str]] = {host: set() for host in HOSTS}
        self.made: dict[str, set[str]] = {host: set() for host in HOSTS}  # whose disks a host knows: who ever was there
        self.memory = Memory()

    @rule(
        answering=st.sets(st.sampled_from(HOSTS), min_size=1),
        reached=st.sets(st.sampled_from(HOSTS)),
        kept=st.booleans(),
    )
    def a_run(self, answering: set[str], reached: set[str], kept: bool) -> None:
        """Hosts that answered may be gone when their slice arrives; a run may be killed before anything is kept."""
        held = states(sorted(answering), self.on, made=self.made)
        made = compiled(self.memory, held)
        if not kept:
            return
        self.memory = remembered(self.memory, made, answering)
        again = compiled(self.memory, held)
        assert again.placements == ()
        assert {vm: one.host for vm, one in again.decisions.items()} == {
            vm: one.host for vm, one in made.decisions.items()
        }
        for host in answering & reached:
            started = {str(domain.name) for domain in made.slices[host].domains if domain.active}
            self.on[host] |= started
            self.made[host] |= started

    @rule(vm=st.sampled_from(["free", "bound"]), to=st.sampled_from(HOSTS))
    def somebody_migrates_by_hand(self, vm: str, to: str) -> None:
        if any(vm in held for held in self.on.values()):
            for held in self.on.values():
                held.discard(vm)
            self.on[to].add(vm)
            self.made[to].add(vm)

    @rule(vm=st.sampled_from(["free", "bound"]), host=st.sampled_from(HOSTS))
    def somebody_undefines_by_hand(self, vm: str, host: str) -> None:
        self.on[host].discard(vm)

    @rule()
    def the_store_is_lost(self) -> None:
        self.memory = Memory()

    @invariant()
    def nothing_runs_twice(self) -> None:
        for vm in ("free", "bound"):
            assert sum(vm in held for held in self.on.values()) <= 1, (vm, self.on, self.memory)


TestNothingRunsTwice = Runs.TestCase
TestNothingRunsTwice.settings = settings(max_examples=200, stateful_step_count=15, deadline=None)


@pytest.mark.parametrize("memory", [Memory(), ALL])
def test_no_answer_at_all_keeps_everything(memory: Memory) -> None:
    with pytest.raises(DeclarationError, match="no host answered"):
        compiled(memory, {})


def test_a_machine_that_was_undefined_where_it_strayed_goes_back_to_where_it_is_bound_and_has_its_disk() -> None:
    """What the finding tells the operator to do must help, and must not end with an empty disk on the wrong host."""
    machine = {"project": "p", "memory": "64 MiB", "disks": [{"pool": "own", "capacity": "1 MiB"}]}
    site = {
        "dos_projects": {"p": {}},
        "dos_pools": {"own": {"path": "/srv/own"}},
        "dos_instances": {"bound": {**machine, "vms": {"bound": {"host": "h1"}}}},
    }
    held = states(HOSTS, {})
    held["h1"] = replace(held["h1"], volumes=frozenset(["own/bound-vda"]))
    made = compile_site(load(site, hosts=HOSTS), held, now=0.0, memory=placed("bound", "h2", 2))
    assert made.decisions["bound"].host == "h1"
    assert made.taken == {"h2": {"bound": 3}}
    assert [volume.name for volume in made.slices["h1"].volumes] == ["bound-vda"]
    assert not made.slices["h2"].volumes


def test_of_two_hosts_that_answer_that_a_vm_runs_the_store_decides_which_has_it() -> None:
    held = states(HOSTS, {"h1": ["free"], "h3": ["free"]}, free=1)
    held["h1"] = replace(held["h1"], epochs={"free": 9})
    made = compiled(placed("free", "h3"), held)
    assert made.decisions["free"].host == "h3"
    assert [host for host, held in made.slices.items() if "free" in {vm.name for vm in held.domains}] == ["h3"]
    assert "free" not in {placement.vm for placement in made.placements if placement.host != "h3"}
    assert made.taken == {}
    assert any(text.startswith("free RUNS ON h1 AND h3") for text in made.errors)


@pytest.mark.parametrize(("host", "on"), [("h1", True), ("h3", False)])
def test_an_override_counts_on_the_host_that_the_store_places_its_vm_on(host: str, on: bool) -> None:
    held = states(HOSTS, {"h3": ["free"]})
    held[host] = replace(held[host], orders=(Order(vm="free", on=False, number=2**40),))
    decided = situation(load(DECLARED, hosts=HOSTS), held, now=0.0, memory=placed("free", "h3"))
    assert decided.intent["free"] is on
