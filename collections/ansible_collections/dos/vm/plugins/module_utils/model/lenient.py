# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of some data as can be declared: what was read from a host was never written for us."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, TypeVar

from ..errors import DeclarationError, Problem
from .decode import decode

T = TypeVar("T")
PATIENCE = 60  # rounds; every round loses at least one value


def decode_most(
    kind: type[T],
    data: Mapping[str, Any],
    instead: Mapping[str, Any] | None = None,
    also: Callable[[T], object] = lambda value: None,
) -> T:
    """A `kind` of what is right in `data`; a value that cannot be is left out, and with it what cannot be without it.

    `instead` are values that need no others, for where leaving out is not enough (a network that is not forwarded).
    `also` raises for what else is wrong with a value, with the paths of the data.
    Raises `DeclarationError` when too little is left, as for an illegal name.
    """

    def attempt(plain: Mapping[str, Any]) -> T:
        value = decode(kind, plain)
        also(value)
        return value

    held = deepcopy(dict(data))
    for _ in range(PATIENCE):
        try:
            return attempt(held)
        except DeclarationError as refused:
            if without(held, refused.problems) or _drop_cause(attempt, held, len(refused.problems)):
                continue
            if not instead or all(held.get(name) == value for name, value in instead.items()):
                raise
            held |= instead
    return attempt(held)


def without(held: dict[str, Any], problems: Iterable[Problem]) -> bool:
    """Take out, in place, what the problems are about; whether there was anything."""
    # From the end, so that the places of a list's other entries stay what they are.
    paths = sorted({problem.path for problem in problems}, key=_steps, reverse=True)
    return any([_drop_one(held, _steps(path)) for path in paths])


def _steps(path: str) -> list[tuple[int, str]]:
    parts = path.replace("[", ".").replace("]", "").split(".")
    return [(int(part) if part.isdigit() else -1, part) for part in parts if part]


def _drop_one(held: Any, steps: list[tuple[int, str]]) -> bool:
    """Take out what the path leads to, or the nearest thing around it; the whole is never taken."""
    nearest: tuple[Any, Any] | None = None
    while steps:
        taken, key = _key(held, steps)
        if key is None:
            break
        nearest, held, steps = (held, key), held[key], steps[taken:]
    if nearest is None:
        return False
    del nearest[0][nearest[1]]
    return True


def _key(held: Any, steps: list[tuple[int, str]]) -> tuple[int, Any]:
    """How many steps lead to a key that is there, and that key; a name may have dots in it."""
    if isinstance(held, list):
        return 1, steps[0][0] if 0 <= steps[0][0] < len(held) else None
    if isinstance(held, dict):
        for length in range(len(steps), 0, -1):
            key = ".".join(part for _, part in steps[:length])
            if key in held:
                return length, key
    return 0, None


def _drop_cause(attempt: Callable[[Mapping[str, Any]], object], held: dict[str, Any], problems: int) -> bool:
    """Something is missing: take out the one value without which the fewest problems are left."""
    counted = [(_count(attempt, {name: held[name] for name in held if name != key}), key) for key in held]
    fewest, key = min(counted, default=(problems, ""))
    if fewest >= problems:
        return False
    del held[key]
    return True


def _count(attempt: Callable[[Mapping[str, Any]], object], data: dict[str, Any]) -> int:
    try:
        attempt(data)
    except DeclarationError as refused:
        return len(refused.problems)
    return 0
