# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every case of every kind, whatever it is about."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from lens_cases import Case, cases

from dosvm.model.decode import decode
from dosvm.xml.build import compact, parse, to_text
from dosvm.xml.compare import compare
from dosvm.xml.merge import covers, identified, merge
from dosvm.xml.normalize import normalize
from dosvm.xml.shape import Shape

KINDS = sorted({case.kind for case in cases()})
every_case = pytest.mark.parametrize("case", cases(), ids=str)
every_kind = pytest.mark.parametrize("kind", KINDS)

# Rows that no case of this libvirt (9.0, x86_64, no SELinux) can show, and why they are there.
NOT_SHOWN = {
    "domain/pm": "written for desktop guests by other tools",
    "domain/features/gic": "aarch64 only",
    "domain/features/smm": "written by libvirt when the firmware has secure boot",
    "domain/devices/hostdev/driver": "while a machine has it",
    "domain/devices/hostdev/alias": "likewise; no machine of ours has a device to give away",
    **dict.fromkeys(
        ("domain/devices/panic/address", "domain/devices/panic/alias", "domain/devices/tpm/address"), "of the board"
    ),
    "domain/devices/disk/mirror": "while a block job runs",
    **dict.fromkeys(
        ("domain/devices/disk/source/host", "domain/devices/disk/source/auth"), "of a disk that was put in by hand"
    ),
    **{
        f"domain/devices/{row}": "ports share one table"
        for row in ("channel/log", "channel/target/model", "console/address", "console/target/model", "serial/address")
    },
}
# Fields that are not XML: they say what is done with the object, or are settled before.
NOT_XML = {
    "Domain.active",
    "Domain.on_boot",
    "Domain.injection",
    "Domain.stop_timeout",
    "Gateway.active",
    "Network.active",
    "Network.autostart",
    "Network.xml",
    "Vxlan.unused",
}


@every_case
def test_normalizing_twice_is_normalizing_once(case: Case) -> None:
    for element in filter(lambda side: side is not None, (case.declared, case.observed)):
        assert compact(normalize(element, case.lens.SHAPE)) == compact(element)


@every_case
def test_nothing_differs_from_itself(case: Case) -> None:
    for element in filter(lambda side: side is not None, (case.declared, case.observed)):
        assert not list(compare(element, element, case.lens.SHAPE))


@every_case
def test_merging_twice_is_merging_once(case: Case) -> None:
    again = merge(case.declared, case.desired, case.lens.SHAPE)
    assert not list(compare(case.desired, again, case.lens.SHAPE))


@every_case
def test_merging_changes_neither_side(case: Case) -> None:
    declared, observed = case.declared, case.observed
    before = to_text(declared), observed is not None and to_text(observed)
    merge(declared, observed, case.lens.SHAPE)
    assert before == (to_text(declared), observed is not None and to_text(observed))


@every_case
def test_merging_keeps_every_declared_value(case: Case) -> None:
    desired = case.desired
    if case.kind == "domain":
        # The two values that libvirt makes more exact are the declared ones in other words.
        for place, attribute in (("os/type", "machine"), ("cpu", "mode")):
            declared, made = case.declared.find(place), desired.find(place)
            if declared is not None and made is not None:
                made.set(attribute, declared.get(attribute))
    assert covers(desired, case.declared)


@every_case
def test_what_is_written_is_in_the_table(case: Case) -> None:
    written = case.lens.render(without_fragments(case))
    assert not list(unknown(written, case.lens.SHAPE, case.kind))


def without_fragments(case: Case) -> Any:
    if not hasattr(case.declaration, "xml"):
        return case.declaration
    return dataclasses.replace(case.declaration, xml=() if case.kind == "domain" else None)


def unknown(element: Any, shape: Shape, path: str) -> Iterator[str]:
    if shape.whole:
        return
    yield from (f"{path}/@{name}" for name in element.attrib if name not in shape.attributes)
    if (element.text or "").strip() and not shape.text:
        yield f"{path}/text()"
    for child in element:
        if child.tag in shape.children:
            yield from unknown(child, shape.children[child.tag], f"{path}/{child.tag}")
        else:
            yield f"{path}/{child.tag}"


@every_kind
def test_every_row_is_shown_by_some_case(kind: str) -> None:
    shown: set[str] = set()
    for case in cases(kind):
        sides = [case.lens.render(case.declaration)]
        if (case.folder / "observed.xml").exists():
            sides.append(parse((case.folder / "observed.xml").read_text()))
        for side in sides:
            shown.update(paths(side, kind))
    rows = {path for path, _ in cases(kind)[0].lens.SHAPE.walk()}
    missing = {
        row for row in rows - shown if not any(row == known or row.startswith(f"{known}/") for known in NOT_SHOWN)
    }
    assert not missing


def paths(element: Any, path: str) -> Iterator[str]:
    yield path
    for child in element:
        yield from paths(child, f"{path}/{child.tag}")


@every_kind
def test_every_field_is_declared_by_some_case(kind: str) -> None:
    declared: set[str] = set()
    for case in cases(kind):
        declared.update(fields_of(case.declaration))
    missing = {name for name in all_fields(cases(kind)[0].type) if name not in declared}
    assert missing <= NOT_XML


def fields_of(value: Any) -> Iterator[str]:
    """The fields, `Class.field`, that do not hold their default."""
    if isinstance(value, tuple):
        for held in value:
            yield from fields_of(held)
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            held = getattr(value, field.name)
            if held != field.default:
                yield f"{type(value).__name__}.{field.name}"
                yield from fields_of(held)


def all_fields(kind: Any) -> set[str]:
    found: set[str] = set()
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        found.add(f"{kind.__name__}.{field.name}")
        for part in (hints[field.name], *typing.get_args(hints[field.name])):
            for inner in (part, *typing.get_args(part)):
                if dataclasses.is_dataclass(inner):
                    found |= all_fields(inner)
    return found


@every_case
def test_reading_back_what_was_written_gives_the_declaration(case: Case) -> None:
    declaration = without_fragments(case)
    explicit = getattr(case.lens, "explicit", lambda held: held)(declaration)
    read = decode(case.type, case.lens.parse(normalize(case.lens.render(declaration), case.lens.SHAPE)))
    silent = {
        name.split(".")[1]: getattr(explicit, name.split(".")[1])
        for name in NOT_XML
        if name.startswith(case.type.__name__)
    }
    assert dataclasses.replace(read, **silent) == explicit


@every_case
def test_a_new_identity_does_not_collide(case: Case) -> None:
    for element in filter(lambda side: side is not None, (case.declared, case.desired)):
        identities = [identity for identity, _ in identified(element, case.lens.SHAPE)]
        assert len(identities) == len(set(identities))
