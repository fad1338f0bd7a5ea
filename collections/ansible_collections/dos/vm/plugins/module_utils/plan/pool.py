# SPDX-License-Identifier: GPL-3.0-or-later
"""How a pool comes to be as declared. Nothing here ever deletes what a pool holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..model.address import Address
from ..model.pool import Pool
from ..xml.pool import SHAPE, render
from .action import Action, Build, SetAutostart, Start, Stop
from .definition import (
    change,
    classified,
    creation,
    definition_of,
    differ,
    foreign,
    powered,
    redefined,
    removal,
    with_own_uuid,
)
from .disruption import Disruption
from .plan import Context, Observed, Plan

# The directory is read when the pool starts, so moving it means stopping the pool; what it held stays where it was.
DISRUPTION = {"pool/target/path": Disruption.RECREATE, "pool/@type": Disruption.RECREATE}


def plan(pool: Pool, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one pool."""
    address = Address("pool", pool.name)
    difference = differ(with_own_uuid(render(pool), address, observed, context), definition_of(observed), SHAPE)
    if observed is None:
        actions: list[Action] = [redefined(address, difference), Build(address=address)]
        actions += [SetAutostart(address=address, on=True)] if pool.autostart else []
        actions += [Start(address=address)] if pool.active else []
        return creation(address, difference, *actions)
    if (refused := foreign(address, difference, observed, context)) is not None:
        return refused
    changes = classified(difference.changes, DISRUPTION, Disruption.LIVE)
    power = powered(address, pool.active, pool.autostart, observed)
    if pool.active and not observed.active:
        # A run may have ended between the definition and the directory; building one that is there changes nothing.
        power.insert(0, Build(address=address))
    if not changes:
        return change(address, difference, power)
    disruption = max(planned.disruption for planned in changes)
    moves = disruption is Disruption.RECREATE
    if moves and (held := _held(address, context)):
        problem = (
            f"{address} holds {_listed(held)}, which would stay in {observed.xml.findtext('target/path')}: "
            f"declare another pool, or empty this one first"
        )
        return Plan(
            address=address, verdict="conflict", problem=problem, before=difference.before, after=difference.after
        )
    rebuilt = _rebuilt(address, redefined(address, difference), observed, pool, disruption)
    if moves and not context.permission.recreate:
        return change(address, difference, (), changes=changes, withheld=tuple(rebuilt), needs="recreate")
    return change(address, difference, rebuilt, changes=changes)


def _rebuilt(address: Address, define: Action, observed: Observed, pool: Pool, disruption: Disruption) -> list[Action]:
    # Running guests keep the files open that they have: to stop a directory disturbs none of them.
    actions: list[Action] = []
    if observed.active:
        actions.append(Stop(address=address, disruption=disruption))
    actions += [define, Build(address=address)]
    if pool.autostart != observed.autostart:
        actions.append(SetAutostart(address=address, on=pool.autostart))
    return [*actions, Start(address=address)] if pool.active else actions


def leave(observed: Observed, context: Context) -> Plan:
    """What becomes of a pool that nobody declares: it goes when nothing is left in it (POOL-06), and its directory never."""
    kept = [name for name in _held(observed.address, context) if name not in context.permission.data_loss]
    plan = removal(observed, context)
    if not kept or not context.permission.prune:
        return plan
    reason = f"no longer declared, and kept for what it holds: {_listed(kept)}"
    return replace(plan, verdict="left", actions=(), withheld=plan.actions, needs="data_loss", reason=reason)


def _held(address: Address, context: Context) -> list[str]:
    prefix = f"{address.name}/"
    return [str(held) for held in context.observed if held.kind == "volume" and held.name.startswith(prefix)]


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"


def needs(pool: Pool) -> Iterator[Address]:
    """A directory pool stands on nothing."""
    yield from ()
