# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon in numbers, for Prometheus. Each of them is there from the start, at zero: what is absent cannot alarm."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .plan import VERDICTS, Plan

PLAYS = ("plan", "site", "hosts")
OUTCOMES = ("nothing", "drift", "applied", "observed", "failed", "invalid")
SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """What is exported, and the three things that change it."""

    def __init__(self) -> None:
        self.registry = held = CollectorRegistry()
        self._objects = Gauge("dos_plan_objects", "Objects in the last plan, by verdict", ["verdict"], registry=held)
        self._drift = Gauge("dos_drift_objects", "Objects that are not as declared", registry=held)
        self._waiting = Gauge("dos_waiting", "VMs and gateways that wait for a host", registry=held)
        self._findings = Gauge("dos_findings", "Contradictions, such as a VM that runs on two hosts", registry=held)
        self._interruptions = Gauge(
            "dos_interruptions_pending", "Objects whose changes wait for an interruption", registry=held
        )
        self._runs = Counter("dos_runs", "Plays that ended, by outcome", ["outcome"], registry=held)
        self._frozen = Gauge("dos_frozen", "1 while the dead-man rule keeps the daemon from acting", registry=held)
        self._success = Gauge("dos_last_success_timestamp_seconds", "When a play last succeeded", registry=held)
        self._seconds = Histogram("dos_run_seconds", "How long plays took", ["play"], buckets=SECONDS, registry=held)
        self._begin()

    def _begin(self) -> None:
        for verdict in VERDICTS:
            self._objects.labels(verdict)
        for outcome in OUTCOMES:
            self._runs.labels(outcome)
        for play in PLAYS:
            self._seconds.labels(play)

    def ran(self, play: str, outcome: str, seconds: float, now: float) -> None:
        """A play ended."""
        self._runs.labels(outcome).inc()
        self._seconds.labels(play).observe(seconds)
        if outcome not in ("failed", "invalid"):
            self._success.set(now)

    def planned(self, plan: Plan) -> None:
        """This is the plan now. A look that failed leaves the last one."""
        for verdict in VERDICTS:
            self._objects.labels(verdict).set(plan.verdicts.get(verdict, 0))
        self._drift.set(plan.drift)
        self._interruptions.set(plan.interruptions)
        self._waiting.set(plan.waiting)
        self._findings.set(len(plan.findings))

    def froze(self, frozen: bool) -> None:
        """Whether the dead-man rule holds now."""
        self._frozen.set(frozen)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
