# SPDX-License-Identifier: GPL-3.0-or-later
"""How a pool comes to be as declared. Nothing here ever deletes what a pool holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..model.address import Address
from ..model.pool import Pool, is_networked
from ..xml.pool import MOUNT, SHAPE, in_fields, render
from .action import Action, SetAutostart, Start, Stop
from .definition import (
    Difference,
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
from .devices import Foundation, described, foundation
from .disruption import Disruption
from .loss import may_go
from .missing import unmounted
from .plan import Context, Observed, Plan
from .volume import users

# What says where the data is: with another, the volumes are others. How the server is reached may change under them.
DISRUPTION = {
    "pool/source": Disruption.RESTART,
    f"pool/{MOUNT}mount_opts": Disruption.RESTART,
    **dict.fromkeys(
        (
            "pool/@type",
            "pool/target/path",
            "pool/source/dir",
            "pool/source/device",
            "pool/source/name",
            "pool/source/format",
        ),
        Disruption.RECREATE,
    ),
}
NEEDS = {Disruption.RESTART: "restart", Disruption.RECREATE: "recreate"}


def plan(pool: Pool, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one pool."""
    address = Address("pool", pool.name)
    difference = differ(with_own_uuid(render(pool), address, observed, context), definition_of(observed), SHAPE)
    difference = replace(difference, changes=in_fields(difference.changes))
    if observed is not None and (refused := foreign(address, difference, observed, context)) is not None:
        return refused
    base = Foundation() if observed is not None and observed.active else foundation(pool, address, context)
    if base.problem:
        return Plan(address=address, verdict="conflict", problem=base.problem)
    if observed is None:
        return _created(address, pool, difference, base, context)
    changes = classified(difference.changes, DISRUPTION, Disruption.LIVE)
    if not changes:
        return _powered(address, pool, difference, observed, base, context)
    disruption = max(planned.disruption for planned in changes)
    moves = disruption is Disruption.RECREATE
    if moves and (problem := _left_behind(address, pool, observed, context)):
        return Plan(
            address=address, verdict="conflict", problem=problem, before=difference.before, after=difference.after
        )
    if (moves or pool.type not in WITHOUT_CONSEQUENCE) and (user := _user(address, observed, context)) is not None:
        problem = f"{address} would be stopped under {user}, which runs: stop it first"
        return Plan(address=address, verdict="conflict", problem=problem)
    base = foundation(pool, address, context)  # of what it is to become, whether it runs or not
    if base.problem:
        return Plan(address=address, verdict="conflict", problem=base.problem)
    rebuilt = _rebuilt(address, redefined(address, difference), observed, pool, disruption, base)
    needed = NEEDS.get(disruption, "")
    if needed and not getattr(context.permission, needed) and (observed.active or needed == "recreate"):
        return change(address, difference, (), changes=changes, withheld=tuple(rebuilt), needs=needed)
    if base.withheld:
        return change(
            address, difference, (), changes=changes, withheld=tuple(rebuilt), **_lost(address, base, context)
        )
    return change(address, difference, rebuilt, changes=changes)


def _created(address: Address, pool: Pool, difference: Difference, base: Foundation, context: Context) -> Plan:
    actions: list[Action] = [redefined(address, difference)]
    actions += [base.build] if base.build is not None else []
    actions += [SetAutostart(address=address, on=True)] if pool.autostart else []
    actions += [Start(address=address)] if pool.active else []
    made = creation(address, difference, *actions)
    if not base.withheld:
        return made
    # Nothing of it then: a pool that is defined and cannot start would be in everybody's way.
    lost = _lost(address, base, context)
    return replace(made, actions=(), withheld=made.actions, needs=lost["needs"], reason=lost["reason"])


