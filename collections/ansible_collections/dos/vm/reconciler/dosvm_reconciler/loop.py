# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about what was seen. Pure: the clock is a parameter, and nothing here runs, waits or writes.

*What* is decided depends on what was seen and on the rules, and on nothing remembered: a restart or a missed round
changes none of it. What is remembered only says *when* the next attempt is due.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from .plan import Failure, Plan, Seen

FIRST_RETRY = 5.0  # seconds; each further one takes twice as long, at most the interval


class Verdict(StrEnum):
    NOTHING = "nothing"  # the hosts are as declared
    DRIFT = "drift"  # they are not, and this daemon only says so
    FROZEN = "frozen"  # they are not, by more than may be done unattended
    APPLY = "apply"  # they are not, and are made so
    RETRY = "retry"  # nobody knows; a later look may
    PARKED = "parked"  # the declaration is wrong; only a change of it helps


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the operator wants of the daemon."""

    apply: bool = False
    interval: float = 300.0
    max_changes: int = 20
    max_removals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered between rounds: how often in a row it did not work, and when the next apply is due."""

    rules: Rules
    attempts: int = 0
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, the time it is due (an apply) or the next look is, and the reason in words."""

    verdict: Verdict
    at: float
    why: str

    @property
    def frozen(self) -> bool:
        """Whether the dead-man rule keeps this daemon from acting."""
        return self.verdict in (Verdict.FROZEN, Verdict.PARKED)


def decide(state: State, seen: Seen, now: float) -> Decision:
    """The fate of every round, in one place. A host that fails does not keep the others from being made as declared."""
    rules, resync = state.rules, now + state.rules.interval
    match seen:
        case Failure(terminal=True):
            return Decision(Verdict.PARKED, resync, seen.text)
        case Failure():
            return Decision(Verdict.RETRY, now + backoff(state), seen.text)
        case Plan() if seen.findings and not (rules.apply and seen.changes):
            return Decision(Verdict.DRIFT, resync, _differ(seen))
        case Plan() if seen.failed and not (rules.apply and seen.changes):
            return Decision(Verdict.RETRY, now + backoff(state), seen.failed)
        case Plan(drift=0, changes=0):
            return Decision(Verdict.NOTHING, resync, "everything is as declared")
        case Plan(changes=0):
            return Decision(Verdict.DRIFT, resync, f"{_differ(seen)}, and nothing may be done about it")
        case Plan() if not rules.apply:
            return Decision(Verdict.DRIFT, resync, _differ(seen))
        case Plan() if too_much := excess(seen, rules):
            return Decision(Verdict.FROZEN, resync, too_much)
    return Decision(Verdict.APPLY, max(now, state.not_before), f"{_count(seen.changes)} to be made as declared")


def excess(plan: Plan, rules: Rules) -> str:
    """By what the plan goes beyond the dead-man rule; nothing, if it does not."""
    if plan.changes > rules.max_changes:
        return f"the plan changes {_count(plan.changes)}, unattended are at most {rules.max_changes}"
    if plan.removals > rules.max_removals:
        return f"the plan removes {_count(plan.removals)}, unattended are at most {rules.max_removals}"
    return ""


def remember(state: State, verdict: Verdict, now: float) -> State:
    """The state after a round that ended so; after an apply, `now` is when it ended."""
    match verdict:
        case Verdict.RETRY | Verdict.APPLY:
            # An apply that worked is forgotten by the next look, which finds nothing. One that did not is seen there.
            return replace(state, attempts=state.attempts + 1, not_before=now + backoff(state))
        case _:
            return State(rules=state.rules)


def backoff(state: State) -> float:
    """Seconds until the next attempt."""
    return min(state.rules.interval, FIRST_RETRY * 2.0 ** min(state.attempts, 30))


def _differ(plan: Plan) -> str:
    """What is not as declared, contradictions first."""
    objects = plan.drift - plan.waiting - len(plan.findings)
    listed = [
        *plan.findings,
        f"{plan.waiting} wait{'s' if plan.waiting == 1 else ''} for a host" if plan.waiting else "",
        f"{_count(objects)} differ{'s' if objects == 1 else ''}" if objects or plan.drift == 0 else "",
        plan.failed if plan.findings else "",
    ]
    return "; ".join(filter(None, listed))


def _count(objects: int) -> str:
    return f"{objects} object{'' if objects == 1 else 's'}"
