# SPDX-License-Identifier: GPL-3.0-or-later
"""How a gateway comes to be as declared. Whatever changes, it is brought up to date under its guests: leases stay, and so
do connections that it carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..model.address import Address
from ..model.gateway import Gateway
from ..xml.gateway import SHAPE, render
from .action import Action, Start, Stop, Undefine
from .definition import change, classified, creation, definition_of, differ, foreign, redefined
from .disruption import Disruption
from .plan import Context, Observed, Plan

DISRUPTION = {"gateway/metadata": Disruption.NONE, "gateway/@autostart": Disruption.NONE}


def plan(gateway: Gateway, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one gateway."""
    address = Address("gateway", gateway.name)
    difference = differ(render(gateway), definition_of(observed), SHAPE)
    start = Start(address=address)
    if observed is None:
        return creation(address, difference, redefined(address, difference), *([start] if gateway.active else ()))
    if (refused := foreign(address, difference, observed, context)) is not None:
        return refused
    actions: list[Action] = [redefined(address, difference)] if difference.changes else []
    if not (observed.active and gateway.active):
        actions += [start] if gateway.active else [Stop(address=address)] if _holds(observed) else []
        return change(address, difference, actions, changes=classified(difference.changes, {}, Disruption.NONE))
    ignored = tuple(DISRUPTION)
    running = differ(render(replace(gateway, mark=None)), observed.live, SHAPE, ignore=ignored)
    both = {held.xpath + held.path: held for held in (*difference.changes, *running.changes)}
    if running.changes:
        actions.append(replace(start, disruption=Disruption.LIVE))
    return change(address, difference, actions, changes=classified(both.values(), DISRUPTION, Disruption.LIVE))


def leave(observed: Observed, context: Context) -> Plan:
    """GW-02: a gateway that is declared elsewhere, or nowhere, stops here now. It holds nothing that could be lost."""
    address = observed.address
    stop = [Stop(address=address)] if _holds(observed) else []
    return Plan(address=address, verdict="remove", actions=(*stop, Undefine(address=address)))


def _holds(observed: Observed) -> bool:
    """Whether there is something to stop: a gateway that broke runs no more, and its rules and addresses may still be there."""
    return observed.active or "remains" in observed.info


def needs(gateway: Gateway) -> Iterator[Address]:
    """A gateway stands on the bridge it has an address on, or on the network that it adds to."""
    yield Address("network", gateway.name) if gateway.only_forwards else Address("bridge", gateway.bridge)
