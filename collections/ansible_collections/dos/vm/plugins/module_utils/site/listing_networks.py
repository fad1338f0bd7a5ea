# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks, subnets, filters and security groups as rows for people (NET-07, NET-17, SUBN-06, SUBN-09, NWF-02, NWF-09). Pure.

What a host has of them, the bridge that libvirt chose and its MAC, `dos.vm.network_info` and `dos.vm.nwfilter_info` show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from .filter import Filter
from .network import Network
from .site import Site
from .subnet import Subnet

Row = Mapping[str, Any]


def networks(site: Site) -> Iterator[Row]:
    """NET-07."""
    for name, network in sorted(site.networks.items()):
        yield {
            "name": name,
            "label": network.label,
            "type": network.type,
            "bridge": network.bridge,
            "mac": network.mac,
            "interfaces": sorted({*network.uplinks, network.forward_interface} - {None}),
            "hosts": _hosts(site, network),
            "gateways": [subnet.gateway for subnet in site.subnets_of(network) if subnet.gateway],
            "subnets": [subnet for _, subnet in network.named_subnets()],
            "project": network.project,
            "description": network.description,
        }


def subnets(site: Site) -> Iterator[Row]:
    """SUBN-06. Those of a project's grant count from either side (SUBN-09)."""
    for name, subnet in sorted(site.subnets.items()):
        granted = {*subnet.projects, *(project for project, held in site.projects.items() if name in held.subnets)}
        yield {
            "name": name,
            "label": subnet.label,
            "version": f"IPv{subnet.address.version}",
            "address": subnet.address,
            "gateway": subnet.gateway,
            "pool": [f"{span.start}-{span.end}" for span in subnet.pool],
            "dhcp": subnet.dhcp is not None and subnet.dhcp.enabled,
            "dns": _answers(subnet),
            "projects": sorted(granted) or "all",
            "description": subnet.description,
        }


def _answers(subnet: Subnet) -> bool:
    """Without a word about DNS libvirt serves it."""
    return subnet.dns is None or subnet.dns.enabled


def grants(site: Site) -> Iterator[Row]:
    """SUBN-09: a row for each pair of a subnet and a project."""
    for row in subnets(site):
        for project in row["projects"] if row["projects"] != "all" else ():
            yield {"name": row["name"], "address": row["address"], "gateway": row["gateway"], "project": project}


def routes(site: Site) -> Iterator[Row]:
    """NET-17: what a router outside must know, since what comes from these networks is not translated (NET-15)."""
    for name, network in sorted(site.networks.items()):
        held = site.subnets_of(network)
        gateway = next((subnet.automatic_gateway for subnet in held if subnet.automatic_gateway), None)
        how, nat = (network.type, network.nat) if gateway is None else (gateway.forward, gateway.nat)
        hosts = _hosts(site, network) if gateway is None else [gateway.host] if gateway.host else "its gateway"
        for subnet in held:
            untranslated = subnet.address.version == 6 and how == "nat" and not (nat and nat.ipv6)
            served = gateway is None or subnet.automatic_gateway is not None
            if served and (how == "route" or untranslated):
                yield {"name": name, "to": subnet.address, "via": hosts, "project": network.project}


def _hosts(site: Site, network: Network) -> Any:
    hosts = site.hosts_of(network)
    return "all" if hosts is None else sorted(hosts)


def filters(site: Site) -> Iterator[Row]:
    """NWF-02, with who calls each, which must go before it can (NWF-03). Who wrote it when is in the history of its file."""
    users = _callers(site)
    for name, held in sorted(site.filters.items()):
        yield {
            "name": name,
            "label": held.label,
            "rules": _count(held),
            "calls": sorted(set(held.calls())),
            "used_by": sorted(users[name]),
            "description": held.description,
        }


def _count(held: Filter) -> int:
    return len(held.rules) + (held.xml or "").count("<rule")


def _callers(site: Site) -> defaultdict[str, set[str]]:
    """The filters and groups that name a filter."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, held in site.filters.items():
        for called in held.calls():
            found[called].add(name)
    for name, group in site.security_groups.items():
        if group.filter is not None:
            found[group.filter].add(name)
    return found


def security_groups(site: Site) -> Iterator[Row]:
    """NWF-09, with the instances whose cards are in each."""
    users: defaultdict[str, set[str]] = defaultdict(set)
    for name, instance in site.instances.items():
        for card in instance.interfaces:
            if card.security_group is not None:
                users[card.security_group].add(name)
    for name, group in sorted(site.security_groups.items()):
        yield {
            "name": name,
            "label": group.label,
            "filter": group.filter,
            "rules": None if group.rules is None else len(group.rules),
            "used_by": sorted(users[name]),
            "description": group.description,
        }
