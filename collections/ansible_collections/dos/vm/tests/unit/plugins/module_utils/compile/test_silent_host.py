# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that does not answer takes nothing with it but its own machines, and those stay where they may be running."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.slice import Permission
from dosvm.plan.host import plan_host
from dosvm.plan.plan import Context, Observed
from dosvm.site.load import load
from dosvm.xml.build import parse

HOSTS = ("h1", "h2", "h3")
DECLARED: dict[str, Any] = {
    "dos_projects": {"shop": {}},
    "dos_pools": {"common": {"path": "/srv/common", "shared": True}},
    "dos_instances": {
        "web": {
            "project": "shop",
            "memory": "64 MiB",
            "disks": [{"pool": "common", "capacity": "1 MiB"}],
            "vms": {"bound": {"host": "h2"}, "free": {}, "other": {"host": "h3"}},
        }
    },
}


def _compiled(*answering: str, at: dict[str, str] | None = None) -> Compiled:
    """The site, of whose hosts only some answered; `at` are the machines that exist, by name."""
    facts = FakeHypervisor().facts()
    places = at or {}
    states = {
        host: HostState(facts=facts, domains={vm: True for vm, place in places.items() if place == host})
        for host in answering
    }
    return compile_site(load(DECLARED, hosts=HOSTS), states, now=0.0)


def _running(compiled: Compiled) -> set[str]:
    return {domain.name for held in compiled.slices.values() for domain in held.domains}


def test_the_others_are_compiled_without_it() -> None:
    assert "other" in _running(_compiled("h1", "h3"))


def test_what_is_bound_to_it_waits() -> None:
    compiled = _compiled("h1", "h3")
    assert "bound" not in _running(compiled)
    assert compiled.decisions["bound"].reason == "waits: it may be on h2, and there is no answer from there"


def test_what_may_be_on_it_is_not_started_elsewhere() -> None:
    assert "free" not in _running(_compiled("h1", "h3"))


def test_what_another_host_has_stays_there() -> None:
    assert _compiled("h1", "h3", at={"free": "h3"}).decisions["free"].host == "h3"


def test_what_is_defined_where_it_may_not_be_is_not_defined_a_second_time() -> None:
    compiled = _compiled(*HOSTS, at={"bound": "h1"})
    assert [host for host, held in compiled.slices.items() if "bound" in {one.name for one in held.domains}] == ["h1"]
    wanted = "stays on h1, and should be on h2: migrate it, or undefine it on h1 first"
    assert compiled.decisions["bound"].reason == wanted


def test_no_answer_at_all_is_an_error() -> None:
    with pytest.raises(DeclarationError, match="no host answered"):
        _compiled()


@pytest.mark.parametrize("answering", [HOSTS, ("h1", "h3")])
def test_no_host_calls_a_volume_of_a_shared_pool_undeclared(answering: tuple[str, ...]) -> None:
    compiled = _compiled(*answering)
    volumes = [f"common/{vm}-vda" for vm in ("bound", "free", "other")]
    for host in answering:
        assert _left(compiled, host, volumes) == []


def test_the_first_host_of_a_shared_pool_reports_what_nobody_declares() -> None:
    compiled = _compiled(*HOSTS)
    assert [_left(compiled, host, ["common/forgotten"]) for host in HOSTS] == [["common/forgotten"], [], []]


def _left(compiled: Compiled, host: str, seen: list[str]) -> list[str]:
    """Which of the volumes that a host sees, and that it does not hold itself, its plan calls undeclared."""
    held = compiled.slices[host]
    own = {f"{volume.pool}/{volume.name}" for volume in held.volumes}
    observed = {Address("volume", name): _volume(name) for name in seen if name not in own}
    context = Context(site="dos", host=FakeHypervisor().facts(), permission=Permission(), observed=observed)
    return [plan.address.name for plan in plan_host(held, context) if plan.verdict == "left"]


def _volume(name: str) -> Observed:
    return Observed(address=Address("volume", name), xml=parse("<volume/>"), ours=True)
