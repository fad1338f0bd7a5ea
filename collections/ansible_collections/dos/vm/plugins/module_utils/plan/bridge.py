# SPDX-License-Identifier: GPL-3.0-or-later
"""How a bridge comes to be as declared, without taking from the host the interface it is managed by (NET-12).

Guests stay plugged into a bridge whatever changes; what they may lose for a moment is the outside, when the cable itself
is exchanged, and then the operator is asked first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.bridge import Bridge
from ..model.host import Link
from ..model.types import Address as IpAddress
from ..xml.bridge import SHAPE, render
from ..xml.build import E, compact
from ..xml.compare import Change
from .action import Action, Start, Stop
from .definition import change, classified, creation, definition_of, differ, foreign, redefined, removal
from .disruption import Disruption
from .plan import Context, Observed, Plan, PlannedChange

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

PEER = "bridge/vxlan/peer"
DISRUPTION = {
    "bridge/metadata": Disruption.NONE,
    "bridge/stp": Disruption.LIVE,
    "bridge/mtu": Disruption.LIVE,
    PEER: Disruption.LIVE,
    "bridge/multicast": Disruption.LIVE,
    "bridge/port": Disruption.LIVE,  # its VLANs too: nobody else has them, and a wrong one is mended at once
    "bridge/port/@switch": Disruption.RESTART,
    "bridge/@type": Disruption.RECREATE,
    "bridge/@datapath": Disruption.RECREATE,
}
SWITCH = "ovs-system"  # the master of every port of Open vSwitch


def plan(bridge: Bridge, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one bridge. A peer that may be in use goes only when that interruption is allowed."""
    used = () if observed is None or context.permission.restart else _used(bridge, observed)
    found = _plan(_with_peers(bridge, used), observed, context)
    if not used or found.verdict not in ("keep", "change"):
        return found
    cut = tuple(PlannedChange(change=_gone(peer), disruption=Disruption.RESTART) for peer in used)
    start = Start(address=found.address, disruption=Disruption.RESTART)
    withheld = found.withheld or (start,)
    return replace(
        found,
        verdict="change",
        reason="",
        pending=(*found.pending, *cut),
        withheld=withheld,
        needs=found.needs or "restart",
    )


def _used(bridge: Bridge, observed: Observed) -> tuple[IpAddress, ...]:
    """The peers that the bridge would lose, and that may have an end."""
    if bridge.vxlan is None or bridge.vxlan.unused is None:
        return ()
    having = {IpAddress(peer.get("address") or "") for peer in _peers(observed)}
    return tuple(sorted(having.difference(bridge.vxlan.peers, bridge.vxlan.unused)))


def _peers(observed: Observed) -> Iterator[Element]:
    for shown in (observed.xml, observed.live):
        yield from () if shown is None else shown.iterfind("vxlan/peer")


def _with_peers(bridge: Bridge, more: tuple[IpAddress, ...]) -> Bridge:
    if bridge.vxlan is None or not more:
        return bridge
    return replace(bridge, vxlan=replace(bridge.vxlan, peers=(*bridge.vxlan.peers, *more)))


def _gone(peer: IpAddress) -> Change:
    return Change("remove", PEER, f"vxlan.peers[{peer}]", compact(E("peer", address=peer)), None)


def _plan(bridge: Bridge, observed: Observed | None, context: Context) -> Plan:
    address = Address("bridge", bridge.name)
    difference = differ(render(bridge), definition_of(observed), SHAPE)
    problem = _refusal(bridge, observed, context)
    if problem:
        return Plan(address=address, verdict="conflict", problem=f"{address} {problem}", after=difference.after)
    if observed is None:
        return creation(address, difference, redefined(address, difference), Start(address=address))
    if (refused := foreign(address, difference, observed, context)) is not None:
        return refused
    define: list[Action] = [redefined(address, difference)] if difference.changes else []
    if not observed.active:
        changes = classified(difference.changes, {}, Disruption.NONE)
        return change(address, difference, [*define, Start(address=address)], changes=changes)
    running = differ(render(replace(bridge, mark=None)), observed.live, SHAPE, ignore=("bridge/metadata",))
    both = {held.xpath + held.path: held for held in (*difference.changes, *running.changes)}
    used = {_gone(peer).path for peer in _used(bridge, observed)}
    changes = tuple(
        replace(planned, disruption=Disruption.RESTART) if planned.change.path in used else planned
        for planned in classified(both.values(), DISRUPTION, Disruption.RESTART)
    )
    if any(planned.disruption is Disruption.RECREATE for planned in changes):
        stop = Stop(address=address, disruption=Disruption.RECREATE)
        anew = (stop, *define, Start(address=address))
        if context.permission.recreate:
            return change(address, difference, anew, changes=changes)
        return change(address, difference, (), pending=changes, withheld=anew, needs="recreate")
    waiting = tuple(planned for planned in changes if _cuts(planned, observed))
    start: list[Action] = [Start(address=address, disruption=Disruption.LIVE)] if running.changes else []
    if waiting and not context.permission.restart:
        rest = tuple(planned for planned in changes if planned not in waiting) if define else ()
        held = (Start(address=address, disruption=Disruption.RESTART),)
        return change(address, difference, define, changes=rest, pending=waiting, withheld=held, needs="restart")
    if waiting:
        start = [Start(address=address, disruption=Disruption.RESTART)]
    return change(address, difference, [*define, *start], changes=changes)


