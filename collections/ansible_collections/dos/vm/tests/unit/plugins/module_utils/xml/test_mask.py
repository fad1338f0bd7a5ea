# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a definition never holds a secret."""

from __future__ import annotations

from dosvm.plan.definition import differ
from dosvm.xml.build import parse, to_text
from dosvm.xml.mask import masked
from dosvm.xml.shape import Attr, shape

SHAPE = shape(
    "domain",
    shape("name"),
    shape("devices", shape("graphics", Attr("type"), Attr("passwd", secret=True), key="@type", field="graphics")),
    shape("auth", secret=True),
)
TEXT = '<domain><name>a</name><devices><graphics type="vnc" passwd="{}"/></devices></domain>'


def test_a_secret_attribute_is_hidden_and_the_original_keeps_it() -> None:
    element = parse(TEXT.format("hunter2"))
    assert "hunter2" not in to_text(masked(element, SHAPE))
    assert "hunter2" in to_text(element)


def test_a_password_in_an_element_that_no_table_names_is_hidden() -> None:
    element = parse('<domain><foreign password="hunter2"><deep passwd="hunter3"/></foreign></domain>')
    assert "hunter" not in to_text(masked(element, SHAPE))


def test_a_secret_element_is_hidden_with_all_below() -> None:
    element = parse('<domain><auth kind="x"><inner>hunter2</inner></auth></domain>')
    assert to_text(masked(element, SHAPE)) == '<domain>\n  <auth kind="x">(hidden)</auth>\n</domain>\n'


def test_the_difference_shows_no_secret_and_what_is_defined_keeps_its_placeholder() -> None:
    difference = differ(parse(TEXT.format("secret:console")), parse(TEXT.format("hunter2")), SHAPE)
    assert "hunter2" not in difference.before + difference.after
    assert [change.before for change in difference.changes] == ["(hidden)"]
    assert "secret:console" in to_text(difference.desired)
