# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines change their hosts, and what those hosts hold beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dosvm.apply import converge
from dosvm.compile.moves import asked_for, forced, left_behind, limits, prepared
from dosvm.compile.placing import Situation, situation
from dosvm.compile.site import compile_situation
from dosvm.compile.states import HostState
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.migration import Ways
from dosvm.model.slice import Permission, Slice
from dosvm.placement.moves import drain
from dosvm.site.load import load

HOSTS = ("h1", "h2", "h3")
SITE: dict[str, Any] = {
    "dos_projects": {"p": {}},
    "dos_pools": {"common": {"path": "/shared", "shared": True}, "local": {"path": "/own"}},
    "dos_networks": {"lan": {"type": "isolated"}},
    "dos_security_groups": {"honest": {"filter": "no-mac-spoofing"}},
    "dos_instances": {
        "web": {
            "project": "p",
            "memory": "64 MiB",
            "disks": [{"pool": "common", "capacity": "1 GiB"}],
            "interfaces": [{"network": "lan", "security_group": "honest"}],
            "vms": {"web": {}},
        },
        "own": {
            "project": "p",
            "memory": "64 MiB",
            "disks": [{"pool": "local", "capacity": "1 GiB"}],
            "vms": {"own": {"host": "h2"}},
        },
    },
}
COPIED = Ways(storage="copied", data="tls")


def host(*, runs: tuple[str, ...] = (), off: tuple[str, ...] = (), volumes: tuple[str, ...] = ()) -> HostState:
    return HostState(
        facts=FakeHypervisor().facts(),
        domains=dict.fromkeys((*runs, *off), True),
        active={name: (1, 2**26) for name in runs},
        volumes=frozenset(volumes),
    )


def held(states: dict[str, HostState], **more: Any) -> Situation:
    return situation(load({**SITE, **more}, hosts=HOSTS), states, now=0.0)


def test_a_running_machine_moves_only_when_a_rule_forces_it() -> None:
    states = {"h1": host(runs=("web",)), "h2": host(runs=("own",), volumes=("local/own-vda",)), "h3": host()}
    assert forced(held(states)).moves == ()
    (move,) = forced(held(states, dos_host_settings={"h1": {"maintenance": True}})).moves
    assert (move.vm, move.source, move.copies) == ("web", "h1", False)
    assert move.target != "h1"


def test_a_declared_host_that_changed_is_a_move_with_its_disk() -> None:
    states = {"h1": host(runs=("own",), volumes=("local/own-vda",)), "h2": host(), "h3": host(runs=("web",))}
    (move,) = forced(held(states), COPIED).moves
    assert (move.vm, move.source, move.target, move.copies) == ("own", "h1", "h2", True)


def test_a_move_that_the_ways_cannot_make_is_not_offered() -> None:
    states = {"h1": host(runs=("own",), volumes=("local/own-vda",)), "h2": host(), "h3": host(runs=("web",))}
    found = forced(held(states))
    assert found.moves == ()
    assert found.stuck == {
        "own": {"h2": "its own disks are not there, and none is copied: set storage: copied in dos_migration"}
    }
    tunnel = forced(held(states), Ways(storage="copied"))
    assert "a tunnel carries no disks: set data: tls" in tunnel.stuck["own"]["h2"]


def test_an_emptied_host_keeps_what_the_ways_cannot_move_and_the_others_go() -> None:
    states = {"h1": host(), "h2": host(runs=("own", "web"), volumes=("local/own-vda",)), "h3": host()}
    site = held(
        states, dos_instances={**SITE["dos_instances"], "own": {**SITE["dos_instances"]["own"], "vms": {"own": {}}}}
    )
    found = drain(site.fleet, site.requests, ["h2"], limits(site, Ways()))
    assert [move.vm for move in found.moves] == ["web"]
    assert set(found.stuck) == {"own"}
    assert "storage: copied" in found.stuck["own"]["h1"]
    assert "maintenance" in found.stuck["own"]["h2"]
    again = held(
        states, dos_instances={**SITE["dos_instances"], "own": {**SITE["dos_instances"]["own"], "vms": {"own": {}}}}
    )
    both = drain(again.fleet, again.requests, ["h2"], limits(again, COPIED))
    assert {move.vm: move.copies for move in both.moves} == {"web": False, "own": True}


def test_disks_that_the_target_has_as_well_are_not_copied() -> None:
    """A directory that hosts share though nothing declares it: the ways need not copy."""
    states = {
        "h1": host(),
        "h2": host(runs=("own",), volumes=("local/own-vda",)),
        "h3": host(volumes=("local/own-vda",)),
    }
    site = held(states, dos_instances={"own": {**SITE["dos_instances"]["own"], "vms": {"own": {}}}})
    (move,) = drain(site.fleet, site.requests, ["h2"], limits(site, Ways())).moves
    assert (move.target, move.copies) == ("h3", False)


def test_one_that_is_off_stays_with_its_disk() -> None:
    instances = {**SITE["dos_instances"]}
    instances["own"] = {**instances["own"], "vms": {"own": {"host": "h2", "power": "off"}}}
    states = {"h1": host(off=("own",), volumes=("local/own-vda",)), "h2": host(), "h3": host(runs=("web",))}
    assert forced(held(states, dos_instances=instances), COPIED).moves == ()


def test_what_a_migration_left_behind_is_cleaned_up() -> None:
    states = {"h1": host(off=("web",)), "h2": host(runs=("web",)), "h3": host()}
    (move,) = left_behind(states)
    assert (move.vm, move.source, move.target) == ("web", "h1", "h2")
    assert list(left_behind({"h1": host(off=("web",)), "h2": host()})) == []
    # Nobody else's, and nothing where a host did not tell what runs.
    assert list(left_behind({**states, "h2": replace(states["h2"], domains={"web": False})})) == []


