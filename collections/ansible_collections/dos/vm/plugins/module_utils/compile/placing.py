# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is where and who should be: a request for every machine, a room for every host, and the decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ..errors import DeclarationError, meant
from ..intent.power import Order, intended, newer
from ..placement.explain import Verdict, explain, remaining
from ..placement.fleet import Fleet
from ..placement.place import place
from ..placement.policy import Policy, policy
from ..placement.request import Decision, Request
from ..site.index import Orphan
from ..site.site import Site
from .handovers import NONE, Handovers, handovers
from .machine import Machine, machines
from .memory import NOTHING, Memory, Placement
from .orphans import OrphanedVm, orphaned
from .recall import Recall, Trace, Wait
from .requests import Failed, Requests
from .rooms import groups, rooms
from .states import HostState, Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything about who is where, and who should be. `fleet` holds the machines as they were decided."""

    site: Site
    machines: list[Machine]
    intent: Mapping[str, bool]
    requests: Mapping[str, Request]
    fleet: Fleet
    decisions: Mapping[str, Decision]
    possible: Mapping[str, frozenset[str]]  # by VM that waits, the hosts without an answer that may have it
    recall: Recall
    states: Mapping[str, HostState] = field(default_factory=dict)
    unasked: frozenset[str] = frozenset()  # hosts that a limit leaves out
    undecided: frozenset[str] = frozenset()  # VMs that one of those may have, or could take
    orphans: tuple[OrphanedVm, ...] = ()
    handovers: Handovers = NONE
    intent_before: Mapping[str, bool] = field(default_factory=dict)  # without what is supposed to be on

    def starts(self, vm: str) -> bool:
        """Whether it is to be on where it is decided to be: not when it has to go elsewhere first, and does not run yet."""
        made, request = self.decisions[vm], self.requests[vm]
        stuck = made.target is not None or (made.host is not None and bool(made.refusals))
        return self.intent[vm] and (request.running or not (stuck or vm in self.handovers.blocked))

    @property
    def counted(self) -> tuple[Orphan, ...]:
        """The VMs that are no longer declared and stay, as they count for quotas."""
        return tuple(orphan.counted() for orphan in self.orphans if not orphan.leaving)

    @property
    def elsewhere(self) -> frozenset[str]:
        """The VMs that were placed on hosts that were not asked."""
        return frozenset(vm for vm in self.undecided if self.recall.is_placed_on(vm, self.unasked))

    def why(self, vm: str) -> str:
        """Why a VM is not started, or is where it is, with what each host answered."""
        return self.handovers.blocked.get(vm) or _why(self.decisions[vm])

    def pending(self) -> dict[str, str]:
        """The VMs that are to be on and have no host, or are not started there, with the reasons (SCHED-13)."""
        homeless = {vm: _why(made) for vm, made in self.decisions.items() if made.host is None and self.intent[vm]}
        return {vm: why for vm, why in {**homeless, **self.handovers.blocked}.items() if vm not in self.undecided}

    def waiting(self) -> dict[str, str]:
        """The VMs that have no host, or are not started where they are, with the reasons; not those that are left out."""
        found = {
            vm: self.why(vm)
            for vm, made in self.decisions.items()
            if made.host is None or (self.intent[vm] and not self.starts(vm))
        }
        return {vm: why for vm, why in found.items() if vm not in self.elsewhere}

    def unmoved(self) -> dict[str, str]:
        """The VMs that run where a rule or a declared host sends them away from, and that no host can take; with the reasons."""
        return {
            vm: f"{self.requests[vm].current}: {_why(made)}"
            for vm, made in self.decisions.items()
            if made.host is not None and made.refusals and made.target is None and self.requests[vm].running
        }

    def changes(self) -> dict[str, Placement]:
        """The placements that are to be remembered from now on, by machine."""
        projects = {str(machine.name): str(machine.instance.project) for machine in self.machines}
        # Nothing is written of a VM that a host may have which was not asked.
        decided = {vm: made.host for vm, made in self.decisions.items() if made.host or vm not in self.undecided}
        return {placement.vm: placement for placement in self.recall.changes(decided, projects)}

    @contextmanager
    def without(self, vm: str) -> Iterator[None]:
        """The fleet as it would be without a machine, for as long as it takes to ask."""
        request = self.requests[vm]
        at, left = self.fleet.give_back(request), self.fleet.let_go(request)
        try:
            yield
        finally:
            if left is not None:
                self.fleet.hold(request, left)
            if at is not None:
                self.fleet.take(request, at)

    def is_homeless(self, vm: str) -> bool:
        """Whether a machine has no host that it could run on, or runs where somebody declared that it must not.

        One that runs where it may not for any other reason, and can go nowhere else, is at least running.
        """
        made, request = self.decisions[vm], self.requests[vm]
        if (
            vm in self.possible
            or vm in self.undecided
            or made.target is not None
            or (made.host is not None and not made.refusals)
        ):
            return False
        if request.failed:
            return False  # it has had its tries in this run: the others go on (SCHED-11)
        if made.host is not None and request.bound is not None and request.bound.isdisjoint(self.states):
            return False  # it stays where it is until those answer that it is bound to; nothing starts it there
        elsewhere = request.bound is not None and made.host not in request.bound
        return made.host is None or elsewhere or (request.on and not request.running)


def situation(
    site: Site,
    states: Mapping[str, HostState],
    *,
    now: float,
    orders: Iterable[Order] = (),
    how: Policy | None = None,
    failed: Failed | None = None,
    memory: Memory = NOTHING,
    lost: frozenset[str] = frozenset(),
    on: frozenset[str] = frozenset(),
    prune: bool = False,
    unasked: frozenset[str] = frozenset(),
) -> Situation:
    """Where every machine is to be. `how` is the site's policy with its plugins, made from the site when not given.

    `unasked` are hosts that a limit leaves out. They are no source, target or evidence: a VM that one of them may have, or could
    take, waits.

    `on` are VMs that are supposed to be on, whatever else is intended. `prune` is whether this run removes what is no longer
    declared. `lost` are hosts that are supposed to be gone for good, though they told something: nothing runs there any more, and what
    only they have on disk is gone as well.
    """
    found = machines(site)
    before = intent_of(found, states, orders, now, memory)
    intent = before | {machine.name: True for machine in found if machine.name in on}
    requests = Requests(site, states, intent, failed or {})
    recall = Recall(memory, states, site.hosts, unasked)
    wanted = {str(machine.name): _survivor(requests.of(machine), lost) for machine in found}
    waits = _waits(site, found, wanted, recall, requests.places) if states else {}
    wanted = {vm: _remembered(request, recall) for vm, request in wanted.items()}
    answering = {host: state for host, state in states.items() if host not in lost}
    orphans = orphaned(site, answering, memory, wanted, prune=prune)
    going = frozenset(orphan.name for orphan in orphans if orphan.leaving)
    fleet = Fleet(
        rooms(site, answering, frozenset(wanted) | going, unasked), how or policy(site.placement), groups(site)
    )
    for orphan in orphans:
        if orphan.stays:
            fleet.count_beside(requests.tags(orphan.vm.instance, orphan.name), orphan.host)
    for machine in found if waits else ():
        at = waits[machine.name].hosts - recall.dead if machine.name in waits else frozenset()
        if len(at) == 1:
            fleet.count_apart(requests.tags(machine.instance_name, machine.name), *at)
    placed = place((request for vm, request in wanted.items() if vm not in waits), fleet)
    placed = {vm: _unbound(made, wanted[vm], recall) for vm, made in placed.items()}
    decisions = {**{vm: Decision(vm=vm, host=None, reason=wait.reason) for vm, wait in waits.items()}, **placed}
    undecided = _undecided(site, found, decisions, waits, unasked) if unasked else frozenset()
    decisions |= {vm: _deferred(decisions[vm], unasked) for vm in undecided - waits.keys()}
    starting = (
        (machine, request, decisions[machine.name])
        for machine in found
        if intent[machine.name] and not (request := wanted[machine.name]).running
    )
    away = (
        (machine, hosts)
        for machine in (found if waits else ())
        if machine.name in waits and (hosts := waits[machine.name].hosts - recall.dead)
    )
    return Situation(
        site=site,
        machines=found,
        intent=intent,
        intent_before=before,
        requests=wanted,
        fleet=fleet,
        decisions=decisions,
        possible={vm: wait.hosts for vm, wait in waits.items()},
        recall=recall,
        states=states,
        unasked=unasked,
        undecided=undecided,
        orphans=orphans,
        handovers=handovers(site, starting, intent, answering, orphans, away, unasked),
    )


def carried_orders(states: Mapping[str, HostState], memory: Memory) -> Iterator[Order]:
    """The power overrides that VMs carry. A host is not believed about a VM that the store places on another host."""
    for host, state in states.items():
        for order in state.orders:
            placement = memory.placements.get(order.vm)
            if placement is None or placement.host in (None, host):
                yield order


def intent_of(
    found: Iterable[Machine],
    states: Mapping[str, HostState],
    orders: Iterable[Order],
    now: float,
    memory: Memory = NOTHING,
) -> dict[str, bool]:
    """Which VMs are to be on now; `orders` are those of the store, besides those that VMs carry."""
    found = list(found)
    orders = tuple(orders)
    orders = (*orders, *newer(orders, carried_orders(states, memory)))
    # No order brings up what may not run at all (VM-17).
    return intended({machine.name: machine.declared_on for machine in found}, orders, now) | {
        machine.name: False for machine in found if not machine.active
    }


def _why(made: Decision) -> str:
    return "; ".join([made.reason, *(f"{host}: {why}" for host, why in made.refusals.items())])


def _survivor(request: Request, lost: frozenset[str]) -> Request:
    return replace(request, current=None, running=False) if request.current in lost else request


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a machine is where it is: the decision, how many hosts each filter left (SCHED-14), and what was said of each host."""

    decision: Decision
    remaining: list[tuple[str, int]]
    verdicts: list[Verdict]


