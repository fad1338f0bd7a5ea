# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on each host, without asking every object of a site about every host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ..model.types import Name

Held = TypeVar("Held")


class ByHost(Generic[Held]):
    """Objects of one kind by host. `hosts_of` tells the hosts an object is on, `None` for all."""

    def __init__(self, held: Mapping[Name, Held], hosts_of: Callable[[Held], frozenset[Name] | None]) -> None:
        self._held = list(held.items())
        self._everywhere: list[int] = []
        self._bound: defaultdict[str, list[int]] = defaultdict(list)
        for place, (_, one) in enumerate(self._held):
            hosts = hosts_of(one)
            if hosts is None:
                self._everywhere.append(place)
            for host in hosts or ():
                self._bound[host].append(place)

    def on(self, host: str) -> list[tuple[Name, Held]]:
        """The objects of a host with their names, in the order of the declaration."""
        return [self._held[place] for place in sorted([*self._everywhere, *self._bound.get(host, ())])]
