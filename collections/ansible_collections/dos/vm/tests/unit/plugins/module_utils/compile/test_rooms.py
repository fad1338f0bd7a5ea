# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has for machines: what it told, less what the operator and others keep (HOST-09, HOST-T1.7, HOST-T1.8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dosvm.compile.rooms import rooms
from dosvm.compile.states import HostState
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.host import NumaNode
from dosvm.model.types import ByteSize
from dosvm.placement.room import Room
from dosvm.site.load import load

GIB = 2**30


def room(state: dict[str, Any] | None = None, **variables: Any) -> Room:
    """Host h1, which has 32 GiB and 8 processors."""
    facts = FakeHypervisor().facts()
    held = HostState(facts=facts, **(state or {}))
    site = load({f"dos_{name}": value for name, value in variables.items()}, hosts=("h1", "h2"))
    return rooms(site, {"h1": held}, frozenset({"ours"}))[0]


def test_512_mib_are_kept_for_the_host() -> None:
    assert room().memory == 32 * GIB - 512 * 2**20


def test_the_hosts_own_word_is_before_its_groups_and_theirs_before_the_sites() -> None:
    site = {"placement": {"reserve": "1 GiB", "overcommit": {"memory": 2, "vcpus": 2}}}
    assert (room(**site).memory, room(**site).vcpus) == (63 * GIB, 16)
    groups = {
        "a": {"hosts": ["h1"], "reserve": "4 GiB", "overcommit": {"vcpus": 4}},
        "b": {"hosts": "all", "reserve": "2 GiB"},
    }
    assert (room(**site, host_groups=groups).memory, room(**site, host_groups=groups).vcpus) == (28 * GIB, 32)
    own = {"h1": {"reserve": "8 GiB", "max_vcpus": 3, "overcommit": {}}}
    assert (room(**site, host_groups=groups, host_settings=own).memory, room(host_settings=own).vcpus) == (24 * GIB, 3)


def test_of_several_groups_the_smallest_overcommit_counts() -> None:
    groups = {
        "a": {"hosts": "all", "overcommit": {"memory": 1.5}},
        "b": {"hosts": ["h1"], "overcommit": {"memory": 1.25, "vcpus": 1}},
    }
    assert (room(host_groups=groups).memory, room(host_groups=groups).vcpus) == (40 * GIB - 512 * 2**20, 8)


def test_more_than_the_host_can_have_is_refused() -> None:
    assert room(host_settings={"h1": {"max_memory": "8 GiB"}}).memory == 8 * GIB
    with pytest.raises(
        DeclarationError, match=r"dos_host_settings.h1.max_memory: 32 GiB is more .* write at most 32256 MiB"
    ):
        room(host_settings={"h1": {"max_memory": "32 GiB"}})


def test_what_runs_there_and_is_not_the_sites_has_its_share() -> None:
    domains = {"theirs": False, "ours": True, "forgotten": True, "off": False}
    held = room({"domains": domains, "active": {"theirs": (2, GIB), "ours": (4, 4 * GIB), "forgotten": (1, GIB)}})
    assert (held.used_memory, held.used_vcpus, held.machines) == (2 * GIB, 3, 2)


def test_huge_pages_are_for_those_who_ask_for_them() -> None:
    facts = FakeHypervisor().facts()
    node = NumaNode(memory=ByteSize("32 GiB"), cpus=8, hugepages={"1 GiB": ByteSize("16 GiB")})
    held = rooms(load({}, hosts=("h1",)), {"h1": HostState(facts=replace(facts, numa=(node,)))}, frozenset())[0]
    assert (held.memory, held.hugepages) == (16 * GIB - 512 * 2**20, {GIB: 16 * GIB})


def test_a_host_that_does_not_answer_has_nothing() -> None:
    site = load({}, hosts=("h1", "h2"))
    silent = rooms(site, {"h1": HostState(facts=FakeHypervisor().facts())}, frozenset())[1]
    assert (silent.answers, silent.memory) == (False, 0)


def test_the_load_counts_in_quarters() -> None:
    facts = FakeHypervisor().facts()
    for percent, share in ((0, 0.0), (12, 0.0), (13, 0.25), (60, 0.5), (420, 1.0)):
        held = rooms(load({}, hosts=("h1",)), {"h1": HostState(facts=replace(facts, load=percent))}, frozenset())[0]
        assert held.load == share