def declared(held: Situation, vm: str) -> Request:
    """What a machine that somebody names asks for. Raises `DeclarationError` for one that is not declared."""
    if vm not in held.requests:
        hint = meant(vm, held.requests, "write the name of a machine")
        raise DeclarationError.at("dos_vm", f"machine {vm!r} is not declared, {hint}")
    return held.requests[vm]


def explain_vm(held: Situation, vm: str) -> Explanation:
    """What every host answers, the others being where they are. Raises `DeclarationError` for a machine that is not declared."""
    request = declared(held, vm)
    with held.without(vm):
        return Explanation(
            decision=held.decisions[vm],
            remaining=remaining(request, held.fleet),
            verdicts=explain(request, held.fleet),
        )


def _waits(
    site: Site, found: Iterable[Machine], asked: Mapping[str, Request], recall: Recall, places: Places
) -> dict[str, Wait]:
    """The machines that a silent host may have: silence is no proof that they do not run (law 8)."""
    waits: dict[str, Wait] = {}
    for machine in found if recall.may_wait else ():
        vm, request = str(machine.name), asked[machine.name]
        trace = Trace(
            allowed=machine.hosts(site),
            reach=machine.reach(site),
            found=request.current is not None or request.data is not None,
            disks=places.with_disks(machine),
            failed=request.failed,
        )
        wait = recall.wait(vm, trace)
        if wait is not None:
            waits[vm] = wait
    return waits