def _powered(
    address: Address, pool: Pool, difference: Difference, observed: Observed, base: Foundation, context: Context
) -> Plan:
    active = observed.active if pool.active is None else pool.active
    power = powered(address, active, pool.autostart, observed)
    if not active or observed.active or base.build is None:
        return change(address, difference, power)
    if mount := unmounted(pool.name, pool.target, context):
        reason = f"the file system that its volumes were on is not mounted at {mount}: mount it, or allow the pool to be without it"
        withheld = (base.build, *power)
        return change(address, difference, (), withheld=withheld, needs=f"data_loss: [{address}]", reason=reason)
    # A run may have ended between the definition and what it stands on; building what is there changes nothing.
    if base.withheld:
        withheld = (base.build, *power)
        return change(address, difference, (), withheld=withheld, **_lost(address, base, context))
    return change(address, difference, [base.build, *power])


def _lost(address: Address, base: Foundation, context: Context) -> dict[str, str]:
    """Why a build is withheld, and what would allow it."""
    clear = base.build.clear if base.build is not None else ()
    return {
        "needs": f"data_loss: [{address}]",
        "reason": f"would be made of {described(clear, context)}, and everything on it lost (POOL-16)",
    }


def _left_behind(address: Address, pool: Pool, observed: Observed, context: Context) -> str | None:
    """Why a pool does not go to another place: what it holds would stay. Who names the pool has moved that, or lets it be."""
    held = _held(address, context)
    if not held or may_go(address, context):
        return None
    return (
        f"{address} holds {_listed(held)}, which would stay in {_place(observed)}: declare another pool, or move all of it "
        f"to {pool.target or 'the new place'} while its machines are off, and write "
        f"dos_allow: [recreate, {{data_loss: [{address}]}}]; nothing is deleted"
    )


# To stop a directory disturbs nobody: running guests keep the files open that they have.
WITHOUT_CONSEQUENCE = ("dir",)


def _user(address: Address, observed: Observed, context: Context) -> Address | None:
    """A running machine that has something of the pool open."""
    if not observed.active:
        return None
    held = (context.observed[Address("volume", name)] for name in _held_names(address, context))
    return next((user for volume in held for user, _ in users(volume, context)), None)


def _place(observed: Observed) -> str:
    return observed.xml.findtext("target/path") or f"the {observed.xml.get('type')} pool it is now"


def _rebuilt(
    address: Address, define: Action, observed: Observed, pool: Pool, disruption: Disruption, base: Foundation
) -> list[Action]:
    actions: list[Action] = []
    if observed.active:
        actions.append(Stop(address=address, disruption=disruption))
    actions += [define]
    actions += [base.build] if base.build is not None else []
    if pool.autostart != observed.autostart:
        actions.append(SetAutostart(address=address, on=pool.autostart))
    active = observed.active if pool.active is None else pool.active
    return [*actions, Start(address=address)] if active else actions


def leave(observed: Observed, context: Context) -> Plan:
    """What becomes of a pool that nobody declares. It goes when nothing is left in it (POOL-06), or when what it holds is on a
    server, which is only let go of; directories, volume groups, partitions and LUNs never go with it."""
    address, kind = observed.address, observed.xml.get("type") or "dir"
    held = (Address("volume", name) for name in _held_names(address, context))
    kept = [str(volume) for volume in held if not may_go(volume, context)]
    plan = removal(observed, context)
    if not context.permission.prune:
        return plan
    if kind not in WITHOUT_CONSEQUENCE and (user := _user(address, observed, context)) is not None:
        reason = f"no longer declared, and kept for {user}, which runs on it"
        return replace(
            plan, verdict="left", actions=(), withheld=plan.actions, needs=f"{user} to let go of it", reason=reason
        )
    if not kept or is_networked(kind):
        return plan
    reason = f"no longer declared, and kept for what it holds: {_listed(kept)}"
    return replace(plan, verdict="left", actions=(), withheld=plan.actions, needs="data_loss", reason=reason)


def _held(address: Address, context: Context) -> list[str]:
    return [f"volume {name}" for name in _held_names(address, context)]


def _held_names(address: Address, context: Context) -> list[str]:
    prefix = f"{address.name}/"
    return [held.name for held in context.observed if held.kind == "volume" and held.name.startswith(prefix)]


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"


def needs(pool: Pool) -> Iterator[Address]:
    """A pool stands on the secret it logs in with."""
    if pool.source is not None and pool.source.secret is not None:
        yield Address("secret", pool.source.secret)
