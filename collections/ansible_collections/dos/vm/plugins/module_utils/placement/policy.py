# SPDX-License-Identifier: GPL-3.0-or-later
"""How hosts are chosen, made of what the site declares: filters in order, weighers with multipliers, the subset (SCHED-03)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import DeclarationError, Problem
from ..site.placement import Placement
from .filters import TABLE as FILTERS
from .filters import Filter
from .request import Request
from .room import Room
from .weighers import TABLE as WEIGHERS
from .weighers import Weigher

Multipliers = tuple[float, ...]  # by the place of the weigher in the policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Filters sorted by what they hang on, each sort in the order of the declaration, and weighers with their multipliers."""

    filters: tuple[Filter, ...] = FILTERS
    weighers: tuple[Weigher, ...] = WEIGHERS
    multipliers: Mapping[str, float] = field(default_factory=dict)
    subset: int = 1
    pack: bool = False

    def hanging_on(self, *what: str) -> tuple[Filter, ...]:
        return tuple(row for row in self.filters if row.hangs_on in what)

    def multipliers_of(self, request: Request) -> Multipliers:
        """What each weigher counts for a machine: its instance's word, then the site's, then the weigher's own."""
        own = dict(request.needs.weighers)
        return tuple(self._multiplier(row, own) for row in self.weighers)

    def _multiplier(self, row: Weigher, own: Mapping[str, float]) -> float:
        said = own.get(row.name, self.multipliers.get(row.name, row.multiplier))
        return -said if self.pack and row.room_left else said


def policy(declared: Placement, filters: Iterable[Filter] = (), weighers: Iterable[Weigher] = ()) -> Policy:
    """The policy that a site declares; `filters` and `weighers` are those of its plugins.

    A filter of a plugin is asked when it is named in `filters`, or when nothing is named there. Raises `DeclarationError` for
    names that nobody has, and for a plugin that takes a name that is taken.
    """
    known = _by_name("filters", (*FILTERS, *filters))
    scores = _by_name("weighers", (*WEIGHERS, *weighers))
    names = tuple(known) if declared.filters is None else declared.filters
    problems = [
        Problem(f"dos_placement.filters[{at}]", _unknown(name, "filter", known))
        for at, name in enumerate(names)
        if name not in known
    ]
    problems += (
        Problem(f"dos_placement.weighers.{name}", _unknown(name, "weigher", scores))
        for name in declared.weighers or {}
        if name not in scores
    )
    if problems:
        raise DeclarationError(problems)
    return Policy(
        filters=tuple(known[name] for name in names),
        weighers=tuple(scores.values()),
        multipliers={str(name): times for name, times in (declared.weighers or {}).items()},
        subset=max(1, declared.subset),
        pack=declared.strategy == "pack",
    )


def _by_name(what: str, rows: Iterable[Filter | Weigher]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in rows:
        if row.name in found:
            raise DeclarationError.at(
                "dos_placement.plugins", f"{row.name} is taken among the {what}, write another name"
            )
        found[row.name] = row
    return found


def _unknown(name: str, what: str, known: Mapping[str, object]) -> str:
    return f"{name!r} is not a {what}, the {what}s are: {', '.join(known)}"


def weights(policy: Policy, request: Request, room: Room) -> dict[str, float]:
    """What each weigher adds to a host, those that count for nothing left out."""
    rows = zip(policy.weighers, policy.multipliers_of(request), strict=True)
    return {row.name: times * row.score(request, room) for row, times in rows if times}
