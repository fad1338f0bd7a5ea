# SPDX-License-Identifier: GPL-3.0-or-later
"""The story that every front end tells: lock, observe, plan, perform, verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .errors import ConflictError, HypervisorError, PermissionNeeded, Unanswered, VerificationError, VolumeExists
from .hypervisor.protocol import Hypervisor
from .model.address import Address, own_uuid
from .model.slice import Permission, Slice
from .plan.action import Action, CreateVolume, DeleteVolume, DetachDevice, Find, Start, Stop
from .plan.host import plan_host
from .plan.loss import here
from .plan.missing import noted
from .plan.passwords import referenced
from .plan.plan import Context, Observed, Plan
from .plan.remove import plan_removal
from .xml.mask import concealed
from .xml.secret import digest

Clock = Callable[[], float]
Planned = tuple[tuple[Plan, ...], Context]
Replan = Callable[..., tuple[Plan, ...]]

HALF_MADE, STEP = (
    5.0,
    0.1,
)  # seconds in which a file that another host has begun becomes whole, and between two looks at it

UNSETTLED = ("create", "change", "conflict")  # verdicts about a declared volume that may be half made
LETTING_GO = (DetachDevice, Stop)  # after which a machine no longer has a volume open


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to. `performed` are sentences; `failures` are (object, why); `remaining` counts actions not yet done, and
    `upcoming` is the sentence of the next one, where that takes long and so was left to the next call.

    `unanswered` are (object, why) too: what a guest was asked for and has not done. That is no failure, for nothing is lost and
    nothing else waits for it; the next run asks again.
    """

    plans: tuple[Plan, ...]
    performed: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    unanswered: tuple[tuple[str, str], ...] = ()
    remaining: int = 0
    upcoming: str = ""
    observed: Mapping[Address, Observed] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether something was, or in a dry run would be, done."""
        return bool(self.performed) or (not self.unanswered and any(plan.actions for plan in self.plans))


def converge(
    held: Slice,
    hypervisor: Hypervisor,
    *,
    permission: Permission,
    secrets: Mapping[str, bytes] | None = None,
    dry_run: bool = False,
    seconds: float | None = None,
    clock: Clock = time.monotonic,
) -> Outcome:
    """Bring one host to its slice and prove it.

    `secrets` has the values that the slice's secrets and consoles name. With `seconds`, the run ends after the first object
    that is finished later than that, and before one that takes long, but for the first; `Outcome.remaining` then says how much is
    left, and the same call goes on with it. An action that fails does not stop those that do not stand on it.

    Raises `ConflictError` with every object that cannot be as declared, before anything is changed; `DeclarationError` for a
    slice that cannot be meant; `VerificationError` when all was done and the host still differs.
    """
    values = secrets or {}
    with hypervisor.lock():

        def plan(*fresh: Address) -> Planned:
            return _settled(lambda: _plan(held, hypervisor, permission, values), hypervisor, fresh)

        plans, context = plan()
        _refuse_conflicts(plans)
        if dry_run:
            return Outcome(plans=plans, observed=context.observed)
        if not any(plan.actions for plan in plans):
            _note(held, hypervisor, (), context)
            return Outcome(plans=plans, observed=context.observed)
        until = None if seconds is None else clock() + seconds
        run = _Run(hypervisor, values, until, clock, lambda *fresh: plan(*fresh)[0])
        plans = run.perform_in_turn(plans)
        after, context = plan()
        _note(held, hypervisor, run.deleted, context)
        if not run.failures and not run.remaining:
            _verify(after, run.unanswered)
    return Outcome(
        plans=plans,
        performed=tuple(run.performed),
        failures=told(run.failures),
        unanswered=told(run.unanswered),
        remaining=run.remaining,
        upcoming=run.upcoming,
        observed=context.observed,
    )


def remove(
    address: Address,
    hypervisor: Hypervisor,
    *,
    site: str,
    permission: Permission,
    stop_timeout: int | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Bring one host to not having an object, and prove it. Nothing else is looked at, whatever `permission.prune` says.

    Raises `ConflictError` for an object that is not ours, `PermissionNeeded` where data would go that nobody named.
    """
    with hypervisor.lock():
        plan, observed = _plan_removal(address, hypervisor, site, permission, stop_timeout)
        _refuse_conflicts((plan,))
        _refuse_loss(plan)
        if dry_run or plan.empty:
            return Outcome(plans=(plan,), observed=observed)
        run = _Run(hypervisor, {}, None, time.monotonic)
        run.perform((plan,))
        after, observed = _plan_removal(address, hypervisor, site, permission, stop_timeout)
        if run.deleted & (known := set(hypervisor.facts().known_volumes)):
            hypervisor.note_volumes(known - run.deleted)
        if not run.failures:
            _verify((after,))
    return Outcome(
        plans=(plan,),
        performed=tuple(run.performed),
        failures=told(run.failures),
        observed=observed,
    )


