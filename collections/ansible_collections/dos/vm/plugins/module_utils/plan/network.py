# SPDX-License-Identifier: GPL-3.0-or-later
"""How a network comes to be as declared while its guests stay connected.

The definition and the running network are compared one by one. What `virNetworkUpdate` can change is changed live; the
rest of a running network waits for a restart, which cuts every guest off for a moment and so needs a word from the
operator.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..model.address import Address
from ..model.network import Network
from ..xml.build import compact, to_text
from ..xml.compare import Change
from ..xml.network import SHAPE, render
from .action import Action, Restart, UpdateNetwork
from .definition import (
    Difference,
    change,
    classified,
    creation,
    defined_again,
    definition_of,
    differ,
    foreign,
    powered,
    redefined,
)
from .disruption import Disruption
from .outside import notes
from .plan import Context, Observed, Plan, PlannedChange

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

Span = ipaddress.IPv4Network | ipaddress.IPv6Network
Section = Literal["ip-dhcp-host", "ip-dhcp-range", "dns-host", "dns-txt", "dns-srv", "portgroup", "forward-interface"]


class Live(NamedTuple):
    """A section that changes while the network runs. `modify`: libvirt can; otherwise the old entry goes and the new comes."""

    section: Section
    modify: bool = False


# https://libvirt.org/html/libvirt-libvirt-network.html#virNetworkUpdateSection
LIVE: Mapping[str, Live] = {
    "network/ip/dhcp/host": Live("ip-dhcp-host", modify=True),
    "network/ip/dhcp/range": Live("ip-dhcp-range"),
    "network/dns/host": Live("dns-host"),
    "network/dns/txt": Live("dns-txt"),
    "network/dns/srv": Live("dns-srv"),
    "network/portgroup": Live("portgroup", modify=True),
    "network/forward/interface": Live("forward-interface"),
}
# What the running network does not have, or tells only of itself.
NOT_LIVE = ("network/metadata", "network/@connections", "network/uuid")

DISRUPTION = {**dict.fromkeys(LIVE, Disruption.LIVE), "network/metadata": Disruption.NONE}


def plan(network: Network, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one network."""
    address = Address("network", network.name)
    if observed is not None and not observed.ours and not context.permission.adopt:
        network = replace(network, mark=None)
    difference = differ(render(network), definition_of(observed), SHAPE)
    if observed is None:
        return creation(address, difference, *_made(address, network, difference))
    if (refused := foreign(address, difference, observed, context)) is not None:
        return refused
    planned = _existing(network, observed, difference, context)
    return replace(planned, notes=tuple(notes(observed)))


def _existing(network: Network, observed: Observed, difference: Difference, context: Context) -> Plan:
    """The plan for a network that is there and may be treated as ours."""
    address = observed.address
    define = defined_again(address, difference, observed)
    power = powered(address, network.active, network.autostart, observed)
    if not (observed.active and network.active):
        # Nobody is connected to what does not run.
        return change(
            address, difference, [*define, *power], changes=classified(difference.changes, {}, Disruption.NONE)
        )
    running = differ(render(replace(network, mark=None)), observed.live, SHAPE, ignore=NOT_LIVE)
    held = _held_back(running)
    updates = list(_updates(address, running, held))
    return _running(difference, running, held, [*define, *updates, *power], observed, context)


def _connections(observed: Observed) -> int:
    """How many interfaces of running machines are plugged in."""
    return int((observed.live.get("connections") if observed.live is not None else None) or 0)


def _as_it_runs(observed: Observed) -> str:
    """What the running network could be defined from: without the facts of the moment."""
    held = deepcopy(observed.live if observed.live is not None else observed.xml)
    for element in held.iter("network", "interface"):
        element.attrib.pop("connections", None)
    return to_text(held)


def _held_back(running: Difference) -> frozenset[tuple[str, tuple[str, ...]]]:
    """The entries that belong to a subnet which comes or goes: now they would point where nobody is, or take away what
    still is there. They wait with it.
    """
    moving = _spans(running.observed) ^ _spans(running.desired)
    return frozenset(
        (row, key)
        for row, key in _touched(running)
        if any(
            _is_in(found, moving) for side in (running.observed, running.desired) if (found := _find(side, row, key))
        )
    )


def _spans(root: Element | None) -> set[Span]:
    ips = [] if root is None else root.iterfind("ip[@address]")
    return {ipaddress.ip_network(f"{ip.get('address')}/{ip.get('prefix')}", strict=False) for ip in ips}


