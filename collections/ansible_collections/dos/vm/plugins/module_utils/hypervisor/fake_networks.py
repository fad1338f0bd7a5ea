# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt does with the parts of a network that runs, for a host in memory; see `virNetworkUpdate`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..plan.action import UpdateNetwork
from . import fake_definitions as definitions
from .fake_refusals import INVALID, refuse

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

PARENTS = {
    "ip-dhcp-host": "dhcp",
    "ip-dhcp-range": "dhcp",
    "dns-host": "dns",
    "dns-txt": "dns",
    "dns-srv": "dns",
    "portgroup": ".",
    "forward-interface": "forward",
}
IDENTITIES = {
    "ip-dhcp-host": ("mac", "name", "ip"),
    "ip-dhcp-range": ("start", "end"),
    "dns-host": ("ip",),
    "dns-txt": ("name",),
    "dns-srv": ("service", "protocol", "domain", "target"),
    "portgroup": ("name",),
    "forward-interface": ("dev",),
}
MODIFIABLE = ("ip-dhcp-host", "portgroup")


def count_connections(live: Element, number: int) -> None:
    if number:
        live.set("connections", str(number))


def spans(network: Element) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for ip in network.iterfind("ip[@address]"):
        mask = ip.get("prefix") or ip.get("netmask") or "24"
        yield ipaddress.ip_network(f"{ip.get('address')}/{mask}", strict=False)


def update(action: UpdateNetwork, network: Element) -> None:
    """One section of a network; an entry is found by any of its identities, as libvirt does."""
    if action.command == "modify" and action.section not in MODIFIABLE:
        refuse(action, f"{action.section} records cannot be modified, only added or deleted", INVALID)
    parent, entry = _section(action, network), definitions.parse(action.xml)
    names = IDENTITIES[action.section]
    found = [held for held in parent.iterfind(str(entry.tag)) if _matches(held, entry, names, action)]
    if action.command in ("modify", "delete"):
        if not found:
            refuse(action, f"couldn't locate a matching {action.section} entry", INVALID)
        parent.replace(found[0], entry) if action.command == "modify" else parent.remove(found[0])
        return
    if found:
        refuse(action, f"there is an existing {action.section} entry that matches", INVALID)
    same = parent.findall(str(entry.tag))
    at = len(parent) if not same else parent.index(same[0 if action.command == "add-first" else -1])
    parent.insert(at + (action.command == "add-last"), entry)


def _matches(held: Element, entry: Element, names: tuple[str, ...], action: UpdateNetwork) -> bool:
    pairs = [(held.get(name, "").lower(), entry.get(name, "").lower()) for name in names if entry.get(name)]
    if action.section == "ip-dhcp-host" and action.command == "modify":
        pairs = pairs[:1]  # the MAC, when there is one, decides alone
    elif action.section == "ip-dhcp-host" and action.command.startswith("add"):
        return any(one == other for one, other in pairs)
    return bool(pairs) and all(one == other for one, other in pairs)


def _section(action: UpdateNetwork, network: Element) -> Element:
    where = PARENTS[action.section]
    if where == ".":
        return network
    if where == "dhcp":
        return _dhcp(action, network)
    found = network.find(where)
    if found is None:
        found = definitions.parse(f"<{where}/>")
        first = network.find("ip")
        network.append(found) if first is None else first.addprevious(found)
    return found


def _dhcp(action: UpdateNetwork, network: Element) -> Element:
    listed = network.findall("ip")
    chosen = listed[action.parent_index : action.parent_index + 1] if action.parent_index >= 0 else listed
    for ip in sorted(chosen, key=lambda held: held.find("dhcp") is None):
        found = ip.find("dhcp")
        if found is None:
            ip.append(found := definitions.parse("<dhcp/>"))
        return found
    refuse(action, "couldn't locate a matching ip element", INVALID)
