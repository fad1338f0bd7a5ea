# SPDX-License-Identifier: GPL-3.0-or-later
"""What is different between two sites, object by object and field by field: what they mean, not how they are written. Pure."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import spell
from ..model.declaration import Option
from ..model.decode import encode
from .site import KINDS, SINGLES, Site

Place = tuple[str | int, ...]
HIDDEN = "(not shown)"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value that is different; nothing on the side where there is none. Of a secret neither is shown."""

    at: Place
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{spell(self.at)}: {_shown(self.before)} → {_shown(self.after)}"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object that came, went, or is another: `old` and `new` as they are declared."""

    kind: str
    name: str
    op: Literal["add", "remove", "modify"]
    old: Any
    new: Any
    fields: tuple[FieldChange, ...] = ()

    @property
    def path(self) -> str:
        return f"dos_{self.kind}.{self.name}" if self.name else f"dos_{self.kind}"

    def __str__(self) -> str:
        words = {"add": "is new", "remove": "is gone", "modify": "is changed"}
        return f"{self.path} {words[self.op]}"


def differences(before: Site, after: Site) -> tuple[ObjectChange, ...]:
    """Everything that is different, in the order of the kinds and of the names."""
    return tuple(_differences(before, after))


def _differences(before: Site, after: Site) -> Iterator[ObjectChange]:
    if before.name != after.name:
        yield ObjectChange("site", "", "modify", before.name, after.name, (FieldChange((), before.name, after.name),))
    for single in SINGLES:
        yield from _object(single, "", getattr(before, single), getattr(after, single))
    for kind in KINDS:
        old, new = getattr(before, kind), getattr(after, kind)
        for name in sorted({*old, *new}):
            yield from _object(kind, name, old.get(name), new.get(name))


def _object(kind: str, name: str, old: Any, new: Any) -> Iterator[ObjectChange]:
    if old == new:
        return
    if old is None or new is None:
        yield ObjectChange(kind, name, "add" if old is None else "remove", old, new)
        return
    fields = tuple(_fields((), encode(old), encode(new), _secrets(type(new))))
    if fields:
        yield ObjectChange(kind, name, "modify", old, new, fields)


def _fields(at: Place, old: Any, new: Any, secrets: frozenset[str]) -> Iterator[FieldChange]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            if name in secrets and old.get(name) != new.get(name):
                yield FieldChange((*at, name), _hidden(old.get(name)), _hidden(new.get(name)))
            else:
                yield from _fields((*at, name), old.get(name), new.get(name), secrets)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _fields((*at, place), one, other, secrets)
    else:
        yield FieldChange(at, old, new)


def _secrets(kind: type) -> frozenset[str]:
    """The names of fields whose values are never shown."""
    if not dataclasses.is_dataclass(kind):
        return frozenset()
    options = ((field.name, typing.cast("Option", field.metadata["option"])) for field in dataclasses.fields(kind))
    return frozenset(name for name, option in options if option.secret)


def _hidden(value: Any) -> str | None:
    return None if value is None else HIDDEN


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