def _is_in(found: Found, spans: Iterable[Span]) -> bool:
    told = [value for name in ("ip", "start") if (value := found.element.get(name))]
    return any(ipaddress.ip_address(value) in span for value in told for span in spans)


def _made(address: Address, network: Network, difference: Difference) -> list[Action]:
    found = Observed(address=address, xml=difference.desired)  # as it is right after the definition
    return [redefined(address, difference), *powered(address, network.active, network.autostart, found)]


def _running(
    difference: Difference,
    running: Difference,
    held: frozenset[tuple[str, tuple[str, ...]]],
    actions: list[Action],
    observed: Observed,
    context: Context,
) -> Plan:
    changes = _classified({held.xpath + held.path: held for held in (*difference.changes, *running.changes)}.values())
    address = observed.address
    waiting = tuple(
        planned
        for planned in _classified(running.changes)
        if planned.disruption is Disruption.RESTART or _entry_of(planned.change) in held
    )
    if not waiting:
        return change(address, difference, actions, changes=changes)
    restart = Restart(address=address, before=_as_it_runs(observed), cards=_connections(observed))
    if context.permission.restart:
        kept = [action for action in actions if not isinstance(action, UpdateNetwork)]
        return change(address, difference, [*kept, restart], changes=changes)
    shown = tuple(planned for planned in changes if planned not in waiting) if actions else ()
    return change(address, difference, actions, changes=shown, pending=waiting, withheld=(restart,), needs="restart")


def _classified(changes: Iterable[Change]) -> tuple[PlannedChange, ...]:
    return classified(changes, DISRUPTION, Disruption.RESTART)


def _updates(
    address: Address, running: Difference, held: frozenset[tuple[str, tuple[str, ...]]]
) -> Iterator[UpdateNetwork]:
    """The live updates, removals first so that a moved address is free before it is given again."""
    touched = [entry for entry in _touched(running) if entry not in held]
    found = [update for row, key in touched for update in _update(address, running, row, key)]
    yield from sorted(found, key=lambda update: update.command != "delete")


def _touched(running: Difference) -> Iterable[tuple[str, tuple[str, ...]]]:
    """The entries that can change live and do: their row, and their identity there."""
    return dict.fromkeys(entry for held in running.changes if (entry := _entry_of(held)) is not None)


def _entry_of(held: Change) -> tuple[str, tuple[str, ...]] | None:
    row = _live_row(held.xpath)
    return (row, held.key(row.rpartition("/")[2])) if row else None


def _live_row(xpath: str) -> str | None:
    return next((row for row in LIVE if xpath == row or xpath.startswith(row + "/")), None)


def _update(address: Address, running: Difference, row: str, key: tuple[str, ...]) -> Iterator[UpdateNetwork]:
    live = LIVE[row]
    old, new = _find(running.observed, row, key), _find(running.desired, row, key)
    if old is not None and new is not None and live.modify:
        yield _entry(address, live, "modify", new)
        return
    if old is not None:
        yield _entry(address, live, "delete", old)
    if new is not None:
        yield _entry(address, live, "add-last", new)


def _entry(
    address: Address, live: Live, command: Literal["add-last", "delete", "modify"], found: Found
) -> UpdateNetwork:
    return UpdateNetwork(
        address=address,
        command=command,
        section=live.section,
        xml=compact(found.element),
        parent_index=found.parent_index,
        config=False,  # the definition is written whole, and libvirt refuses to add to it what it already has
    )


class Found(NamedTuple):
    """An entry of a section, and which `<ip>` it is in (-1 where that means nothing)."""

    element: Element
    parent_index: int


def _find(root: Element | None, row: str, key: tuple[str, ...]) -> Found | None:
    if root is None:
        return None
    steps = row.split("/")[1:]
    shape = SHAPE
    for step in steps:
        shape = shape.children[step]
    for element in root.iterfind("/".join(steps)):
        if shape.identity(element, 0) == key:
            return Found(element, _ip_index(root, element) if steps[0] == "ip" else -1)
    return None


def _ip_index(root: Element, entry: Element) -> int:
    holders = [index for index, ip in enumerate(root.iterfind("ip")) if entry in ip.iterdescendants()]
    return holders[0] if holders else -1


def needs(network: Network) -> Iterator[Address]:
    """A network stands on its bridge, where that is not libvirt's own."""
    if network.forward == "bridge" and network.bridge:
        yield Address("bridge", network.bridge)
