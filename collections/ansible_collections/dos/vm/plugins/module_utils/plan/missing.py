# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that are not on the host: a new one is made; the data of one that was there before is missing, and nothing takes its
place until that loss is allowed by name (VOL-08). What stands on a missing volume waits for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.slice import Slice
from ..xml.build import parse
from .action import Define, Start
from .loss import here, may_go
from .plan import Context, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

Needs = Mapping[Address, tuple[Address, ...]]


NOTED = "it was made or found on this host before"


def known(held: Slice, context: Context) -> dict[str, str]:
    """The volumes that were there before, with the reasons. What the host notes of a pool goes with that pool's definition."""
    pools = {address.name for address in context.observed if address.kind == "pool"}
    noted = {name: NOTED for name in context.host.known_volumes if name.partition("/")[0] in pools}
    return noted | (held.known or {})


def noted(held: Slice, deleted: Collection[str], context: Context) -> set[str]:
    """What the host is to note after a run that `deleted` volumes: the declared ones that are there or are known to be missing,
    beside those it noted before."""
    there = {address.name for address in context.observed if address.kind == "volume"}
    declared = {f"{volume.pool}/{volume.name}" for volume in held.volumes}
    allowed = here(context.permission, held.host or "").data_loss
    named = {name for name in held.undeclared if f"volume {name}" in allowed}
    looked_at = {name for name in held.undeclared if is_looked_at(name, context)}
    gone = {*deleted, *(looked_at - there), *named}
    pools = {pool.name for pool in held.pools} | {at.name for at in context.observed if at.kind == "pool"}
    before = {name for name in context.host.known_volumes if name.partition("/")[0] in pools}
    return (before - gone) | (declared & there) | set(held.known or ())


def unmounted(pool: str, path: str, context: Context) -> str:
    """The mount point of the file system that a pool was on, where that is not mounted; empty where it is, or was allowed to go."""
    mount = (context.host.unmounted or {}).get(pool, "")
    gone = bool(mount) and f"{path}/".startswith(f"{mount}/") and not may_go(Address("pool", pool), context)
    return mount if gone else ""


def lost(address: Address, path: str, context: Context) -> str:
    """Why a volume that is not there was there before, to follow "its file is missing and"; empty for a new one."""
    user = context.layers.named.get(address.name) or context.layers.named.get(path)
    if user is not None:
        return f"{user} is defined with it"
    if layer := next(iter(context.layers.over.get(path, ())), ""):
        return f"{layer} is layered over it"
    if address.name in context.known:
        return context.known[address.name]
    pool = _pool(address.name).name
    mount = unmounted(pool, context.pool_paths.get(pool, ""), context)
    return f"the file system of its pool is not mounted at {mount}" if mount else ""


def is_looked_at(volume: str, context: Context) -> bool:
    """Whether the observation has all volumes of the pool of one: where that is not active, the files of a directory."""
    observed = context.observed.get(_pool(volume))
    return observed is not None and (observed.active or "files" in observed.info)


def _pool(volume: str) -> Address:
    return Address("pool", volume.partition("/")[0])


def is_idle(volume: Address, context: Context) -> bool:
    """Whether a volume is in a pool that is not active, so that no more is known of it than that its file is there."""
    pool = context.observed.get(_pool(volume.name))
    return pool is not None and not pool.active


def waiting(planned: Mapping[Address, Plan], needs: Needs, context: Context) -> Iterator[tuple[Address, Plan]]:
    """The plans, each after those it needs: what stands on a missing volume, or on a pool that may not be made, waits for it.

    So does a domain that is to have a disk whose replacement is blocked, and has not had it before.
    """
    absent: set[Address] = set()
    for address, plan in planned.items():
        missing = tuple(need for need in needs[address] if need in absent or need in plan.blocked_by)
        missing += tuple(kept for kept in _kept(plan, planned, context) if kept not in missing)
        plan = _waits(plan, missing, context) if missing else plan
        if _is_absent(plan, context) or (missing and address.kind == "volume"):
            absent.add(address)
        yield address, plan


def _kept(plan: Plan, planned: Mapping[Address, Plan], context: Context) -> Iterator[Address]:
    """The missing volumes that a domain had and keeps, declared or not, though it is to start."""
    observed = context.observed.get(plan.address)
    if plan.address.kind != "domain" or observed is None or not any(isinstance(held, Start) for held in plan.actions):
        return
    had = [volume for volume in _volumes(observed.xml) if _is_lost(volume, planned, context)]
    define = next((action for action in plan.actions if isinstance(action, Define)), None)
    has = _volumes(observed.xml if define is None else parse(define.xml)) if had else ()
    yield from (volume for volume in had if volume in has)


def _volumes(domain: Element) -> list[Address]:
    sources = domain.iterfind("devices/disk/source[@volume]")
    return [Address("volume", f"{source.get('pool')}/{source.get('volume')}") for source in sources]


def _is_lost(volume: Address, planned: Mapping[Address, Plan], context: Context) -> bool:
    """Whether a volume is in no pool that was looked at, and is not made."""
    if volume in context.observed or not is_looked_at(volume.name, context):
        return False
    plan = planned.get(volume)
    return plan is None or not plan.actions


def _waits(plan: Plan, missing: tuple[Address, ...], context: Context) -> Plan:
    observed = context.observed.get(plan.address)
    running = observed is not None and observed.active and plan.address.kind == "domain"
    if not plan.actions or (running and not any(isinstance(action, Start) for action in plan.actions)):
        return replace(plan, blocked_by=())  # a guest goes on with the files that it has open
    listed = ", ".join(map(str, missing))
    return replace(
        plan,
        verdict="change",
        actions=(),
        withheld=(*plan.withheld, *plan.actions),
        needs=plan.needs or f"{listed} to be there",
        blocked_by=missing,
        reason=f"waits for {listed}",
    )


def _is_absent(plan: Plan, context: Context) -> bool:
    """Whether an object is not there and does not come to be by its plan."""
    observed = context.observed.get(plan.address)
    match plan.address.kind:
        case "pool":
            return any(isinstance(action, Start) for action in plan.withheld) and not (observed and observed.active)
        case "volume":
            return observed is None and bool(plan.withheld)
        case _:
            return False