def _undecided(
    site: Site,
    found: Iterable[Machine],
    decisions: Mapping[str, Decision],
    waits: Mapping[str, Wait],
    unasked: frozenset[str],
) -> frozenset[str]:
    """The VMs that a host may have, or could take, which was not asked."""
    names = set()
    for machine in found:
        vm, made = str(machine.name), decisions[machine.name]
        allowed = machine.hosts(site)
        if vm in waits:
            hosts = waits[vm].hosts
        elif made.refusals and made.target is None:
            hosts = unasked if allowed is None else frozenset(map(str, allowed))
        else:
            continue
        if not unasked.isdisjoint(hosts):
            names.add(vm)
    return frozenset(names)


def _deferred(made: Decision, unasked: Iterable[str]) -> Decision:
    """A VM that no host could take which was asked."""
    if made.host is not None:
        return made
    return replace(made, reason=f"waits: no host that was asked can take it; not asked: {', '.join(sorted(unasked))}")


def _unbound(made: Decision, request: Request, recall: Recall) -> Decision:
    """A machine that was placed where it will not do, and that no host has, need not be migrated: it goes elsewhere."""
    if made.target is None or recall.is_defined(made.vm):
        return made
    if request.data is not None and made.target not in request.data:
        return made  # its disks are where it was placed, or nobody knows where
    reason = f"was placed on {made.host}, which will not do any more, and is not there"
    return Decision(vm=made.vm, host=made.target, reason=reason)


def _remembered(request: Request, recall: Recall) -> Request:
    """A machine that no host has yet is where it was placed: somebody may be defining it there this very moment."""
    if request.current is not None and not request.running:
        # A host that returned has an older definition, which is not the VM any more.
        return replace(request, current=recall.newest(request.vm) or request.current)
    if request.running:
        # Of several hosts that answer that it runs there, the store's is the one; the others cannot take it from there.
        return replace(request, current=recall.runs_where_placed(request.vm) or request.current)
    at = recall.host(request.vm) if request.current is None else None
    return request if at is None or at in request.failed else replace(request, current=at)
