# SPDX-License-Identifier: GPL-3.0-or-later
"""A console's password is compared by its name, and shown by none."""

from __future__ import annotations

from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Slice
from dosvm.plan.passwords import referenced
from dosvm.plan.plan import Observed
from dosvm.xml.build import compact, parse
from dosvm.xml.compare import compare
from dosvm.xml.shape import Attr, shape

ADDRESS = Address("domain", "d")
HELD = decode(
    Slice, {"domains": [{"name": "d", "memory": "1 MiB", "graphics": [{"type": "vnc", "password": "console"}]}]}
)


def password(values: dict[str, bytes]) -> str | None:
    xml = parse('<domain><devices><graphics type="vnc" passwd="hunter2"/></devices></domain>')
    found = referenced({ADDRESS: Observed(address=ADDRESS, xml=xml)}, HELD, values)
    held = found[ADDRESS].xml.find("devices/graphics")
    return None if held is None else held.get("passwd")


def test_the_declared_password_reads_as_its_reference() -> None:
    assert password({"console": b"hunter2"}) == "secret:console"


def test_another_password_stays_and_so_differs() -> None:
    assert password({"console": b"hunter3"}) == "hunter2"


def test_without_the_value_the_password_is_taken_for_the_right_one() -> None:
    assert password({}) == "secret:console"


def test_a_console_that_goes_does_not_tell_its_password() -> None:
    devices = shape("devices", shape("graphics", Attr("type"), Attr("passwd", secret=True), key="@type"))
    before = parse('<devices><graphics type="vnc" passwd="hunter2"/></devices>')
    (change,) = compare(before, parse("<devices/>"), devices)
    assert change.before is not None
    assert "hunter2" not in change.before
    assert "hunter2" in compact(before)
