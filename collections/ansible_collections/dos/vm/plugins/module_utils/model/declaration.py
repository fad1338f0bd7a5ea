# SPDX-License-Identifier: GPL-3.0-or-later
"""How a declaration is written down: frozen dataclasses whose every field says what it is for.

`option()` carries what the argument spec, the module documentation, the JSON schema and the error messages need, so an
option is described once. `@declaration` makes the class frozen, slotted and keyword-only, and runs its `check()`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

from ..errors import DeclarationError, Problem

T = TypeVar("T")

REQUIRED: Any = dataclasses.MISSING


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """What is known of one field besides its type.

    `doc` is a full sentence for the reader of the manual, `spec` the requirement it comes from (`NET-T3.1`), `low` and
    `high` the inclusive range of a number or of the length of a list, `secret` whether the value must never be shown.
    `instead` has, by word, what to write in place of one that other products know and we do not.
    """

    doc: str
    spec: str = ""
    low: int | None = None
    high: int | None = None
    secret: bool = False
    example: object = None
    instead: Mapping[str, str] | None = None


def option(
    doc: str,
    *,
    default: Any = REQUIRED,
    spec: str = "",
    low: int | None = None,
    high: int | None = None,
    secret: bool = False,
    example: object = None,
    instead: Mapping[str, str] | None = None,
) -> Any:
    """Declare a field; without `default` the operator must give it."""
    held = Option(doc, spec, low, high, secret, example, instead)
    return dataclasses.field(default=default, metadata={"option": held}, repr=not secret)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
def declaration(cls: type[T]) -> type[T]:
    """Make `cls` a declaration. A method `check()` may yield `(path, sentence)` pairs; any of them refuses the value."""
    check: Callable[[T], Iterator[tuple[str, str]]] | None = cls.__dict__.get("check")
    if check is not None:

        def __post_init__(self: T) -> None:
            problems = [Problem(path, text) for path, text in check(self)]
            if problems:
                raise DeclarationError(problems)

        cls.__post_init__ = __post_init__  # type: ignore[attr-defined]  # dataclass looks for it by name
    return dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)


def key_of(field: dataclasses.Field[Any]) -> str:
    """How a field is written in YAML: `from_` is `from`, which Python keeps for itself."""
    return field.name.removesuffix("_")


def in_order(kind: type) -> list[dataclasses.Field[Any]]:
    """The fields of a declaration as a reader should meet them: its own, then those that it shares with others."""
    shared = {
        field.name for base in kind.__mro__[1:] if dataclasses.is_dataclass(base) for field in dataclasses.fields(base)
    }
    return sorted(dataclasses.fields(kind), key=lambda field: field.name in shared)


def options(kind: type) -> Mapping[str, Option]:
    """The options of a declaration class by field name, in order."""
    return {field.name: field.metadata["option"] for field in in_order(kind)}