def _plan_removal(
    address: Address, hypervisor: Hypervisor, site: str, permission: Permission, stop_timeout: int | None
) -> tuple[Plan, dict[Address, Observed]]:
    observed = hypervisor.observe(site)
    context = Context(site=site, host=hypervisor.facts(), permission=permission, observed=observed)
    return plan_removal(address, context, stop_timeout), observed


def _refuse_loss(plan: Plan) -> None:
    if plan.withheld and plan.address.kind == "volume":
        raise PermissionNeeded(
            f'{plan.address} would be lost with what is in it: write allow: {{data_loss: ["{plan.address}"]}}'
        )
    if plan.withheld:
        hint = "" if plan.address.kind == "domain" else "; delete these first, or name each in data_loss"
        raise PermissionNeeded(f"{plan.address} stays: {plan.reason}{hint}")


def _settled(plan: Callable[[], Planned], hypervisor: Hypervisor, fresh: Collection[Address]) -> Planned:
    """A plan by files that are whole: another host may still be making one that the host sees for the first time.

    Half of a volume looks like another volume, so one that is as declared is whole, and any other is looked at again for a while.
    """
    plans, context = plan()
    fresh = {*fresh, *(address for address, seen in context.observed.items() if seen.info.get("fresh"))}
    deadline = time.monotonic() + HALF_MADE
    while any(plan.address in fresh and plan.verdict in UNSETTLED for plan in plans) and time.monotonic() < deadline:
        time.sleep(STEP)
        for pool in {address.name.partition("/")[0] for address in fresh}:
            hypervisor.refresh(Address("pool", pool))
        plans, context = plan()
    return plans, context


def _plan(held: Slice, hypervisor: Hypervisor, permission: Permission, secrets: Mapping[str, bytes]) -> Planned:
    volumes = [f"{volume.pool}/{volume.name}" for volume in held.volumes]
    # What is to be deleted may have been made by another host, too.
    volumes += [key.partition(" on ")[0].removeprefix("volume ") for key in permission.data_loss if "/" in key]
    observed = referenced(hypervisor.observe(held.site, volumes), held, secrets)
    context = Context(
        site=held.site,
        host=hypervisor.facts(),
        permission=permission,
        observed=observed,
        devices=hypervisor.devices(paths) if (paths := _devices(held)) else {},
        digests={
            secret.name: _digest(secret.name, held, observed, secrets)
            for secret in held.secrets
            if secret.name in secrets
        },
    )
    return tuple(plan_host(held, context)), context


def _note(held: Slice, hypervisor: Hypervisor, deleted: Collection[str], context: Context) -> None:
    """Keep which volumes are there, and how far the store has come, where that is not kept yet."""
    if held.store is not None and held.store.is_newer((context.host.stores or {}).get(held.site)):
        hypervisor.note_store(held.site, held.store)
    known, unmounted = noted(held, deleted, context), context.host.unmounted or {}
    allowed = here(context.permission, held.host or "").data_loss
    moved = [pool for pool in unmounted if f"pool {pool}" in allowed]
    if moved or known != set(context.host.known_volumes):
        hypervisor.note_volumes(known, moved)


