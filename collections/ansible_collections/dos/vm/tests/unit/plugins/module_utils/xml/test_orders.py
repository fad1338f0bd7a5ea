# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders as a machine carries them, and what they make of its declaration."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.xml.build import parse
from dosvm.xml.orders import NAMESPACE, Orders, as_ordered, read, read_text, write

ORDERS = Orders(
    power="off",
    at=1000.5,
    until=2000.0,
    against="on",
    by="ann",
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


@pytest.mark.parametrize("orders", [ORDERS, Orders(), Orders(power="on", at=1.0), Orders(error="why")])
def test_what_is_written_is_read(orders: Orders) -> None:
    assert read(domain(orders)) == orders


def test_nothing_ordered_is_nothing_written() -> None:
    assert write(Orders()) is None
    assert ORDERS.released() == Orders(error="no room")
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
