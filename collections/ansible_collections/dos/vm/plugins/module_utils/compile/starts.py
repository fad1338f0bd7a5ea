# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is started after whom: the machines that are off and come after others, in waves, each behind its gates.

A gate is one `after:` as it was declared, with every machine that must be ready for it. Only what is to be started now has
gates, so a run that starts nothing asks nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from ..model.declaration import options
from ..model.decode import encode
from ..model.readiness import Check, Readiness
from ..model.types import Name
from ..site.after import After
from .handovers import Holder
from .machine import Machine
from .placing import Situation

SETTLED = 10  # seconds that a VM which the first start removed or stopped has to be off
WHOLE = "all of "  # an instance among machines; a name has no space


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Machines that may start when their gates are open.

    `starts` has the host of each machine and the numbers of its gates; `gates` what is asked of whom, in words; `checks` by
    host the machines that are asked; `never` by gate those that cannot be ready, with the reason.
    """

    starts: Mapping[str, tuple[str, tuple[int, ...]]]
    gates: tuple[str, ...] = ()
    checks: Mapping[str, tuple[Check, ...]] = field(default_factory=dict)
    never: Mapping[int, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The wave as Ansible keeps it."""
        return {
            "starts": {vm: {"host": host, "gates": list(gates)} for vm, (host, gates) in self.starts.items()},
            "gates": list(self.gates),
            "checks": {host: [encode(check) for check in checks] for host, checks in self.checks.items()},
            "never": {str(gate): why for gate, why in self.never.items()},
        }


def waves(held: Situation, by_host: Mapping[str, Sequence[Machine]]) -> tuple[Wave, ...]:
    """The waves that follow the first start of everything that waits for nobody; none where nothing waits."""
    behind = held.handovers.after
    if not behind and not any(_declares(machine) for machine in held.machines):
        return ()
    where = {str(machine.name): (host, machine) for host, found in by_host.items() for machine in found}
    running = frozenset(vm for vm in where if held.requests[vm].running)
    coming = frozenset(vm for vm, (host, machine) in where.items() if host and machine.on and vm not in running)
    waiting = {vm: where[vm][1].after for vm in coming if where[vm][1].after or vm in behind}
    if not waiting:
        return ()
    order = _Order(held.machines, where, coming, running, lambda vm: _why_never(held, where, vm), behind)
    return tuple(wave for level, wave in order.waves(waiting) if level)


def steps(found: Sequence[Machine], chosen: Mapping[str, tuple[str, Machine]], *, beginning: bool) -> tuple[Wave, ...]:
    """An order to `chosen` machines, each with its host, in steps: those that come first, then those that come after them; or
    the other way round where they end. Who is not chosen is not waited for: an order is somebody's word.
    """
    order = _Order(found, chosen, frozenset(chosen), frozenset(), lambda vm: "")
    waiting = {vm: tuple(filter(order.concerns, machine.after)) for vm, (_, machine) in chosen.items() if machine.after}
    waiting = {vm: held for vm, held in waiting.items() if held}
    if not waiting:
        return (at_once(chosen),)
    later = [wave for _, wave in order.waves(waiting)]
    ordered = (at_once({vm: held for vm, held in chosen.items() if vm not in waiting}), *later)
    return ordered if beginning else tuple(Wave(starts=wave.starts) for wave in reversed(ordered))


def at_once(chosen: Mapping[str, tuple[str, Machine]]) -> Wave:
    """All of them in one step."""
    return Wave(starts={vm: (host, ()) for vm, (host, _) in chosen.items()})


def _declares(machine: Machine) -> bool:
    return bool(machine.instance.after or machine.vm.after)


def _why_never(held: Situation, where: Mapping[str, tuple[str, Machine]], vm: str) -> str:
    host, machine = where.get(vm, ("", None))
    if machine is None or not host:
        return "is on no host that answered"
    if machine.on or held.requests[vm].running:
        return ""
    if held.intent[vm]:
        return "does not start where it is"
    return "is off by order" if machine.declared_on else "is declared off"


