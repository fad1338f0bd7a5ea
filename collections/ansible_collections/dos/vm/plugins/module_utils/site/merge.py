# SPDX-License-Identifier: GPL-3.0-or-later
"""From variables to one raw map per kind: `dos_<kinds>` and every `dos_<kinds>__<anything>`, each name once.

Before anything is walked its size is computed, aliases counted as often as they are used: a few lines of YAML can stand for
more values than memory holds.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import DeclarationError, Origin, Problem
from .site import KINDS, SINGLES

Where = Callable[[object], Origin | None]
Raw = dict[str, dict[Any, Any]]

MOST_VALUES = 2_000_000  # a site of 20,000 machines has some 300,000
DEEPEST = 64
# Kinds that may be a list as well: nothing refers to them by name.
LISTED = frozenset(["assertions"])
# Variables of ours that are no kind: what a site is called, and what the playbooks are told.
SETTINGS = (
    "dos_site", "dos_hosts", "dos_allow", "dos_prune", "dos_adopt", "dos_uri", "dos_limit", "dos_confirm", "dos_plan_file",
    "dos_plan_exit_code", "dos_vm", "dos_explain_all", "dos_since", "dos_until", "dos_purge_before", "dos_times", "dos_name", "dos_kind", "dos_of_project", "dos_active", "dos_export_dir", "dos_export_only", "dos_actor",
    "dos_order", "dos_vms", "dos_checkpoint", "dos_label", "dos_instances_of", "dos_projects_of", "dos_timeout", "dos_force", "dos_reset_after", "dos_keep",
    "dos_store", "dos_store_administrator", "dos_store_clients", "dos_release", "dos_reason", "dos_password_file", "dos_seconds",
    "dos_policy_before", "dos_policy_signed", "dos_password",
    "dos_report_file", "dos_report_project",
    "dos_facts_file", "dos_facts_save", "dos_moves_file", "dos_moves", "dos_like", "dos_size", "dos_whatif",
    "dos_migration", "dos_migration_address", "dos_to", "dos_host", "dos_abort", "dos_return",
    "dos_address", "dos_gateway_hosts", "dos_file",
)  # fmt: skip


def no_origin(value: object) -> None:
    """For callers that cannot tell where a value was written."""


def guard(variables: Mapping[str, Any], where: Where = no_origin) -> None:
    """Raise `DeclarationError` for variables that nobody can have meant: too many values, too deep, or in a circle."""
    problems = [
        Problem(name, text, where(value) or where(name))
        for name, value in variables.items()
        if (text := _nonsense(value)) is not None
    ]
    if problems:
        raise DeclarationError(problems)


class _Measure(NamedTuple):
    size: int
    height: int
    value: object  # kept, so that nobody else gets its id


def _nonsense(value: Any) -> str | None:
    try:
        measured = _measure(value, {}, 0)
    except RecursionError:
        return f"contains itself, or is deeper than {DEEPEST} levels; write it flatter, and without aliases"
    except UnicodeEncodeError as broken:
        return f"has bytes that are not UTF-8, in {ascii(broken.object)[:40]}; save the file as UTF-8"
    if measured.height > DEEPEST:
        return f"is {measured.height} levels deep, write at most {DEEPEST}"
    if measured.size > MOST_VALUES:
        many = f"{measured.size:,}" if measured.size < 10**15 else "more than 10^15"
        return f"stands for {many} values through its aliases, write at most {MOST_VALUES:,}"
    return None


def _measure(value: Any, known: dict[int, _Measure], depth: int) -> _Measure:
    """How many values `value` stands for, each shared part counted once for every time it is used, and how deep it goes."""
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
        return _LEAF
    if not isinstance(value, (Mapping, list, tuple)):
        return _LEAF
    if depth > DEEPEST:
        raise RecursionError
    found = known.get(id(value))
    if found is None:
        parts = [*value, *value.values()] if isinstance(value, Mapping) else value
        measured = [_measure(part, known, depth + 1) for part in parts]
        size = 1 + sum(part.size for part in measured)
        found = known[id(value)] = _Measure(size, 1 + max((part.height for part in measured), default=0), value)
    return found


_LEAF = _Measure(1, 0, None)


def merge(variables: Mapping[str, Any], where: Where = no_origin) -> tuple[Raw, list[Problem]]:
    """The raw objects by kind and name, and what is wrong with the variables themselves: a name twice, no such kind."""
    problems: list[Problem] = []
    found: Raw = {kind: {} for kind in KINDS}
    written: dict[tuple[str, str], tuple[str, object]] = {}
    for variable, held in variables.items():
        kind = _kind(variable)
        if kind is None:
            problems += _unknown(variable, held, where)
        elif isinstance(held, Mapping):
            problems += _take(kind, variable, held, found[kind], written, where)
        elif kind in LISTED and isinstance(held, (list, tuple)):
            found[kind].update(_numbered(variable, held))
        elif held is not None:
            text = f"is {_word(held)} where a map by name is expected, write names with what each is"
            problems.append(Problem(variable, text, where(held) or where(variable)))
    return found, problems


def _numbered(variable: str, held: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The entries of a list by a name each: its place, after what the variable's own name adds."""
    own = variable.partition("__")[2]
    for place, data in enumerate(held, 1):
        yield f"{own}-{place}" if own else str(place), data


def _take(
    kind: str,
    variable: str,
    held: Mapping[Any, Any],
    found: dict[Any, Any],
    written: dict[tuple[str, str], tuple[str, object]],
    where: Where,
) -> Iterator[Problem]:
    for name, raw in held.items():
        first, key = written.setdefault((kind, str(name)), (variable, name))
        if first != variable or key is not name:
            place = where(key)
            there = f"{first} at {place}" if place else first
            text = f"is declared twice, first in {there}: keep one, or give one another name"
            yield Problem(f"{variable}.{str(name)[:64]}", text, where(name))
        else:
            found[name] = raw


def _kind(variable: str) -> str | None:
    kind = variable.removeprefix("dos_").partition("__")[0]
    return kind if variable.startswith("dos_") and kind in KINDS else None


def _unknown(variable: str, held: object, where: Where) -> Iterator[Problem]:
    """A variable that was meant to be one of ours. Others with our prefix belong to roles, or to the operator."""
    stem = variable.partition("__")[0]
    if variable in SETTINGS or variable.removeprefix("dos_") in SINGLES or not variable.startswith("dos_"):
        return
    known = [*KINDS, *SINGLES, *(name.removeprefix("dos_") for name in SETTINGS)]
    close = difflib.get_close_matches(stem.removeprefix("dos_")[:64], known, n=1, cutoff=0.7)
    hint = f"did you mean dos_{close[0]}?" if close else f"the kinds are: {', '.join(f'dos_{kind}' for kind in KINDS)}"
    if close or stem != variable:
        yield Problem(variable[:64], f"is not a variable of dos.vm, {hint}", where(held) or where(variable))


def _word(value: object) -> str:
    """The sort of a value, never the value: it may be a secret."""
    return "a list" if isinstance(value, (list, tuple)) else "text" if isinstance(value, str) else "a single value"
