# SPDX-License-Identifier: GPL-3.0-or-later
"""From variables to a checked `Site`, or to every problem there is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..errors import DeclarationError, Origin, Problem, spell
from ..model.decode import decode
from ..model.types import Address, Name
from .copied import told_once, written_out
from .index import Finding, Place
from .merge import Raw, Where, guard, merge, no_origin
from .site import DEFAULT_NAME, KINDS, SINGLES, Site
from .validate import findings

LONGEST = 160  # of a path in a message
HIDDEN = {"secrets": "value", "users": "password"}  # fields whose values are never shown
HARMLESS = ("is required", "known field", "is not shown")  # what is said of such a field without what is in it


def load(
    variables: Mapping[str, Any],
    *,
    hosts: Iterable[str],
    groups: Mapping[str, Iterable[str]] | None = None,
    where: Where = no_origin,
    check: bool = True,
    used: Mapping[tuple[str, str], int] | None = None,
    address_of: Callable[[str], object] = no_origin,
) -> Site:
    """The site that the variables declare for these hosts; `groups` are the inventory's, with the names of their hosts.

    Raises `DeclarationError` with everything that is wrong, sorted by place. An object that cannot be read is still known by
    its name, so that the others' references to it are not reported as well. `check=False` leaves the rules out. `used` is what projects used
    of their quotas before, by project and quota, which they keep though a limit was lowered.
    `address_of` tells what the inventory has for the address of a host; it is asked only where something needs one.
    """
    guard(variables, where)
    raw, problems = merge(variables, where)
    read, broken = _decode_all(raw, problems, where)
    singles: dict[str, Any] = {single: _single(single, variables, problems, where) for single in SINGLES}
    known = tuple(_hosts(hosts, problems))
    read["host_groups"] = _with_members(read["host_groups"], groups or {}, known)
    site = Site(name=_site_name(variables, problems, where), hosts=known, **read, **singles)
    if any(network.vxlan for network in site.networks.values()):
        site = replace(site, addresses=dict(_addresses(site.hosts, address_of)))
    if check:
        raw |= {single: variables.get(f"dos_{single}") or {} for single in SINGLES}
        origins = _Origins(raw, where)
        problems += (origins.problem(found) for found in findings(site, broken, used))
    if problems:
        raise DeclarationError(sorted(problems, key=_by_place))
    return site


def located(found: Iterable[Finding], variables: Mapping[str, Any], where: Where = no_origin) -> DeclarationError:
    """What rules found in a site that was loaded from these variables, with the file and line of each place."""
    raw, _ = merge(variables, where)
    raw["instances"], _ = written_out(raw["instances"], where)
    origins = _Origins(raw, where)
    return DeclarationError(sorted((origins.problem(finding) for finding in found), key=_by_place))


def _decode_all(raw: Raw, problems: list[Problem], where: Where) -> tuple[dict[str, Any], frozenset[tuple[str, str]]]:
    """Every object that can be read, and the kind and name of every one that cannot."""
    read: dict[str, Any] = {kind: {} for kind in KINDS}
    told: dict[str, dict[str, list[Problem]]] = {kind: {} for kind in KINDS}
    declared = {(kind, str(key)) for kind, objects in raw.items() for key in objects}
    raw["instances"], uncopied = written_out(raw["instances"], where)
    for kind, objects in raw.items():
        for key, data in objects.items():
            try:
                read[kind][_name(kind, key, where(key) or where(data))] = _object(kind, key, data, where)
            except DeclarationError as refused:
                told[kind].setdefault(str(key), []).extend(refused.problems)
    instances = told.pop("instances")
    problems += [*uncopied, *told_once(instances, raw["instances"])]
    problems += (problem for of_kind in told.values() for found in of_kind.values() for problem in found)
    return read, frozenset(declared - {(kind, str(name)) for kind in KINDS for name in read[kind]})


def _single(single: str, variables: Mapping[str, Any], problems: list[Problem], where: Where) -> Any:
    """What there is one of; as if nothing were said when it cannot be read, for the rules to go on."""
    variable = f"dos_{single}"
    data = variables.get(variable)
    try:
        return decode(SINGLES[single], {} if data is None else data, path=variable, where=where)
    except DeclarationError as refused:
        problems += [replace(problem, origin=problem.origin or where(data)) for problem in refused.problems]
        return SINGLES[single]()


def _with_members(
    declared: Mapping[Name, Any], groups: Mapping[str, Iterable[str]], hosts: tuple[Name, ...]
) -> dict[Name, Any]:
    """Host groups that name no hosts have those of the inventory's group of the same name (HGRP-T1.3)."""
    found = dict(declared)
    for name, group in declared.items():
        if group.hosts is None and name in groups:
            inside = frozenset(groups[name])
            found[name] = replace(group, hosts=tuple(host for host in hosts if host in inside) or None)
    return found