def _cuts(planned: PlannedChange, observed: Observed) -> bool:
    """Whether somebody who is plugged in loses the outside: a cable that is not there cuts nobody off when it comes."""
    used = planned.change.xpath == PEER or observed.info.get("plugged", "0") != "0"
    return used and planned.disruption is Disruption.RESTART and planned.change.before is not None


def _refusal(bridge: Bridge, observed: Observed | None, context: Context) -> str:
    """Why this host cannot have the bridge, as the rest of a sentence; empty when it can."""
    links = context.host.links
    if links is None:
        return ""
    if observed is None and bridge.name in links and not context.permission.adopt:
        return (
            "is on the host already and not ours: write another name, or leave forward_interface out to use it as it is, "
            "or dos_adopt: true to take it over"
        )
    plugged = 0 if observed is None else int(observed.info.get("plugged", "0"))
    kind = (
        None
        if observed is None or observed.live is None
        else (observed.live.get("type"), observed.live.get("datapath"))
    )
    wanted = (bridge.type, bridge.datapath if bridge.type == "openvswitch" else None)
    if kind is not None and kind != wanted and plugged:
        return (
            f"cannot become {bridge.type} while {plugged} cards are plugged into it: write another name for the bridge"
        )
    return _refused_uplink(bridge, links, context) if bridge.uplink else ""


def _refused_uplink(bridge: Bridge, links: dict[str, Link], context: Context) -> str:
    link = links.get(str(bridge.uplink))
    if link is None:
        own = ", ".join(sorted(name for name, held in links.items() if not held.bridge and name != "lo"))
        return f"has no uplink: there is no interface {bridge.uplink}, the host has {own}"
    of_switch = link.master == SWITCH and bridge.type == "openvswitch"
    if link.master not in (None, bridge.name) and not of_switch:
        held = context.observed.get(Address("bridge", link.master or ""))
        if held is not None and held.ours:
            # Two declared bridges never share an interface, so this one goes; and it goes before we come.
            return (
                ""
                if context.permission.prune
                else (
                    f"cannot have {bridge.uplink} while bridge {link.master}, which is no longer declared, has it: "
                    "write dos_prune: true to remove that one (NET-04)"
                )
            )
        return f"cannot have {bridge.uplink}, which is a port of {link.master}: write another interface (NET-04)"
    if link.addresses and link.master is None and bridge.uplink not in context.permission.uplink:
        carried = ", ".join(link.addresses)
        return (
            f"cannot have {bridge.uplink}, which carries the host's own {carried}: write another interface, or "
            f"dos_allow: [{{uplink: [{bridge.uplink}]}}] to move its addresses to the bridge (NET-12)"
        )
    return ""


def needs(bridge: Bridge) -> Iterator[Address]:
    """A bridge stands on nothing that we make, but that in front of a port on the switch that has the port."""
    if bridge.port is not None:
        yield Address("bridge", bridge.port.switch)


def leave(observed: Observed, context: Context) -> Plan:
    """What becomes of a bridge that is no longer declared. One in front of a port is a part of a card, and goes with it: when
    the machine has gone to another host, or let go of the card, nobody has to allow that too (HOT-03)."""
    if observed.xml.find("port") is None:
        return removal(observed, context)
    plan = removal(observed, replace(context, permission=replace(context.permission, prune=True)))
    return replace(plan, actions=tuple(replace(action, disruption=Disruption.NONE) for action in plan.actions))
