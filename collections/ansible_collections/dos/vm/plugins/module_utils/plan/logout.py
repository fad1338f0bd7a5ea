# SPDX-License-Identifier: GPL-3.0-or-later
"""When a host logs out of a server (HOT-02): after the last machine on it that has something from there, and never under one.

An iSCSI initiator does not ask who has a LUN open: it logs out, and the guest's disk is gone. So all machines of the host are looked
at: those of others as well, and those that are off and would miss it at their next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.pool import has_session
from ..xml.build import parse
from .action import Define, DetachDevice, SetAutostart, Start, Stop
from .disruption import Disruption
from .plan import Context, Observed, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

POWER = (Stop, SetAutostart)


def logged_out_last(
    plans: Iterable[Plan], fate: Mapping[Address, Plan], context: Context
) -> tuple[list[Plan], list[Plan]]:
    """The plans of declared objects, and those that come after all others: of pools that the host logs out of."""
    now: list[Plan] = []
    last: list[Plan] = []
    for plan in plans:
        if not _logs_out(plan, context):
            now.append(plan)
            continue
        pool = _LunPool.of(plan.address, context)
        users = list(_users(pool, context))
        holder = next((user for user in users if _holds(context.observed[user], pool, fate[user])), None)
        if holder is None:
            last.append(_after(plan, users))
        else:
            now.append(_stays(plan, holder))
    return now, last


def _logs_out(plan: Plan, context: Context) -> bool:
    done = {type(action) for action in plan.actions}
    if plan.address.kind != "pool" or Stop not in done or Start in done:
        return False
    return has_session(context.observed[plan.address].xml.get("type", ""))


def _after(plan: Plan, users: Iterable[Address]) -> Plan:
    """Nobody has anything of it by then, so nobody is disturbed."""
    actions = tuple(
        replace(action, disruption=Disruption.NONE) if isinstance(action, Stop) else action for action in plan.actions
    )
    return replace(plan, actions=actions, behind=(*plan.behind, *users))


def _stays(plan: Plan, holder: Address) -> Plan:
    rest = tuple(action for action in plan.actions if not isinstance(action, POWER))
    reason = f"not needed on this host by what is declared, and stays logged in for {holder}, which has a LUN of it"
    return replace(
        plan,
        verdict="change" if rest else "left",
        actions=rest,
        withheld=tuple(action for action in plan.actions if isinstance(action, POWER)),
        needs=f"{holder} to let go of it",
        reason=reason,
    )


@dataclass(frozen=True, slots=True)
class _LunPool:
    """A pool, with every name that its LUNs have on the host."""

    name: str
    devices: frozenset[str]

    @classmethod
    def of(cls, address: Address, context: Context) -> _LunPool:
        prefix = f"{address.name}/"
        volumes = [seen for at, seen in context.observed.items() if at.kind == "volume" and at.name.startswith(prefix)]
        names = (seen.info.get(name) for seen in volumes for name in ("path", "node"))
        return cls(address.name, frozenset(name for name in names if name))


def _users(pool: _LunPool, context: Context) -> Iterator[Address]:
    """The machines that have a LUN of a pool open, or are defined with one."""
    for address, held in context.observed.items():
        if address.kind == "domain" and any(
            _targets(tree, held, pool) for tree in (held.xml, held.live) if tree is not None
        ):
            yield address


def _holds(held: Observed, pool: _LunPool, plan: Plan) -> bool:
    """Whether a machine still has a LUN of the pool when its own plan has been performed."""
    if plan.verdict == "remove":
        return False
    defined = next((parse(action.xml) for action in plan.actions if isinstance(action, Define)), held.xml)
    if _targets(defined, held, pool):
        return True
    if held.live is None or any(isinstance(action, Stop) for action in plan.actions):
        return False
    return not _targets(held.live, held, pool) <= set(_detached(plan))


def _detached(plan: Plan) -> Iterator[str]:
    for action in plan.actions:
        target = parse(action.xml).find("target") if isinstance(action, DetachDevice) else None
        if target is not None:
            yield target.get("dev", "")


def _targets(domain: Element, held: Observed, pool: _LunPool) -> set[str]:
    """The disks of a machine whose data is in a pool, by target: whether it names the volume, or the device by any name."""
    found = set()
    for disk in domain.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is None or target is None:
            continue
        device = source.get("dev") or source.get("file") or ""
        if source.get("pool") == pool.name or {device, held.info.get(f"node of {device}", device)} & pool.devices:
            found.add(target.get("dev", ""))
    return found
