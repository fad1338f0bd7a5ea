# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands on an object now, so that nothing is taken from under what stays.

A removal waits for those that let go of the object in the same run; what somebody keeps is left, and says for whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..model.address import Address, KindName
from ..model.pool import is_networked
from ..model.slice import Declared
from ..xml.build import parse
from ..xml.compare import Change
from .action import Define, DeleteVolume, ReplaceVolume, Restart, Stop
from .disk_files import stack
from .kinds import KINDS
from .logout import logged_out_last
from .plan import Context, Observed, Plan
from .volume import users as openers

# The devices by which a running machine holds an object of that kind.
DEVICES = {"nwfilter": "interface", "volume": "disk", "network": "interface", "bridge": "interface"}
# The parts of the device that say so: another part that waits for a start holds nothing. The type of a card or a disk is what
# it is plugged into; its filter comes and goes by itself.
PLUG = ("source", "@")
PARTS = {"nwfilter": ("filterref",), "volume": PLUG, "network": PLUG, "bridge": PLUG}
# How a card says what it is plugged into, or filtered by.
HOLDS = {"nwfilter": "filterref[@filter='{}']", "network": "source[@network='{}']", "bridge": "source[@bridge='{}']"}


def arranged(gone: list[Plan], plans: list[Plan], declared: Mapping[Address, Declared], context: Context) -> list[Plan]:
    """All plans in the order to perform them: removals, declared objects, removals of what those let go
    of, and the pools that nobody needs any more."""
    fate = {plan.address: plan for plan in (*gone, *plans)}
    late: list[Plan] = []
    early: list[Plan] = []
    for plan in _users_first(gone, context):
        staying = [user for user in plan.behind if fate[user].verdict != "remove"]
        holder = next((user for user in staying if _holds(user, plan, fate, declared, context)), None)
        if holder is not None:
            plan = kept(plan, holder)
        waits = holder is None and (staying or any(fate[user] in late for user in plan.behind))
        (late if waits else early).append(plan)
        fate[plan.address] = plan
    now, last = logged_out_last(plans, fate, context)
    return [*early, *now, *late, *last]


def kept(plan: Plan, holder: Address) -> Plan:
    """A removal that is not done, since `holder` would lose what it stands on."""
    reason = f"no longer declared, and kept for {holder}, which uses it"
    return replace(
        plan, verdict="left", actions=(), withheld=plan.actions, needs=f"{holder} to let go of it", reason=reason
    )


def _users_first(gone: list[Plan], context: Context) -> list[Plan]:
    """The plans, each removal with those it waits for and after them; otherwise as they were."""
    done: dict[Address, Plan] = {}
    waiting = {plan.address: plan for plan in gone}

    def visit(plan: Plan) -> None:
        if waiting.pop(plan.address, None) is None:
            return
        behind = tuple(dict.fromkeys(users(plan.address, context))) if plan.verdict == "remove" else ()
        for user in behind:
            if user in waiting:
                visit(waiting[user])
        done[plan.address] = replace(plan, behind=behind)

    for plan in gone:
        visit(plan)
    return list(done.values())


def _holds(
    user: Address, plan: Plan, fate: Mapping[Address, Plan], declared: Mapping[Address, Declared], context: Context
) -> bool:
    """Whether `user` still stands on the object when its own plan is performed."""
    held = declared.get(user)
    if held is None or plan.address in KINDS[user.kind].needs(held):
        return True
    path = context.observed[plan.address].info.get("path")
    if path is not None and path in (getattr(disk, "file", None) for disk in getattr(held, "disks", ())):
        return True
    if path is not None and user.kind == "domain" and path in _files_after(fate[user], context):
        return True
    actions, pending = fate[user].actions, fate[user].pending
    if user.kind == "volume":
        return not any(isinstance(action, (DeleteVolume, ReplaceVolume)) for action in actions)
    if user.kind == "nwfilter" or any(isinstance(action, (Stop, Restart)) for action in actions):
        return False
    if user.kind in ("network", "gateway", "bridge"):
        return bool(pending)
    tag, places = DEVICES[plan.address.kind], set(_places(user, plan.address, context))
    return any(waiting.change.key(tag) in places and _is_of(waiting.change, plan.address.kind) for waiting in pending)


def _files_after(plan: Plan, context: Context) -> set[str]:
    """The files that a domain is defined with when its plan has been performed, and those below them."""
    written = [parse(action.xml) for action in plan.actions if isinstance(action, Define)]
    domain = written[-1] if written else context.observed[plan.address].xml
    return {file for disk in domain.iterfind("devices/disk") for file in stack(disk, context)}


def _is_of(change: Change, kind: str) -> bool:
    """Whether a change of a device is the one by which it lets go of an object of that kind: of that part, or of all of it."""
    part = change.xpath.removeprefix(f"domain/devices/{DEVICES[kind]}").lstrip("/")
    return not part or part.startswith(PARTS[kind])


def _places(user: Address, address: Address, context: Context) -> Iterator[tuple[str, ...]]:
    """The devices by which a running machine holds an object, as changes name them."""
    if address.kind == "volume":
        yield from ((target,) for opener, target in openers(context.observed[address], context) if opener == user)
        return
    live = context.observed[user].live
    held = HOLDS[address.kind].format(address.name)
    for card in [] if live is None else live.iterfind(f"devices/interface/{held}/.."):
        mac = card.find("mac")
        yield ("" if mac is None else mac.get("address", "").lower(),)


def users(address: Address, context: Context) -> Iterator[Address]:
    """Who would lose what they stand on, were the object gone now."""
    observed = context.observed[address]
    match address.kind:
        case "volume":
            yield from (user for user, _ in openers(observed, context))
            yield from context.layers.opened.get(observed.info.get("path", ""), ())
            yield from _layered(observed, context)
        case "nwfilter":
            yield from _callers(address, context)
        case "pool" if not is_networked(observed.xml.get("type", "")):
            yield from (held for held in context.observed if held.kind == "volume" and _pool(held) == address.name)
        case "network":
            yield from _plugged(f".//interface/source[@network='{address.name}']", "domain", context)
        case "bridge":
            yield from _plugged(f"port[@switch='{address.name}']", "bridge", context)
            yield from _plugged(f"bridge[@name='{address.name}']", "network", context)
            yield from _plugged(f"bridge[@name='{address.name}']", "gateway", context)
            yield from _plugged(f".//interface/source[@bridge='{address.name}']", "domain", context)
        case _:
            return


def _plugged(path: str, kind: KindName, context: Context) -> Iterator[Address]:
    """NET-08: who is plugged in, or would be at the next start."""
    for user, held in context.observed.items():
        trees = (held.xml, held.live) if user.kind == kind else ()
        if any(tree is not None and tree.find(path) is not None for tree in trees):
            yield user


def _layered(observed: Observed, context: Context) -> Iterator[Address]:
    path = observed.info.get("path")
    for address, held in context.observed.items():
        if path is not None and address.kind == "volume" and held.xml.findtext("backingStore/path") == path:
            yield address


def _callers(address: Address, context: Context) -> Iterator[Address]:
    reference = f".//filterref[@filter='{address.name}']"
    for user, held in context.observed.items():
        tree = held.xml if user.kind == "nwfilter" else held.live if user.kind == "domain" else None
        if tree is not None and tree.find(reference) is not None:
            yield user


def _pool(volume: Address) -> str:
    return volume.name.partition("/")[0]
