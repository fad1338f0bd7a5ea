# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders that machines carry, in what a site comes to."""

from __future__ import annotations

from typing import Any

from dosvm.compile.site import Compiled, compile_site
from dosvm.compile.states import HostState
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.intent.power import Order
from dosvm.site.load import load

INSTANCE: dict[str, Any] = {
    "project": "shop",
    "memory": "64 MiB",
    "autostart": True,
    "vms": {"a": {}, "b": {"power": "off"}},
}


def compiled(*orders: Order, **more: Any) -> Compiled:
    declared = {"dos_projects": {"shop": {}}, "dos_instances": {"web": {**INSTANCE, **more}}}
    state = HostState(facts=FakeHypervisor().facts(), domains={"a": True, "b": True}, orders=orders)
    return compile_site(load(declared, hosts=("h1",)), {"h1": state}, now=10.0)


def on(found: Compiled) -> dict[str, tuple[bool, bool]]:
    return {domain.name: (domain.active, domain.autostart) for domain in found.slices["h1"].domains}


def test_a_machine_that_is_off_by_order_stays_off_and_does_not_come_back_with_its_host() -> None:
    found = compiled(Order(at=1, vm="a", on=False, against=True))
    assert on(found) == {"a": (False, False), "b": (False, True)}
    assert found.ordered == {"a": False}


def test_a_machine_that_is_on_by_order_stays_on() -> None:
    found = compiled(Order(at=1, vm="b", on=True, against=False))
    assert on(found)["b"] == (True, True)
    assert found.ordered == {"b": True}


def test_no_order_brings_up_a_machine_of_a_disabled_instance() -> None:
    found = compiled(Order(at=1, vm="b", on=True, against=False), enabled=False)
    assert on(found)["b"][0] is False
    assert found.ordered == {}
