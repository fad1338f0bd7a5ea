# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about who is near to whom, from the instances that declare them to every machine they are about (SCHED-09)."""

from __future__ import annotations

from collections import defaultdict

from ..placement.request import Near
from ..site.site import Site
from .machine import Machine


class Rules:
    """Who must or should be near to whom, or apart, from both sides: who is avoided avoids as well (SCHED-09)."""

    def __init__(self, site: Site) -> None:
        self._asks = {str(name): held.placement for name, held in site.instances.items() if held.placement}
        self._avoided: defaultdict[str, list[tuple[Near, bool]]] = defaultdict(list)
        self._mentioned: set[str] = set()
        for name, asks in self._asks.items():
            for held in (*asks.affinity, *asks.anti_affinity):
                self._mentioned.update(held.to or (name,))
            for held in asks.anti_affinity:
                self._mentioned.update((name,) if held.to else ())
                for tag in held.to:
                    self._avoided[tag].append((Near(name, held.by), held.strict))

    def tags(self, machine: Machine) -> tuple[str, ...]:
        """The names under which rules mean a machine."""
        return self.tags_of(str(machine.instance_name), str(machine.name))

    def tags_of(self, instance: str, vm: str) -> tuple[str, ...]:
        """The same, by its instance and its own name."""
        if not self._mentioned:
            return ()
        names = (instance, vm)
        return tuple(name for name in dict.fromkeys(names) if name in self._mentioned)

    def of(
        self, machine: Machine, tags: tuple[str, ...]
    ) -> tuple[tuple[Near, ...], tuple[Near, ...], tuple[tuple[Near, bool], ...]]:
        """What it must be near to, what it must be apart from, and its wishes with whether they are to be near."""
        name = str(machine.instance_name)
        asks = self._asks.get(name)
        near: dict[Near, None] = {}
        apart: dict[Near, None] = {}
        wishes: dict[tuple[Near, bool], None] = {}
        for together, held in ((True, asks.affinity), (False, asks.anti_affinity)) if asks else ():
            for one in held:
                for tag in one.to or (name,):
                    rule = Near(str(tag), str(one.by))
                    if one.strict:
                        (near if together else apart)[rule] = None
                    else:
                        wishes[rule, together] = None
        for tag in tags:
            for rule, strict in self._avoided.get(tag, ()):
                if strict:
                    apart[rule] = None
                else:
                    wishes[rule, False] = None
        return tuple(near), tuple(apart), tuple(wishes)
