# SPDX-License-Identifier: GPL-3.0-or-later
"""How a network comes to be as declared while its guests stay connected.

The definition and the running network are compared one by one. What `virNetworkUpdate` can change is changed live; the
rest of a running network waits for a restart, which cuts every guest off for a moment and so needs a word from the
operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..model.address import Address
from ..model.network import Network
from ..xml.build import compact
from ..xml.compare import Change
from ..xml.network import SHAPE, render
from .action import Action, Start, Stop, UpdateNetwork
from .definition import Difference, change, classified, creation, definition_of, differ, foreign, powered, redefined
from .disruption import Disruption
from .plan import Context, Observed, Plan, PlannedChange

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

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
}
# What the running network does not have, or tells only of itself.
NOT_LIVE = ("network/metadata", "network/@connections", "network/forward/interface", "network/uuid")

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
    define: list[Action] = [redefined(address, difference)] if difference.changes else []
    power = powered(address, network.active, network.autostart, observed)
    if not (observed.active and network.active):
        # Nobody is connected to what does not run.
        return change(
            address, difference, [*define, *power], changes=classified(difference.changes, {}, Disruption.NONE)
        )
    running = differ(render(replace(network, mark=None)), observed.live, SHAPE, ignore=NOT_LIVE)
    updates = list(_updates(address, running))
    return _running(address, difference, running, [*define, *updates, *power], context)


def _made(address: Address, network: Network, difference: Difference) -> list[Action]:
    found = Observed(address=address, xml=difference.desired)  # as it is right after the definition
    return [redefined(address, difference), *powered(address, network.active, network.autostart, found)]


def _running(
    address: Address, difference: Difference, running: Difference, actions: list[Action], context: Context
) -> Plan:
    changes = _classified({held.xpath + held.path: held for held in (*difference.changes, *running.changes)}.values())
    waiting = tuple(held for held in _classified(running.changes) if held.disruption is Disruption.RESTART)
    restart: list[Action] = [Stop(address=address, disruption=Disruption.RESTART), Start(address=address)]
    if not waiting:
        return change(address, difference, actions, changes=changes)
    if context.permission.restart:
        kept = [action for action in actions if not isinstance(action, UpdateNetwork)]
        return change(address, difference, [*kept, *restart], changes=changes)
    held = [planned for planned in changes if planned not in waiting] if actions else []
    return change(
        address, difference, actions, changes=tuple(held), pending=waiting, withheld=tuple(restart), needs="restart"
    )


def _classified(changes: Iterable[Change]) -> tuple[PlannedChange, ...]:
    return classified(changes, DISRUPTION, Disruption.RESTART)


def _updates(address: Address, running: Difference) -> Iterator[UpdateNetwork]:
    """The live updates, removals first so that a moved address is free before it is given again."""
    touched = dict.fromkeys(
        (row, held.key(row.rpartition("/")[2])) for held in running.changes if (row := _live_row(held.xpath))
    )
    found = [update for row, key in touched for update in _update(address, running, row, key)]
    yield from sorted(found, key=lambda update: update.command != "delete")


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
    """A network stands on nothing that we make."""
    yield from ()