def test_the_target_is_prepared_with_all_but_the_machine_and_its_disks() -> None:
    states = {"h1": host(runs=("web",)), "h2": host(), "h3": host()}
    found = held(states)
    (move,) = asked_for(found, ["web"], "h3").moves
    (target, slice_) = next(iter(prepared(found, [move]).items()))
    assert target == "h3"
    assert [filter_.name for filter_ in slice_.nwfilters] == []  # libvirt's own is everywhere
    assert {pool.name for pool in slice_.pools} == {"common", "local"}
    assert [network.name for network in slice_.networks] == ["lan"]
    assert slice_.domains == slice_.volumes == ()


def test_a_machine_by_name_goes_where_it_may() -> None:
    states = {"h1": host(runs=("web",)), "h2": host(runs=("own",), volumes=("local/own-vda",)), "h3": host()}
    found = held(states)
    assert asked_for(found, ["web"], "h1").moves == ()
    assert [move.target for move in asked_for(found, ["web"], None).moves] in (["h2"], ["h3"])
    refused = asked_for(found, ["own"], "h3")
    assert refused.moves == ()
    assert set(refused.stuck["own"]) == {"h3"}


def test_names_that_lead_nowhere_are_told() -> None:
    found = held({"h1": host(runs=("web",)), "h2": host(), "h3": host()})
    with pytest.raises(DeclarationError, match="did you mean web"):
        asked_for(found, ["weeb"], None)
    with pytest.raises(DeclarationError, match="is not a host of the site"):
        asked_for(found, ["web"], "h9")


def test_the_host_that_a_machine_goes_to_logs_in_before_and_the_one_it_left_logs_out_after() -> None:
    """HOT-02: h1, the first by name, looks for the LUNs of all and stays logged in."""
    more = {
        "dos_pools": {"san": {"type": "iscsi", "source": {"server": "s", "target": "iqn.a"}}},
        "dos_volumes": {"lun": {"pool": "san", "lun": 1, "format": "raw", "project": "p"}},
        "dos_instances": {
            "web": {"project": "p", "memory": "64 MiB", "disks": [{"volume": "lun"}], "vms": {"web": {}}}
        },
    }
    before = held({"h1": host(), "h2": host(runs=("web",)), "h3": host()}, **more)
    moves = asked_for(before, ["web"], "h3").moves
    assert logged_in(prepared(before, moves)) == {"h3": True}
    assert logged_in(compile_situation(before).slices) == {"h1": True, "h2": True, "h3": False}
    after = held({"h1": host(), "h2": host(), "h3": host(runs=("web",))}, **more)
    assert logged_in(compile_situation(after).slices) == {"h1": True, "h2": False, "h3": True}


def logged_in(slices: Mapping[str, Slice]) -> dict[str, bool | None]:
    return {name: pool.active for name, slice_ in slices.items() for pool in slice_.pools}


TUNNEL: dict[str, Any] = {
    "dos_projects": {"p": {}},
    "dos_networks": {"lan": {"type": "bridge", "bridge": "br-lan", "stp": False, "vxlan": {"id": 7}}},
    "dos_instances": {
        "web": {
            "project": "p",
            "memory": "64 MiB",
            "interfaces": [{"network": "lan"}],
            "vms": {"web": {}, "other": {"host": "h1"}},
        }
    },
}


def tunnels(states: dict[str, HostState]) -> Situation:
    site = load(TUNNEL, hosts=HOSTS, address_of=lambda name: f"10.0.0.{name[1]}")
    return situation(site, states, now=0.0)


def peers(slice_: Slice) -> list[str]:
    (bridge,) = slice_.bridges
    assert bridge.vxlan
    return [str(peer) for peer in bridge.vxlan.peers]


def test_before_a_move_every_host_of_the_tunnel_has_the_peers_of_both_layouts() -> None:
    """The move may fail, and what it changed on third hosts nobody else brings them."""
    before = tunnels({"h1": host(off=("other",)), "h2": host(runs=("web",)), "h3": host()})
    found = prepared(before, asked_for(before, ["web"], "h3").moves)
    assert {name: peers(slice_) for name, slice_ in found.items()} == {
        "h1": ["10.0.0.2", "10.0.0.3"],
        "h2": ["10.0.0.1", "10.0.0.3"],
        "h3": ["10.0.0.1", "10.0.0.2"],
    }
    assert all(slice_.part for slice_ in found.values())
    assert found["h1"].networks == ()
    assert found["h3"].networks != ()


def test_a_move_within_the_ends_of_a_tunnel_prepares_nothing_elsewhere() -> None:
    before = tunnels({"h1": host(off=("other",)), "h2": host(runs=("web",)), "h3": host()})
    back = asked_for(before, ["web"], "h1").moves
    assert set(prepared(before, back)) == {"h1", "h2"}, "h2 may still be the end when the move fails"
    unbridged = held({"h1": host(runs=("web",)), "h2": host(), "h3": host()})
    assert set(prepared(unbridged, asked_for(unbridged, ["web"], "h3").moves)) == {"h3"}


def test_a_part_of_a_slice_leaves_alone_what_it_does_not_declare() -> None:
    before = tunnels({"h1": host(off=("other",)), "h2": host(runs=("web",)), "h3": host()})
    hypervisor = FakeHypervisor()
    converge(compile_situation(before).slices["h2"], hypervisor, permission=Permission(), secrets={})
    slice_ = prepared(before, asked_for(before, ["web"], "h3").moves)["h2"]
    outcome = converge(slice_, hypervisor, permission=Permission(prune=True), secrets={})
    assert [str(plan.address) for plan in outcome.plans] == ["bridge br-lan"]