def _name(kind: str, key: object, origin: Origin | None) -> Name:
    path = f"dos_{kind}.{str(key)[:64]}"
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise DeclarationError.at(path, f"{key!r} is not a name, write it in quotes", origin)
    try:
        return Name(str(key))
    except ValueError as refused:
        raise DeclarationError.at(path, str(refused), origin) from None


def _object(kind: str, key: object, data: Any, where: Where) -> Any:
    try:
        return decode(KINDS[kind], {} if data is None else data, path=f"dos_{kind}.{key}", where=where)
    except DeclarationError as refused:
        raise DeclarationError(_shown(kind, key, problem, where) for problem in refused.problems) from None


def _shown(kind: str, key: object, problem: Problem, where: Where) -> Problem:
    """A problem as it may be shown: with a place, a path of bearable length, and never the value of a secret (SECO-08)."""
    path, text = problem.path, problem.text
    if kind in HIDDEN:
        path, text = _hidden(f"dos_{kind}.{key}", HIDDEN[kind], path, text)
    path = path if len(path) <= LONGEST else path[: LONGEST - 1] + "…"
    return Problem(path, text, problem.origin or where(key))


def _hidden(base: str, field: str, path: str, text: str) -> tuple[str, str]:
    """What may be said of a secret: a value in the wrong place is a value still."""
    if path == base:
        return base, f"a mapping is expected, write {field}: and what it is (what is there is not shown)"
    if path.startswith(f"{base}.{field}") and not any(known in text for known in HARMLESS):
        return path, "is not text, write it in quotes (what is there is not shown)"
    if "is not a known field, the fields" in text:
        return base, text.replace("is not a known field", "has a field that is not known")
    return path, text


def _site_name(variables: Mapping[str, Any], problems: list[Problem], where: Where) -> Name:
    given = variables.get("dos_site", DEFAULT_NAME)
    try:
        return Name(given)
    except ValueError as refused:
        problems.append(Problem("dos_site", str(refused), where(given)))
        return DEFAULT_NAME


def _hosts(hosts: Iterable[str], problems: list[Problem]) -> Iterator[Name]:
    for host in hosts:
        try:
            yield Name(str(host))
        except ValueError as refused:
            problems.append(Problem("", f"the inventory's host {refused}"))


def _addresses(hosts: Iterable[Name], address_of: Callable[[str], object]) -> Iterator[tuple[Name, Address]]:
    """The addresses that are addresses; a host may be known by a name only, which is no end for a tunnel."""
    for host in hosts:
        with suppress(ValueError):
            yield host, Address(str(address_of(host)))


class _Origins:
    """Finds where the places that rules name were written."""

    def __init__(self, raw: Raw, where: Where) -> None:
        self._raw, self._where = raw, where
        self._keys: dict[int, dict[str, object]] = {}

    def problem(self, found: Finding) -> Problem:
        """A finding as a problem with its origin, and the origin of the other place in its text."""
        problem = Problem(spell(found.at), found.text, self.of(found.at))
        if found.other is None:
            return problem
        origin = self.of(found.other)
        place = f"{spell(found.other)} at {origin}" if origin else spell(found.other)
        return replace(problem, text=f"{found.text}; see {place}")

    def of(self, place: Place) -> Origin | None:
        """Where the value at a place was written, or the nearest one around it."""
        kind, *steps = place
        held: Any = self._raw.get(str(kind).removeprefix("dos_"))
        found: Origin | None = None
        for step in steps:
            key, held = self._step(held, step)
            found = self._where(held) or self._where(key) or found
        return found

    def _step(self, held: Any, step: str | int) -> tuple[object, Any]:
        if isinstance(held, Mapping):
            if id(held) not in self._keys:
                self._keys[id(held)] = {str(key): key for key in held}
            key = self._keys[id(held)].get(str(step))
            return key, held.get(key)
        if isinstance(held, (list, tuple)) and isinstance(step, int) and step < len(held):
            return None, held[step]
        return None, None


def _by_place(problem: Problem) -> tuple[str, int, str, str]:
    origin = problem.origin
    return (origin.file if origin else "", (origin.line or 0) if origin else 0, problem.path, problem.text)