def _devices(held: Slice) -> tuple[str, ...]:
    """The block devices that pools are to stand on."""
    return tuple(dict.fromkeys(path for pool in held.pools if pool.source for path in pool.source.devices))


def _digest(name: str, held: Slice, observed: Mapping[Address, Observed], secrets: Mapping[str, bytes]) -> str:
    """Salted with the UUID the secret has, or will have."""
    address = Address("secret", name)
    found = observed.get(address)
    uuid = (found.xml.findtext("uuid") if found else None) or own_uuid(held.site, address)
    return digest(secrets[name], uuid)


def _refuse_conflicts(plans: tuple[Plan, ...]) -> None:
    problems = [plan.problem for plan in plans if plan.verdict == "conflict"]
    if problems:
        raise ConflictError("\n".join(problems))


def told(by_address: Mapping[Address, str]) -> tuple[tuple[str, str], ...]:
    """What befell which object, as an outcome says it."""
    return tuple((str(address), why) for address, why in by_address.items())


def _verify(plans: tuple[Plan, ...], except_for: Collection[Address] = ()) -> None:
    rest = [
        f"{plan.address}: {', '.join(action.words for action in plan.actions)}"
        for plan in plans
        if plan.actions and plan.address not in except_for and not set(plan.behind) & set(except_for)
    ]
    if rest:
        raise VerificationError("everything was done and this is still to do: " + "; ".join(rest))


def _nothing_more(*fresh: Address) -> tuple[Plan, ...]:
    return ()


