# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that was given to another host is not made here by who decided before that (law 8)."""

from __future__ import annotations

from ..model.address import Address
from ..model.domain import Domain
from .plan import Context, Plan


def overtaken(address: Address, domain: Domain, context: Context) -> Plan | None:
    """The refusal to make a domain that is not here, by a decision that is older than the one that gave it away.

    Without an epoch the decision was made while the domain was here, so it has been taken away since. One that no site
    decided about carries no mark, and is its operator's own affair.
    """
    fence = (context.host.fences or {}).get(domain.name, 0)
    if domain.mark is None or (domain.mark.epoch or 0) >= fence:
        return None
    problem = f"{address} was given to another host while this run decided (epoch {fence}): run it again"
    return Plan(address=address, verdict="conflict", problem=problem)
