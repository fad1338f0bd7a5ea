# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators ask of a site: why here, how many more, what if, and what can be lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dosvm.compile.advice import unlike_members
from dosvm.compile.more import more_like, more_of_size
from dosvm.compile.placing import Situation, explain_vm, situation
from dosvm.compile.promises import reckoned, refuse_broken_promises, sentence, summary
from dosvm.compile.site import compile_situation
from dosvm.compile.states import HostState
from dosvm.compile.whatif import Supposed, difference, suppose
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.types import ByteSize
from dosvm.placement.plugins import own_filters, own_weighers
from dosvm.placement.policy import policy
from dosvm.site.load import load

GIB = 2**30
HOSTS = ("h1", "h2", "h3")
FACTS = replace(FakeHypervisor().facts(), memory=ByteSize(8 * GIB + 2**29))
SITE: dict[str, Any] = {
    "dos_projects": {"shop": {"quota": {"vcpus": 9, "memory": "40 GiB"}}},
    "dos_host_groups": {"r1": {"key": "rack", "hosts": ["h1", "h2"]}, "r2": {"key": "rack", "hosts": ["h3"]}},
    "dos_instances": {
        "web": {"project": "shop", "memory": "2 GiB", "count": 3, "placement": {"anti_affinity": [{}]}},
        "db": {"project": "shop", "memory": "3 GiB", "vms": {"db-1": {}}},
    },
}


def held(states: dict[str, HostState] | None = None, **variables: Any) -> Situation:
    site = load({**SITE, **{f"dos_{name}": value for name, value in variables.items()}}, hosts=HOSTS)
    return situation(site, {host: HostState(facts=FACTS) for host in HOSTS} if states is None else states, now=0.0)


def instances(**more: Any) -> dict[str, Any]:
    return {**SITE["dos_instances"], **more}


def one(**asks: Any) -> dict[str, Any]:
    return {"project": "shop", "memory": "1 GiB", **asks}


# ------------------------------------------------------------------------------------------------- declarations count


def test_an_instance_apart_from_another_is_avoided_by_it_as_well() -> None:
    asks = {"placement": {"anti_affinity": [{"to": ["db"], "by": "rack"}]}}
    found = held(instances={"db": one(count=2), "a": one(**asks), "z": one(vms={"z": {}}, **asks)}).fleet.at
    racks = {"h1": "r1", "h2": "r1", "h3": "r2"}
    assert racks[found["z"].host] not in {racks[found[vm].host] for vm in ("db-1", "db-2")}


def test_a_host_group_labels_of_host_and_image_and_multipliers_are_heeded() -> None:
    found = held(
        host_settings={"h2": {"labels": {"disk": "ssd"}}},
        images={"fast": {"file": "/srv/fast", "format": "raw", "requires": {"disk": "ssd"}}},
        instances={
            "in-rack": one(host_group="r2", count=2),
            "labelled": one(placement={"requires": {"disk": "ssd"}}, count=2),
            "of-image": one(disks=[{"image": "fast"}], count=2),
        },
    )
    hosts = {vm: made.host for vm, made in found.decisions.items()}
    assert hosts["in-rack-1"] == hosts["in-rack-2"] == "h3"
    assert {hosts[vm] for vm in ("labelled-1", "labelled-2", "of-image-1", "of-image-2")} == {"h2"}


def test_a_machine_without_a_host_fails_the_site_or_waits() -> None:
    big = instances(big=one(memory="20 GiB", vms={"big": {}}))
    found = held(instances=big)
    with pytest.raises(DeclarationError) as caught:
        compile_situation(found)
    assert str(caught.value).splitlines() == [
        "dos_instances.big.vms.big: no host can take big",
        *(
            f"  {host}: has {left} GiB of memory left of 8 GiB, 20 GiB needed"
            for host, left in (("h1", 3), ("h2", 6), ("h3", 6))
        ),
    ]
    waiting = compile_situation(held(instances=big, placement={"homeless": "wait"}))
    assert waiting.decisions["big"].host is None
    assert sorted(domain.name for slice_ in waiting.slices.values() for domain in slice_.domains) == [
        "db-1",
        "web-1",
        "web-2",
        "web-3",
    ]


