# SPDX-License-Identifier: GPL-3.0-or-later
"""One round after the other: which declaration, look, decide, act, look again. What happens outside is handed in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from .loop import Decision, Rules, State, Verdict, decide, remember
from .metrics import Metrics
from .plan import Failure, Plan, Seen

log = logging.getLogger("dosvm_reconciler")
Held = TypeVar("Held", Seen, Failure | None)
# A play may take long; a daemon that has not come round after this, and not for three intervals, hangs.
LONGEST_ROUND = 3600.0


class Hands(Protocol):
    """What the actuator can do."""

    def look(self) -> Seen: ...

    def apply(self) -> Failure | None: ...

    def observe(self) -> Failure | None: ...


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` for intervals, which no change of the date disturbs; `date` for what is exported."""

    now: Callable[[], float] = time.monotonic
    date: Callable[[], float] = time.time


class Daemon:
    """The loop without its waiting."""

    def __init__(
        self, rules: Rules, digest: Callable[[], str], hands: Hands, metrics: Metrics, clock: Clock | None = None
    ) -> None:
        self._digest, self._hands, self._metrics, self._clock = digest, hands, metrics, clock or Clock()
        self._state = State(rules=rules)
        self._known, self._last = "", Decision(Verdict.RETRY, 0.0, "nothing has been looked at yet")
        self._plan = "(there is none yet)"
        self._ended = self._clock.now()

    # ------------------------------------------------------------------------------------------------ a round

    def round(self, *, forced: bool = False) -> Decision:
        """Come round once. `forced`: also where nothing new is expected. Whatever is raised ends this round alone."""
        try:
            return self._round(forced=forced)
        except Exception as broken:
            log.exception("the round broke off")
            now = self._clock.now()
            failure = Failure(text=f"the round broke off: {type(broken).__name__}: {broken}")
            self._last = decide(self._state, failure, now)
            self._state = remember(self._state, self._last.verdict, now)
            self._ended = now
            return self._last

    def _round(self, *, forced: bool) -> Decision:
        found = self._digest()
        if found == self._known and self._last.verdict is Verdict.PARKED and not forced:
            self._last = replace(self._last, at=self._clock.now() + self._state.rules.interval)
        else:
            self._last = self._reconcile(found)
        self._ended = self._clock.now()
        return self._last

    def _reconcile(self, found: str) -> Decision:
        if found != self._known:
            log.info("the inventory is %s", found)
            self._known, self._state = found, State(rules=self._state.rules)
        decision = self._look()
        # The plan is of the declaration it was made from. If that has changed meanwhile, the next round looks at the new one.
        if decision.verdict is Verdict.APPLY and decision.at <= self._clock.now():
            return self._apply() if self._digest() == found else decision
        return decision

    def _look(self) -> Decision:
        seen = self._timed("plan", self._hands.look)
        if isinstance(seen, Plan):
            self._metrics.planned(seen)
            self._plan = seen.text or "(no difference)"
        now = self._clock.now()
        decision = decide(self._state, seen, now)
        # An apply is remembered when it has been done.
        if decision.verdict is not Verdict.APPLY:
            self._state = remember(self._state, decision.verdict, now)
        self._metrics.froze(decision.frozen)
        log.log(_level(decision), "%s: %s", decision.verdict, decision.why)
        return decision

    def _apply(self) -> Decision:
        """Act, and look what came of it."""
        failure = self._timed("site", self._hands.apply)
        self._state = remember(self._state, Verdict.APPLY, self._clock.now())
        if failure:
            log.error("the site could not be made as declared: %s", failure.text)
        decision = self._look()
        if failure and decision.verdict is Verdict.APPLY:
            return Decision(Verdict.RETRY, decision.at, failure.text)
        return decision

    def observe(self) -> None:
        """Look which hosts answer and how busy they are. Decides nothing."""
        try:
            failure = self._timed("hosts", self._hands.observe, "observed")
        except Exception as broken:
            log.exception("looking at the hosts broke off")
            failure = Failure(text=f"{type(broken).__name__}: {broken}")
        if failure:
            log.warning("the hosts could not be looked at: %s", failure.text)

    def _timed(self, play: str, act: Callable[[], Held], done: str = "applied") -> Held:
        """Run a play and count it; `done` is the word for one that has nothing to tell."""
        start = self._clock.now()
        held = act()
        self._metrics.ran(play, _outcome(held, done), self._clock.now() - start, self._clock.date())
        return held

    # ------------------------------------------------------------------------------------------------ for the web

    def healthy(self) -> bool:
        """Whether the loop comes round."""
        return self._clock.now() - self._ended <= max(3 * self._state.rules.interval, LONGEST_ROUND)

    def page(self) -> tuple[str, str]:
        """The last decision in one sentence, and the last plan there was."""
        last = self._last
        return f"{last.verdict}: {last.why}", self._plan


def _outcome(held: Seen | None, done: str) -> str:
    """The word under which a play is counted."""
    match held:
        case None:
            return done
        case Failure():
            return "invalid" if held.terminal else "failed"
        case Plan() if held.failed:
            return "failed"
        case Plan():
            return "drift" if held.drift else "nothing"


def _level(decision: Decision) -> int:
    return logging.INFO if decision.verdict in (Verdict.NOTHING, Verdict.APPLY) else logging.WARNING
