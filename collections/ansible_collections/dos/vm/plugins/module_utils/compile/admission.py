# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules on which VMs are on, judged by what is intended and by what runs, before any host is changed (VM-08, VM-18).

The check of the declaration knows neither power overrides nor what people started by hand. Both are known once the hosts
were read: `contradictions` then judges a whole run, `refused_starts` a power operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..site.index import Finding, Intent
from ..site.site import Site
from ..site.sizes import Sizes, own_disks
from ..site.usage import Used, used
from ..site.validate import EXCLUSIVE, LIMITS, findings_of_intent
from .machine import Machine
from .placing import Situation
from .states import HostState


def contradictions(held: Situation, before: Used | None) -> list[Finding]:
    """What is wrong with the VMs that are intended on. `before` is what projects used of their quotas, where that is known.

    Nothing where all are intended as declared and no others count: the check of the declaration has judged that.
    """
    if not held.counted and all(held.intent[machine.name] == machine.declared_on for machine in held.machines):
        return []
    return list(findings_of_intent(held.site, held.intent, before, orphans=held.counted))


def on_now(held: Situation) -> dict[str, bool]:
    """The VMs that are intended on, and those that run although they are not."""
    return {vm: on or held.requests[vm].running for vm, on in held.intent.items()}


def refused_starts(held: Situation, rising: frozenset[str]) -> list[Finding]:
    """Why VMs cannot be brought up beside what is on now. `held` is the situation in which they are intended on.

    What hosts have room for is asked where any host answered.
    """
    now = {**on_now(held), **dict.fromkeys(rising, False)}
    by_host = _without_a_host(held, rising) if held.states else ()
    return [*_excluded(held, now, rising), *_over_limits(held, now, rising), *by_host]


def _excluded(held: Situation, now: Intent, rising: frozenset[str]) -> Iterator[Finding]:
    """What they would share with others that only one VM may have. What others share among themselves is not their fault."""
    known = set(findings_of_intent(held.site, now, first=rising, rules=EXCLUSIVE))
    then = findings_of_intent(held.site, _risen(now, rising), first=rising, rules=EXCLUSIVE)
    yield from (found for found in then if found not in known)


def _over_limits(held: Situation, now: Intent, rising: frozenset[str]) -> Iterator[Finding]:
    """The quotas that they would pass: all others are counted before them."""
    others = frozenset(held.intent) - rising
    before = used(held.site, {**now, **{vm: held.intent_before[vm] for vm in rising}}, held.counted)
    yield from findings_of_intent(
        held.site, _risen(now, rising), before, orphans=held.counted, first=others, rules=LIMITS
    )


def _risen(now: Intent, rising: frozenset[str]) -> Mapping[str, bool]:
    return {**now, **dict.fromkeys(rising, True)}


def _without_a_host(held: Situation, rising: frozenset[str]) -> Iterator[Finding]:
    """Those that their host cannot take, and those that may run on an unreachable host."""
    for machine in held.machines:
        if machine.name in rising and not held.starts(machine.name):
            place = ("dos_instances", machine.instance_name, "vms", machine.name)
            yield Finding(place, f"cannot be started: {held.why(machine.name)}")


def observed_sizes(site: Site, found: Iterable[Machine], states: Mapping[str, HostState]) -> dict[tuple[str, int], int]:
    """What hosts have of the disks whose size nothing declares, as `site.sizes` takes it."""
    sizes, seen = Sizes(site), {name: size for state in states.values() for name, size in state.capacities.items()}
    wanted = {(str(name), 0): f"{volume.pool}/{name}" for name, volume in site.volumes.items()}
    for machine in found:
        numbers = [number for number, disk in own_disks(machine.instance) if sizes.of_own(disk) is None]
        targets = machine.targets() if numbers else []
        for number in numbers:
            target, disk = targets[number]
            wanted[str(machine.name), number] = f"{disk.pool}/{machine.own_volume(target)}"
    return {key: seen[name] for key, name in wanted.items() if name in seen}