def test_a_declared_host_is_obeyed_or_the_plan_fails() -> None:
    bound = instances(bound=one(memory="8 GiB", vms={"b": {"host": "h1"}}))
    assert held(instances=bound).decisions["b"].host == "h1"
    runs = {host: HostState(facts=FACTS, domains={"b": True} if host == "h2" else {}) for host in HOSTS}
    small = instances(bound=one(memory="1 GiB", vms={"b": {"host": "h1"}}))
    moves = compile_situation(held(runs, instances=small))
    assert (moves.decisions["b"].host, moves.decisions["b"].target) == ("h2", "h1")
    full = {**runs, "h1": HostState(facts=FACTS, domains={"x": False}, active={"x": (1, 8 * GIB)})}
    with pytest.raises(DeclarationError, match="h1: has 0 B of memory left of 8 GiB, 1 GiB needed"):
        compile_situation(held(full, instances=small))


def test_where_it_could_not_start_another_host_is_taken() -> None:
    site = load(SITE, hosts=HOSTS)
    states = {host: HostState(facts=FACTS) for host in HOSTS}
    first = str(situation(site, states, now=0.0).decisions["db-1"].host)
    assert situation(site, states, now=0.0, failed={"db-1": [first]}).decisions["db-1"].host not in (None, first)


def test_a_group_to_move_in_whose_hosts_differ_is_told() -> None:
    models = {"h1": "Haswell", "h2": "EPYC", "h3": "Haswell"}
    told = {host: HostState(facts=replace(FACTS, cpu_model=model)) for host, model in models.items()}
    groups = {"like": {"hosts": ["h1", "h3"]}, "unlike": {"hosts": "all"}, "rack": {"key": "rack", "hosts": "all"}}
    assert list(unlike_members(held(told, host_groups=groups))) == [
        "dos_host_groups.unlike: its hosts differ, and machines may not move between them: "
        "x86_64 EPYC on h2; x86_64 Haswell on h1, h3 (HGRP-05)"
    ]


# ------------------------------------------------------------------------------------------------- explain


def test_explaining_one_machine_leaves_the_others_and_itself_where_they_are() -> None:
    found = held()
    before = {vm: room.host for vm, room in found.fleet.at.items()}
    answer = explain_vm(found, "web-1")
    assert {vm: room.host for vm, room in found.fleet.at.items()} == before
    accepting = [verdict.host for verdict in answer.verdicts if verdict.accepts]
    assert accepting == [found.decisions["web-1"].host]
    assert answer.remaining[0] == ("answers", 3)
    assert answer.remaining[-1] == ("anti_affinity", 1)
    refused = next(verdict for verdict in answer.verdicts if not verdict.accepts)
    assert [one.text for one in refused.answers if not one.accepts] == ["it has 1 of web already"]
    with pytest.raises(DeclarationError, match="did you mean web-1"):
        explain_vm(found, "web1")


# ------------------------------------------------------------------------------------------------- more, what if, N+1


def test_more_of_an_instance_keep_its_rules_and_the_quota() -> None:
    assert more_like(held(), "web").fits == 0, "each host has one already"
    found = more_like(held(), "db")
    assert (found.hosts.fits, found.quota, found.fits) == (5, 5, 5)
    assert more_like(held(projects={"shop": {"quota": {"vcpus": 5}}}), "db").fits == 1
    assert more_of_size(held(), memory=2 * GIB, vcpus=1).fits == 7
    with pytest.raises(DeclarationError, match="did you mean web"):
        more_like(held(), "wbe")


def given_site() -> Supposed:
    """web-1 to web-3 run on h1 to h3, and db-1 on h1."""
    domains = {"h1": ("web-1", "db-1"), "h2": ("web-2",), "h3": ("web-3",)}
    states = {
        host: HostState(facts=FACTS, domains=dict.fromkeys(held, True), active=dict.fromkeys(held, (1, 2 * GIB)))
        for host, held in domains.items()
    }
    return Supposed(variables=SITE, hosts=HOSTS, groups={"rack9": ("h3",)}, states=states)


def supposed(then: Supposed) -> Situation:
    site = load(then.variables, hosts=then.hosts, groups=then.groups)
    return situation(site, then.states, now=0.0, lost=then.lost)


def test_what_if_changes_a_copy() -> None:
    now = given_site()
    then = suppose(now, add={"h4": "h3"}, change={"dos_instances.web.count": 4, "dos_projects.shop.quota.vcpus": 10})
    assert then.hosts == (*HOSTS, "h4")
    assert then.groups["rack9"] == ("h3", "h4")
    assert SITE["dos_instances"]["web"]["count"] == 3
    found = difference(supposed(now), supposed(then))
    assert found.moved == {"web-4": (None, "h4")}
    assert not found.homeless