class _Run:
    """One pass over the actions of a plan. `replan` plans all anew, by what the host has now; `deleted` are volumes, `pool/name`."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        secrets: Mapping[str, bytes],
        until: float | None,
        clock: Clock,
        replan: Replan = _nothing_more,
    ) -> None:
        self.hypervisor, self.secrets, self.replan = hypervisor, secrets, replan
        self.until, self.clock = until, clock
        self.performed: list[str] = []
        self.failures: dict[Address, str] = {}
        self.unanswered: dict[Address, str] = {}
        self.remaining, self.upcoming = 0, ""
        self.deleted: set[str] = set()

    def perform_in_turn(self, plans: tuple[Plan, ...]) -> tuple[Plan, ...]:
        """Perform all, first the pools whose volumes are decided when they have started. Returns what was planned in the end.

        Raises `ConflictError` where such a volume cannot be as declared; nothing but pools was started then.
        """
        first = _foundations(plans)
        self.perform(tuple(first.values()))
        if not first or self.remaining:
            if not first:
                self.perform(plans)
            return plans
        rest = tuple(plan for plan in self.replan() if plan.address not in first)
        _refuse_conflicts(rest)
        self.perform(rest)
        return _joined(plans, rest)

    def perform(self, plans: tuple[Plan, ...]) -> None:
        """Perform what can be: an object waits for those it stands on, and stops at its own first failure.

        Time is looked at between objects: one that is begun is finished, so that nothing stays stopped half way and every
        call brings at least one object nearer.
        """
        exchanged: set[Address] = set()
        for plan in plans:
            if plan.address in exchanged:
                continue
            if self.remaining or self._ends_before(plan):
                self.remaining += len(plan.actions)
            elif plan.partners:
                circle = {plan.address, *plan.partners}
                self._exchange([each for each in plans if each.address in circle])
                exchanged |= circle
            elif self._may(plan, plan.behind):
                all(map(self._perform, plan.actions))  # to the first that fails

    def _exchange(self, circle: list[Plan]) -> None:
        """VOL-09: every machine lets go of what it gives, then each takes, unless one of the others still holds something."""
        parted = {}
        for plan in circle:
            gives = max((at for at, action in enumerate(plan.actions, 1) if isinstance(action, LETTING_GO)), default=0)
            if self._may(plan, plan.behind) and all(map(self._perform, plan.actions[:gives])):
                parted[plan.address] = gives
        stuck = [plan.address for plan in circle if plan.address not in parted]
        for plan in circle:
            if plan.address in parted and self._may(plan, stuck):
                all(map(self._perform, plan.actions[parted[plan.address] :]))

    def _ends_before(self, plan: Plan) -> bool:
        """Whether the time is over; or something comes that takes a minute, of which somebody who watches is told first.

        A call that ends with a failure is the last, so one that has failed goes on.
        """
        if self.until is None or not self.performed or not plan.actions:
            return False
        slow = next((action for action in plan.actions if action.slow), None)
        told = slow is not None and not self.failures
        self.upcoming = f"{slow.address} will be {slow.words}" if slow is not None and told else ""
        return told or self.clock() > self.until

    def _may(self, plan: Plan, behind: Iterable[Address]) -> bool:
        """Whether nothing that a plan comes after is in its way; else it is told why it is not attempted."""
        broken = next((first for first in behind if first in self.failures), None)
        held = next((first for first in behind if first in self.unanswered), None)
        if plan.actions and broken is not None:
            self.failures[plan.address] = f"not attempted, since {broken} failed"
        elif plan.actions and held is not None:
            self.unanswered[plan.address] = f"not attempted, since the guest of {held} has not let go"
        return broken is None and held is None

    def _perform(self, action: Action) -> bool:
        """Whether to go on with the object: after what failed nothing more is done to it."""
        try:
            self.hypervisor.perform(action, self.secrets)
        except Unanswered as silent:
            self.unanswered[action.address] = str(silent)
            return not isinstance(action, DetachDevice)  # what it still holds is in the way of what comes
        except VolumeExists as exists:
            return self._take(
                exists, next(plan for plan in self.replan(action.address) if plan.address == action.address)
            )
        except HypervisorError as failed:
            self.failures[action.address] = concealed(str(failed), self.secrets.values())
            return False
        self.performed.append(str(action))
        if isinstance(action, DeleteVolume):
            self.deleted.add(action.address.name)
        if isinstance(action, Find) and action.maker:
            self.replan(action.address)  # which waits until a file that another host has begun is whole
        return True

    def _take(self, exists: VolumeExists, plan: Plan) -> bool:
        """Whether a volume that was made meanwhile is as declared, or comes to be by what its new plan does."""
        if plan.problem or plan.withheld or any(isinstance(action, CreateVolume) for action in plan.actions):
            self.failures[plan.address] = f"{exists} and is not as declared: {plan.problem or _differences(plan)}"
            return False
        self.performed.append(f"{plan.address} has been found")
        return all(map(self._perform, plan.actions))


def _foundations(plans: Iterable[Plan]) -> dict[Address, Plan]:
    """The plans that start pools of which volumes are deferred, each after those it needs."""
    by_address = {plan.address: plan for plan in plans}
    pools = {Address("pool", plan.address.name.partition("/")[0]) for plan in by_address.values() if plan.deferred}
    found: dict[Address, Plan] = {}
    for plan in (by_address[address] for address in by_address if address in pools):
        if any(isinstance(action, Start) for action in plan.actions):
            found |= {need: by_address[need] for need in plan.behind if need in by_address} | {plan.address: plan}
    return found


def _joined(plans: tuple[Plan, ...], rest: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """What was planned before pools were started, and instead of it what was decided otherwise since."""
    before = {plan.address: plan for plan in plans}
    found = before | {
        plan.address: plan
        for plan in rest
        if plan.address not in before or (plan.actions, plan.withheld) != _wish(before[plan.address])
    }
    return tuple(found.values())


def _wish(plan: Plan) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    return plan.actions, plan.withheld


def _differences(plan: Plan) -> str:
    shown = (f"{change.path}: {change.before} → {change.after}" for change in (held.change for held in plan.changes))
    return f"{', '.join(shown)}; dos.vm.plan shows what would change it"
