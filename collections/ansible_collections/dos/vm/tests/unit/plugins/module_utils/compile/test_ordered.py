# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders that machines carry, in what a site comes to."""

from __future__ import annotations

from typing import Any

from dosvm.compile.site import Compiled, compile_site
from dosvm.compile.states import HostState
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.intent.power import Order
from dosvm.model.on_boot import with_host
from dosvm.site.load import load

INSTANCE: dict[str, Any] = {
    "project": "shop",
    "memory": "64 MiB",
    "on_boot": "start",
    "vms": {"a": {}, "b": {"power": "off"}},
}


def compiled(*orders: Order, **more: Any) -> Compiled:
    declared = {"dos_projects": {"shop": {}}, "dos_instances": {"web": {**INSTANCE, **more}}}
    state = HostState(facts=FakeHypervisor().facts(), domains={"a": True, "b": True}, orders=orders)
    return compile_site(load(declared, hosts=("h1",)), {"h1": state}, now=10.0)


def on(found: Compiled) -> dict[str, tuple[bool, bool]]:
    return {
        domain.name: (domain.active, with_host(domain.on_boot, on=domain.active))
        for domain in found.slices["h1"].domains
    }


def test_a_machine_that_is_off_by_order_stays_off_and_does_not_come_back_with_its_host() -> None:
    found = compiled(Order(at=1, vm="a", on=False, against=True))
    assert on(found) == {"a": (False, False), "b": (False, True)}
    assert found.ordered == {"a": False}


def test_what_is_unset_follows_what_is_intended_on_and_the_scope_of_the_disks() -> None:
    pools = {"own": {"path": "/srv/own"}, "shared": {"path": "/srv/shared", "shared": True, "hosts": ["h1", "h2"]}}
    vms = {"a": {}, "b": {"power": "off"}, "c": {"on_boot": "stay_off"}}
    expected = {
        "own": {"a": (True, True), "b": (False, False), "c": (True, False)},
        "shared": {"a": (True, False), "b": (False, False), "c": (True, False)},
    }
    for pool, told in expected.items():
        instance = {**INSTANCE, "on_boot": None, "vms": vms, "disks": [{"pool": pool, "capacity": "1 GiB"}]}
        site = {"dos_projects": {"shop": {}}, "dos_pools": pools, "dos_instances": {"web": {**instance, "host": "h1"}}}
        state = HostState(facts=FakeHypervisor().facts())
        found = compile_site(load(site, hosts=("h1", "h2")), {"h1": state, "h2": state}, now=10.0)
        assert on(found) == told
        assert {domain.mark.on_boot for domain in found.slices["h1"].domains if domain.mark and domain.name != "c"} == {
            "last" if pool == "own" else "stay_off"
        }


def test_a_machine_that_is_on_by_order_stays_on() -> None:
    found = compiled(Order(at=1, vm="b", on=True, against=False))
    assert on(found)["b"] == (True, True)
    assert found.ordered == {"b": True}


def test_no_order_brings_up_a_machine_of_a_disabled_instance() -> None:
    found = compiled(Order(at=1, vm="b", on=True, against=False), enabled=False)
    assert on(found)["b"][0] is False
    assert found.ordered == {}
