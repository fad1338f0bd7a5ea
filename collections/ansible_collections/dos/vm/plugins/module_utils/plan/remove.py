# SPDX-License-Identifier: GPL-3.0-or-later
"""How one object comes to be gone, because somebody said so by its name."""

from __future__ import annotations

from dataclasses import replace

from ..model.address import Address
from .action import Stop
from .describe import shown
from .kinds import KINDS
from .layers import layers
from .plan import Context, Plan
from .use import DEVICES, users


def plan_removal(address: Address, context: Context, stop_timeout: int | None = None) -> Plan:
    """Pure: the plan that removes one object, and nothing else.

    `stop_timeout` is how long a running machine gets to power off. Data still needs its own permission: the actions are
    then withheld.
    """
    observed = context.observed.get(address)
    if observed is None:
        return Plan(address=address, verdict="keep", reason="there is none")
    if not observed.ours and not context.permission.adopt:
        problem = f"{address} is on the host and is not ours: leave it, or write adopt: true to remove it all the same"
        return Plan(address=address, verdict="conflict", problem=problem)
    context = replace(context, layers=layers(context.observed))
    if address.kind in DEVICES and (user := next(users(address, context), None)) is not None:
        problem = f"{address} is in use by {user}: remove that first, or take {address} from it"
        return Plan(address=address, verdict="conflict", problem=problem)
    context = replace(context, permission=replace(context.permission, prune=True))
    plan = KINDS[address.kind].leave(observed, context)
    actions = tuple(
        replace(action, timeout=stop_timeout) if isinstance(action, Stop) and stop_timeout is not None else action
        for action in plan.actions
    )
    return replace(plan, actions=actions, before=shown(observed))