def test_what_if_a_host_is_lost() -> None:
    found = difference(supposed(given_site()), supposed(suppose(given_site(), remove=["h1"])))
    assert set(found.homeless) == {"web-1"}
    refused = {host: "it has 1 of web already" for host in ("h2", "h3")}
    assert found.homeless["web-1"] == {"h1": "does not answer", **refused}
    assert found.moved["db-1"] in {("h1", "h2"), ("h1", "h3")}


def test_disks_that_a_lost_host_alone_had_are_lost() -> None:
    now = given_site()
    local = {**SITE, "dos_pools": {"local": {"path": "/srv/local"}}}
    disks = [{"pool": "local", "capacity": "1 GiB"}]
    local["dos_instances"] = {"db": {**SITE["dos_instances"]["db"], "disks": disks}}
    told = replace(now.states["h1"], volumes=frozenset({"local/db-1-vda"}))
    now = replace(now, variables=local, states={**now.states, "h1": told})
    found = difference(supposed(now), supposed(suppose(now, remove=["h1"])))
    assert found.homeless["db-1"]["h2"] == "does not have its disks, which are on h1"


def test_what_cannot_be_supposed_is_told_all_at_once() -> None:
    with pytest.raises(DeclarationError) as caught:
        suppose(given_site(), remove=["h9"], add={"h1": "h8"}, change={"dos_instances.wbe.count": 1, "dos_frobs": 2})
    assert [problem.path for problem in caught.value.problems] == [
        "dos_whatif.remove_hosts",
        "dos_whatif.add_hosts.h1",
        "dos_whatif.add_hosts.h1",
        "dos_whatif.set.dos_instances.wbe.count",
        "dos_whatif.set.dos_frobs",
    ]


def test_losses_are_told_and_refused_where_the_site_says_so() -> None:
    found = held(placement={"survives": {"host": "error", "rack": "warn"}})
    lost = reckoned(found)
    with pytest.raises(
        DeclarationError, match=r"dos_placement.survives.host: the loss of host h1 would leave 1 of 2 machines"
    ):
        refuse_broken_promises(found)
    refuse_broken_promises(held())
    assert "N+1: the loss of rack r1 would leave" in "\n".join(text for text, good in summary(lost) if not good)
    kind = held(instances={"db": SITE["dos_instances"]["db"]})
    assert [good for _, good in summary(reckoned(kind))] == [True, True]
    assert sentence(lost[0]).startswith("the loss of host h1")


# ------------------------------------------------------------------------------------------------- one's own


def test_filters_and_weighers_of_ones_own_are_asked_by_name() -> None:
    def odd_only(request: Any, room: Any) -> str | None:
        return None if int(room.host[1:]) % 2 else f"{room.host} is even"

    def later(request: Any, room: Any) -> float:
        return float(int(room.host[1:]))  # more than 1 counts as 1

    later.multiplier = 50.0
    defined = {"FILTERS": {"odd_only": odd_only}, "WEIGHERS": {"later": later}}
    site = load(SITE, hosts=HOSTS)
    how = policy(site.placement, own_filters(defined, "own.py"), own_weighers(defined, "own.py"))
    states = {host: HostState(facts=FACTS) for host in HOSTS}
    found = situation(site, states, now=0.0, how=how)
    assert {str(made.host) for made in found.decisions.values()} == {"h1", "h3", "None"}
    assert found.decisions["web-3"].refusals["h2"].endswith("h2 is even")
    verdict = explain_vm(found, "db-1").verdicts[0]
    assert verdict.weights["later"] == 50.0


@pytest.mark.parametrize(
    ("defined", "told"),
    [
        ({}, "defines neither FILTERS nor WEIGHERS"),
        ({"FILTERS": [1]}, "must map names to functions"),
        ({"FILTERS": {"memory": lambda request, room: None}}, "memory is taken among the filters"),
    ],
)
def test_what_cannot_be_a_plugin_is_told(defined: dict[str, Any], told: str) -> None:
    with pytest.raises(DeclarationError, match=told):
        policy(load({}, hosts=()).placement, own_filters(defined, "own.py"))


def test_a_plugin_that_fails_is_named_with_machine_and_host() -> None:
    def broken(request: Any, room: Any) -> None:
        raise ZeroDivisionError("oops")

    how = policy(load({}, hosts=()).placement, own_filters({"FILTERS": {"broken": broken}}, "own.py"))
    with pytest.raises(DeclarationError, match=r"broken of own.py failed for .* on h1: ZeroDivisionError: oops"):
        situation(load(SITE, hosts=HOSTS), {host: HostState(facts=FACTS) for host in HOSTS}, now=0.0, how=how)
