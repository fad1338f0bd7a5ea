# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not known to be by libvirt's schema is left to libvirt to judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosvm.hypervisor.schema import FOLDER, is_known_valid
from dosvm.xml.build import parse

SCHEMA = """<grammar xmlns="http://relaxng.org/ns/structure/1.0"><start><element name="domain">
<element name="name"><text/></element></element></start></grammar>"""
MACHINE = "<domain type='qemu'><name>a</name><memory>1024</memory><os><type>hvm</type></os>{}</domain>"


def test_only_what_the_schema_takes_is_known(tmp_path: Path) -> None:
    (tmp_path / "domain.rng").write_text(SCHEMA)
    assert is_known_valid(parse("<domain><name>a</name></domain>"), tmp_path)
    assert not is_known_valid(parse("<domain><nam>a</nam></domain>"), tmp_path)


@pytest.mark.parametrize(
    "text", [None, "no XML", "<grammar xmlns='http://relaxng.org/ns/structure/1.0'><sta/></grammar>"]
)
def test_a_host_without_a_schema_knows_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "domain.rng").write_text(text)
    assert not is_known_valid(parse("<domain/>"), tmp_path)


@pytest.mark.skipif(not FOLDER.exists(), reason="libvirt's schema is not on this machine")
def test_libvirts_own_schema_is_read() -> None:
    assert is_known_valid(parse(MACHINE.format("")))
    assert not is_known_valid(parse(MACHINE.format("<featurs/>")))