class _Order:
    """The levels of the machines that are to come, and the gates between them.

    `where` has the machines that may be asked, by name and with their hosts; `why_never` why one cannot be ready; `behind` the
    VMs that must be off before one starts.
    """

    def __init__(
        self,
        found: Iterable[Machine],
        where: Mapping[str, tuple[str, Machine]],
        coming: frozenset[str],
        running: frozenset[str],
        why_never: Callable[[str], str],
        behind: Mapping[str, tuple[Holder, ...]] | None = None,
    ) -> None:
        self._behind = behind or {}
        self._where, self._coming, self._running, self._why_never = where, coming, running, why_never
        self._instances: defaultdict[str, list[str]] = defaultdict(list)
        for machine in found:
            self._instances[str(machine.instance_name)].append(str(machine.name))

    def concerns(self, after: After) -> bool:
        """Whether any of those that it is about is to come."""
        return not self._coming.isdisjoint(self._members(after))

    def waves(self, waiting: Mapping[str, tuple[After, ...]]) -> list[tuple[int, Wave]]:
        """The waves with their levels, in order; level 0 are those that come with the first."""
        levels = self._levels(waiting)
        by_level: defaultdict[int, list[str]] = defaultdict(list)
        for vm in waiting:
            by_level[levels[vm]].append(vm)
        return [(level, self._wave({vm: waiting[vm] for vm in by_level[level]})) for level in sorted(by_level)]

    def _levels(self, waiting: Mapping[str, tuple[After, ...]]) -> dict[str, int]:
        """The wave in which each comes, 0 being the first start, -1 that nothing of it is to be started."""
        graph: dict[str, list[str]] = {vm: [self._node(after) for after in held] for vm, held in waiting.items()}
        for name in {after.name for held in waiting.values() for after in held} & self._instances.keys():
            graph[f"{WHOLE}{name}"] = self._instances[name]
        levels: dict[str, int] = {}
        for node in TopologicalSorter(graph).static_order():
            before = max((levels[other] for other in graph.get(node, ())), default=-1)
            if node.startswith(WHOLE):
                levels[node] = before
            elif node in waiting:
                asked = not all(self._is_open(after) for after in waiting[node])
                levels[node] = max(0, before + 1, int(asked or node in self._behind))
            else:
                levels[node] = 0 if node in self._coming else -1
        return levels

    def _node(self, after: After) -> str:
        return f"{WHOLE}{after.name}" if after.name in self._instances else str(after.name)

    def _members(self, after: After) -> list[str]:
        return self._instances.get(str(after.name), [str(after.name)])

    def _is_open(self, after: After) -> bool:
        """Whether nobody has to be asked: all that matters is that they run, and they do."""
        plain = after.tcp is None and after.http is None and after.ready != "agent"
        return plain and self._running.issuperset(self._members(after))

    def _wave(self, starts: Mapping[str, tuple[After, ...]]) -> Wave:
        numbers: dict[After, int] = {}
        placed = {
            vm: (self._where[vm][0], tuple(numbers.setdefault(one, len(numbers)) for one in held))
            for vm, held in starts.items()
        }
        checks: defaultdict[str, list[Check]] = defaultdict(list)
        never: dict[int, str] = {}
        for after, gate in numbers.items():
            for vm in self._members(after):
                if why := self._why_never(vm):
                    never.setdefault(gate, f"{vm}, which {why}")
                elif vm in self._where:
                    host, machine = self._where[vm]
                    checks[host].append(_check(machine, after, gate))
        gates = [f"{self._node(after)}, which must {after.wish} within {after.within} s" for after in numbers]
        for holder in dict.fromkeys(holder for vm in starts for holder in self._behind.get(vm, ())):
            checks[holder.host].append(Check(name=Name(holder.vm), gate=len(gates), off=True, within=SETTLED))
            for vm, (host, passed) in placed.items():
                if holder in self._behind.get(vm, ()):
                    placed[vm] = (host, (*passed, len(gates)))
            gates.append(holder.gate)
        return Wave(
            starts=placed, gates=tuple(gates), checks={host: tuple(held) for host, held in checks.items()}, never=never
        )


def _check(machine: Machine, after: After, gate: int) -> Check:
    addresses = tuple(ip for place in range(len(machine.instance.interfaces)) for ip in machine.ips(place))
    wish = {name: getattr(after, name) for name in options(Readiness)}
    return Check(name=machine.name, gate=gate, addresses=addresses, **wish)


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What a wave came to: who starts, by host; and who does not, by host and machine, with the reason."""

    hosts: Mapping[str, tuple[str, ...]]
    held: Mapping[str, Mapping[str, str]]


def released(wave: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]]) -> Released:
    """Who of a wave, as `Wave.plain` tells it, may start after what the hosts answered of those they were asked for."""
    shut: dict[int, list[str]] = {int(gate): [why] for gate, why in wave["never"].items()}
    for host, checks in wave["checks"].items():
        answer = answers.get(host) or {}
        unready = answer.get("unready")
        if unready is None:
            why = answer.get("msg") or "did not answer"
            unready = [
                {"gate": held.get("gate", 0), "name": held["name"], "reason": f"host {host}: {why}"} for held in checks
            ]
        for one in unready:
            shut.setdefault(int(one["gate"]), []).append(f"{one['name']}: {one['reason']}")
    hosts: defaultdict[str, list[str]] = defaultdict(list)
    held: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for vm, start in wave["starts"].items():
        closed = [gate for gate in start["gates"] if int(gate) in shut]
        if closed:
            held[start["host"]][vm] = "; ".join(_sentence(wave["gates"][int(gate)], shut[int(gate)]) for gate in closed)
        else:
            hosts[start["host"]].append(vm)
    return Released(
        hosts={host: tuple(names) for host, names in hosts.items()},
        held={host: dict(names) for host, names in held.items()},
    )


def _sentence(gate: str, reasons: Sequence[str], most: int = 3) -> str:
    more = f" and {len(reasons) - most} more" if len(reasons) > most else ""
    return f"it comes after {gate}: {', '.join(reasons[:most])}{more}"


def told(found: Iterable[Wave]) -> Iterable[str]:
    """The order in words, a line for each machine."""
    for wave in found:
        for vm, (_, gates) in wave.starts.items():
            yield f"{vm} is started after {', and after '.join(wave.gates[gate] for gate in gates)}"
