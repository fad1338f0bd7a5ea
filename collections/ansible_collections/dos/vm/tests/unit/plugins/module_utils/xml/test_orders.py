# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders as a machine carries them, and what they make of its declaration."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.xml.build import parse
from dosvm.xml.orders import NAMESPACE, Orders, Override, as_ordered, read, read_text, write

STOP = Override(power="off", number=3, against="on", by="bob")
ORDERS = Orders(
    number=4,
    overrides=(STOP, Override(power="off", number=4, until=2000.0, against="on", by="ann")),
    attached=(("disk", "vdc"),),
    detached=(("interface", "52:54:00:00:00:01"),),
    error="no room",
)


def domain(orders: Orders, devices: str = "") -> Any:
    # As libvirt gives it back: the root in its name space, the rest in none.
    text = (
        (write(orders) or "<orders/>")
        .replace("<orders", f'<o:orders xmlns:o="{NAMESPACE}"')
        .replace("</orders", "</o:orders")
    )
    return parse(f"<domain><metadata>{text}</metadata><devices>{devices}</devices></domain>")


@pytest.mark.parametrize("orders", [ORDERS, Orders(), Orders(number=2), Orders(error="why")])
def test_what_is_written_is_read(orders: Orders) -> None:
    assert read(domain(orders)) == orders


def test_nothing_ordered_is_nothing_written() -> None:
    assert write(Orders()) is None
    assert ORDERS.released() == Orders(number=5, error="no room")
    assert read_text(write(ORDERS) or "") == ORDERS


def test_the_opposite_order_about_a_device_takes_the_first_one_back() -> None:
    disk = ("disk", "vdc")
    once = Orders().with_device(disk, attached=True)
    assert once.with_device(disk, attached=True) == once
    assert once.with_device(disk, attached=False) == Orders()
    assert Orders().with_device(disk, attached=False).detached == (disk,)


def test_a_device_attached_by_order_counts_as_declared_and_one_detached_does_not() -> None:
    vda, vdb, vdc = (f"<disk><target dev='{name}'/></disk>" for name in ("vda", "vdb", "vdc"))
    orders = Orders(attached=(("disk", "vdc"),), detached=(("disk", "vdb"),))
    declared = parse(f"<domain><devices>{vda}{vdb}</devices></domain>")
    held = as_ordered(declared, domain(orders, vda + vdc))
    assert [target.get("dev") for target in held.iterfind("devices/disk/target")] == ["vda", "vdc"]


def given(orders: Orders, power: Any, until: float | None = None, against: Any = "on", least: int = 0) -> Orders:
    return orders.overridden(power, until=until, against=against, by="ann", least=least)


def numbers(orders: Orders) -> list[int]:
    return [one.number for one in orders.overrides]


def test_the_host_counts_overrides_and_a_release_keeps_the_count() -> None:
    stopped = given(Orders(), "off")
    assert (stopped.number, numbers(stopped)) == (1, [1])
    assert given(stopped, "off") == stopped, "it was given already"
    released = stopped.released()
    assert (released.number, released.overrides) == (2, ())
    assert released.released() == released
    assert given(released, "off").number == 3
    assert given(released, "off", least=9).number == 9, "the store has come further"


def test_one_with_an_end_hides_an_older_one_and_one_without_ends_it() -> None:
    stopped = given(Orders(), "off")
    for_now = given(stopped, "on", until=10.0)
    assert numbers(for_now) == [1, 2]
    assert numbers(given(for_now, "on", until=20.0)) == [1, 3], "what ends sooner will never count again"
    assert numbers(given(for_now, "off")) == [3]
    assert given(for_now, "on").overrides == (), "what is declared needs no override"
    assert given(Orders(), "on", until=10.0).overrides == ()


def test_one_of_an_older_version_has_the_first_number_and_its_time_counts_for_nothing() -> None:
    old = f'<o:orders xmlns:o="{NAMESPACE}"><power state="off" at="99999999999.0" against="on" by="ann"/></o:orders>'
    held = read(parse(f"<domain><metadata>{old}</metadata></domain>"))
    assert held == Orders(number=1, overrides=(Override(power="off", number=1, against="on", by="ann"),))
