# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about names: whatever is referred to is there (INST-11, DISK-01, CUST-01)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..model.nwfilter import PREDEFINED
from ..model.seed import REFERENCE
from .bound import Bound
from .index import Finding, Index, Place
from .seed import InstanceSeed

# Kind it is in, the words for one of it, and how to find the references: (place within the object, name or nothing).
References = Callable[[Any], Iterable[tuple[Place, str | None]]]


def _field(name: str) -> References:
    return lambda held: (((name,), getattr(held, name)),)


def _list(name: str) -> References:
    return lambda held: (((name, at), entry) for at, entry in enumerate(getattr(held, name) or ()))


def _inner(part: str, name: str) -> References:
    """The field `name` of the field `part`, if there is one."""
    return lambda held: (((part, name), getattr(getattr(held, part), name, None)),)


def _each(container: str, name: str) -> References:
    """The field `name` of every entry of the list `container`."""
    return lambda held: (
        ((container, at, name), getattr(entry, name)) for at, entry in enumerate(getattr(held, container))
    )


def _hosts(held: Bound) -> Iterator[tuple[Place, str | None]]:
    yield ("host",), held.host
    if isinstance(held.hosts, tuple):
        yield from ((("hosts", at), name) for at, name in enumerate(held.hosts))


def _calls(held: Any) -> Iterator[tuple[Place, str | None]]:
    for at, reference in enumerate(held.references):
        yield ("references", at, "filter"), reference.filter
    listed = {reference.filter for reference in held.references}
    yield from ((("xml",), name) for name in held.calls() if name not in listed)


def _rule_groups(held: Any) -> Iterator[tuple[Place, str | None]]:
    for at, rule in enumerate(held.rules or ()):
        yield from ((("rules", at, "groups", place), name) for place, name in enumerate(rule.groups))


def _vm_hosts(held: Any) -> Iterator[tuple[Place, str | None]]:
    return ((("vms", name, "host"), vm.host) for name, vm in (held.vms or {}).items())


def _members(held: Any) -> Iterator[tuple[Place, str | None]]:
    hosts = held.hosts if isinstance(held.hosts, tuple) else ()
    return ((("hosts", at), name) for at, name in enumerate(hosts))


def _fence(held: Any) -> Iterator[tuple[Place, str | None]]:
    if held.fence is not None:
        yield ("fence", "password"), held.fence.password


def _gateway_host(held: Any) -> Iterator[tuple[Place, str | None]]:
    if held.automatic_gateway is not None:
        yield ("automatic_gateway", "host"), held.automatic_gateway.host


def _seed(held: Any) -> Iterator[tuple[Place, str | None]]:
    """The secrets that a seed refers to: the password, and what stands as `${secret:NAME}` inside its texts."""
    if held.seed is None:
        return
    yield ("seed", "password"), held.seed.password
    for place, text in _seed_texts(held.seed):
        for _, name in REFERENCE.findall(text):
            yield ("seed", *place), name


def _seed_texts(seed: InstanceSeed) -> Iterator[tuple[Place, str]]:
    field = "user_data" if seed.user_data_base64 is None else "user_data_base64"
    yield (field,), seed.user or ""
    yield ("network_config",), seed.network_config or ""
    for part in ("files", "append", "metadata"):
        for name, text in (getattr(seed, part) or {}).items():
            yield (part, name), text


REFERENCES: tuple[tuple[str, str, References], ...] = (
    ("host_groups", "hosts", _members),
    ("host_groups", "projects", _list("projects")),
    ("projects", "host_groups", _list("host_groups")),
    ("projects", "project_groups", _list("groups")),
    ("projects", "users", _list("administrators")),
    ("projects", "filters", _list("filters")),
    ("users", "projects", _field("project")),
    ("host_settings", "secrets", _fence),
    ("projects", "pools", _list("pools")),
    ("projects", "subnets", _list("subnets")),
    ("pools", "hosts", _hosts),
    ("pools", "projects", _list("projects")),
    ("pools", "secrets", _inner("source", "secret")),
    ("images", "hosts", _hosts),
    ("images", "projects", _field("project")),
    ("volumes", "pools", _field("pool")),
    ("volumes", "images", _field("image")),
    ("volumes", "volumes", _field("base")),
    ("volumes", "projects", _field("project")),
    ("volumes", "secrets", _field("encryption")),
    ("volumes", "hosts", _field("host")),
    ("subnets", "projects", _list("projects")),
    ("subnets", "hosts", _gateway_host),
    ("networks", "hosts", _hosts),
    ("networks", "subnets", _field("subnet")),
    ("networks", "subnets", _field("subnet6")),
    ("networks", "projects", _field("project")),
    ("filters", "filters", _calls),
    ("security_groups", "filters", _field("filter")),
    ("security_groups", "filters", _list("filters")),
    ("security_groups", "security_groups", _rule_groups),
    ("secrets", "projects", _field("project")),
    ("instances", "projects", _field("project")),
    ("instances", "hosts", _hosts),
    ("instances", "hosts", _vm_hosts),
    ("instances", "host_groups", _field("host_group")),
    ("instances", "volumes", _each("disks", "volume")),
    ("instances", "images", _each("disks", "image")),
    ("instances", "pools", _each("disks", "pool")),
    ("instances", "networks", _each("interfaces", "network")),
    ("instances", "security_groups", _each("interfaces", "security_group")),
    ("instances", "secrets", _each("graphics", "password")),
    ("instances", "secrets", _each("disks", "encryption")),
    ("instances", "secrets", _seed),
)

WORDS = {"security_groups": "security group", "project_groups": "project group", "host_groups": "host group"}


def references_lead_somewhere(index: Index) -> Iterator[Finding]:
    """INST-11, NWF-06: a name that is used is declared, or libvirt's own."""
    for kind, target, references in REFERENCES:
        word = WORDS.get(target, target.removesuffix("s"))
        for holder, held in getattr(index.site, kind).items():
            for place, name in references(held):
                if name is None or index.has(target, name) or (target == "filters" and name in PREDEFINED):
                    continue
                yield Finding(
                    (f"dos_{kind}", holder, *place), f"{word} {name!r} does not exist, {index.near(target, name)}"
                )


def port_groups_exist(index: Index) -> Iterator[Finding]:
    """PGRT-03: the network has the port group."""
    for at, _, instance, number in index.each_card():
        card = instance.interfaces[number]
        network = index.site.networks.get(card.network)
        if network is None or card.port_group is None:
            continue
        names = [group.name for group in network.port_groups]
        if card.port_group not in names:
            listed = f"write one of: {', '.join(names)}" if names else "it has none, leave port_group out"
            yield Finding(
                (*at, "port_group"), f"{card.port_group} is not a port group of network {card.network}, {listed}"
            )


def addresses_are_of_own_cards(index: Index) -> Iterator[Finding]:
    """NIC-01: a machine's MAC or address is for a network that exactly one card of its instance is on."""
    for machine in index.machines:
        vm = machine.vm
        if not (vm.mac or vm.ip or vm.ip6):
            continue
        networks = [card.network for card in machine.instance.interfaces]
        for field, held in (("mac", vm.mac), ("ip", vm.ip), ("ip6", vm.ip6)):
            for name in held or {}:
                if networks.count(name) != 1:
                    yield Finding((*machine.at, field, name), _which_card(name, networks))


def _which_card(name: str, networks: list[Any]) -> str:
    if name in networks:
        return f"{networks.count(name)} cards are on {name}, write it at the card"
    listed = f"write one of: {', '.join(sorted(set(networks)))}" if networks else "its instance has no interfaces"
    return f"no card of the machine is on network {name}, {listed}"
