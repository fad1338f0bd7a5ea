# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a machine is where it is, as text for people and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.memory import Placement
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Explanation, Situation, explain_vm
from ansible_collections.dos.vm.plugins.module_utils.placement.explain import Verdict

MOST_LOGGED = 100  # machines whose filters are counted for a log; each is a question to every host
FEW_HOSTS = 10  # up to so many every answer is shown
NUMBERS = ("memory", "vcpus")  # filters whose numbers are shown of a host that will do, when there are many hosts

Line = tuple[str, str | None]


def log(held: Situation, placed: Iterable[Placement], seconds: float) -> Iterator[str]:
    """What a log keeps of a decision: how much was decided, and for each new place how many hosts each filter left (SCHED-14)."""
    answering = sum(room.answers for room in held.fleet.rooms)
    yield (
        f"placement: {len(held.requests)} machines on {answering} of {len(held.fleet.rooms)} hosts, decided in {seconds:.2f} s"
    )
    new = [placement for placement in placed if placement.host is not None and not placement.seen]
    for placement in new[:MOST_LOGGED]:
        if placement.vm in held.requests:
            left = [f"{name} {number}" for name, number in explain_vm(held, placement.vm).remaining]
            yield f"placement: {placement.vm} → {placement.host}; hosts left by filter: {', '.join(_runs(left))}"
    if len(new) > MOST_LOGGED:
        yield f"placement: {len(new) - MOST_LOGGED} more machines have a new host"


def lines(found: Explanation, *, everything: bool = False) -> Iterator[Line]:
    """The decision, how many hosts each filter left, and every host: what it weighs, or why it will not do."""
    made = found.decision
    where = made.host or "no host"
    yield f"{made.vm} → {where}: {made.reason}", "green" if made.host and not made.refusals else "red"
    left = [f"{name} {number}" for name, number in found.remaining]
    yield f"hosts left: {len(found.verdicts)}, then by filter: {', '.join(_runs(left))}", None
    in_full = everything or len(found.verdicts) <= FEW_HOSTS
    for held in found.verdicts:
        yield from _host(held, held.host == made.host, in_full)


def _runs(left: list[str]) -> Iterator[str]:
    """Only those filters after which fewer are left, and the last."""
    before = None
    for at, text in enumerate(left):
        number = text.rpartition(" ")[2]
        if number != before or at == len(left) - 1:
            yield text
        before = number


def _host(held: Verdict, chosen: bool, in_full: bool) -> Iterator[Line]:
    sign = "+" if held.accepts else "-"
    mark = "  ← here" if chosen else ""
    if held.accepts:
        parts = ", ".join(f"{name} {weight:+.3f}" for name, weight in held.weights.items())
        yield f"  {sign} {held.host}  weighs {held.weight:.3f} ({parts}){mark}", "green" if chosen else None
    else:
        reasons = "; ".join(answer.text for answer in held.answers if not answer.accepts)
        yield f"  {sign} {held.host}  {reasons}{mark}", "yellow"
    for answer in held.answers:
        if in_full or (held.accepts and answer.filter in NUMBERS):
            yield f"        {'yes' if answer.accepts else 'NO '} {answer.filter:<14} {answer.text}", None


def plain(found: Explanation) -> dict[str, Any]:
    """The same as data."""
    made = found.decision
    return {
        "vm": made.vm,
        "host": made.host,
        "target": made.target,
        "reason": made.reason,
        "remaining": [{"filter": name, "hosts": number} for name, number in found.remaining],
        "hosts": [
            {
                "host": held.host,
                "accepts": held.accepts,
                "weight": held.weight,
                "weights": held.weights,
                "filters": {answer.filter: {"accepts": answer.accepts, "text": answer.text} for answer in held.answers},
            }
            for held in found.verdicts
        ],
    }
