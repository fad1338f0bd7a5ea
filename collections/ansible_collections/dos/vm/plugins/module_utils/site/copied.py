# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance that is another one but for what it says itself (`from`, INST-02), written out before anything is decoded.

What an operator writes lies over what is copied, field by field and not deeper: who writes disks writes all of them. A field
written with nothing in it (`host:`) is not copied either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import Problem, meant
from .merge import Where

FROM = "from"
OWN = ("vms", "count", "label")  # who the machines are is each instance's own
LONGEST = 16  # copies of copies
Instances = Mapping[Any, Any]


def written_out(instances: Instances, where: Where) -> tuple[dict[Any, Any], list[Problem]]:
    """The raw instances with what they copy, and what is wrong with that: nothing of that name, or a circle.

    One that copies nothing is the very object it was; one that cannot be copied is left out, and has a problem.
    """
    keys = {str(key): key for key in instances}
    problems: list[Problem] = []
    made: dict[Any, Any] = {}
    for key, held in instances.items():
        if base_of(held) is None:
            made[key] = held
            continue
        chain, wrong = _chain(str(key), keys, instances)
        if wrong:
            said = held[FROM]
            problems.append(Problem(f"dos_instances.{str(key)[:64]}.{FROM}", wrong, where(said) or where(key)))
        else:
            made[key] = _over(instances[keys[name]] for name in reversed(chain))
    return made, problems


def base_of(held: object) -> str | None:
    """What a raw instance is copied from, if it is."""
    said = held.get(FROM) if isinstance(held, Mapping) else None
    return None if said is None else str(said)


def _chain(name: str, keys: Mapping[str, Any], instances: Instances) -> tuple[list[str], str]:
    """The instance and those it is copied from, nearest first; or why there is no such list."""
    chain = [name]
    while (base := base_of(instances[keys[chain[-1]]])) is not None:
        if base in chain:
            circle = [*chain[chain.index(base) :], base]
            return chain, f"leads in a circle: {' → '.join(circle)}; take one from: out"
        if base not in keys:
            hint = meant(base[:64], keys, "declare it in dos_instances")
            return chain, f"instance {base[:64]!r} does not exist, {hint}"
        if len(chain) == LONGEST:
            return chain, f"is a copy of copies of more than {LONGEST} instances, copy a nearer one"
        chain.append(base)
    return chain, ""


def _over(layers: Iterable[Any]) -> dict[Any, Any]:
    """The first with the others over it. A key is the object of the layer that says it, which knows its place."""
    found: dict[Any, Any] = {}
    for layer in layers:
        said = dict(layer) if isinstance(layer, Mapping) else {}
        copied = {key: held for key, held in found.items() if str(key) not in (*OWN, FROM) and key not in said}
        found = {**copied, **said}
    return found


def told_once(told: Mapping[str, list[Problem]], instances: Instances) -> Iterator[Problem]:
    """What is wrong with each instance, by name, without what a copy has of the one it copies: that is told there."""
    relative = {
        name: {(problem.path.removeprefix(f"dos_instances.{name}"), problem.text) for problem in problems}
        for name, problems in told.items()
    }
    for key, held in instances.items():
        name = str(key)
        copied = relative.get(base_of(held) or "", set())
        for problem in told.get(name, ()):
            if (problem.path.removeprefix(f"dos_instances.{name}"), problem.text) not in copied:
                yield problem
