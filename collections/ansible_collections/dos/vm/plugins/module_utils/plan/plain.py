# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as plain data, for those who show it or keep it."""

from __future__ import annotations

from typing import Any

from .action import Action
from .plan import Plan, PlannedChange


def plain(plan: Plan) -> dict[str, Any]:
    """Everything of a plan but its texts."""
    return {
        "kind": plan.address.kind,
        "name": plan.address.name,
        "verdict": plan.verdict,
        "origin": plan.origin,
        "disruption": plan.disruption.word,
        "changes": [_change(held) for held in plan.changes],
        "pending": [_change(held) for held in plan.pending],
        "actions": [_sentence(action) for action in plan.actions],
        "withheld": [_sentence(action) for action in plan.withheld],
        "needs": plan.needs,
        "blocked_by": [str(address) for address in plan.blocked_by],
        "reason": plan.reason,
        "problem": plan.problem,
        "notes": list(plan.notes),
    }


def _change(held: PlannedChange) -> dict[str, Any]:
    change = held.change
    return {
        "path": change.path,
        "op": change.op,
        "before": change.before,
        "after": change.after,
        "disruption": held.disruption.word,
    }


def _sentence(action: Action) -> str:
    return f"{action.address} will be {action.words}"


def says_nothing(plan: Plan) -> bool:
    """Whether the object simply is as declared."""
    return plan.verdict == "keep" and not plan.pending and not plan.notes


def difference(plan: Plan) -> dict[str, str]:
    """Before and after with their headings, as Ansible shows a difference."""
    return {
        "before_header": f"{plan.address} (observed)",
        "after_header": f"{plan.address} (desired)",
        "before": plan.before,
        "after": plan.after,
    }
