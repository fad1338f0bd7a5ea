# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about fragments of libvirt's XML: they add what no field says, and decide nothing that a field does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import DeclarationError
from ..model.fragment_rules import Fixed, FragmentKind, Refusal, macs, refusals
from ..model.types import Mac, Name
from .index import Finding, Index, Place
from .instance import Instance
from .suited import suited

# What a field of a host's declaration is called in a site; the names of objects are keys there, and UUIDs are not declared.
WORDS: Mapping[FragmentKind, Mapping[str, str]] = {
    "domain": {"name": "vms", "uuid": ""},
    "network": {"name": "", "uuid": "", "devices": "forward_interfaces"},
    "filter": {"name": ""},
}


def fragments_keep_to_what_no_field_says(index: Index) -> Iterator[Finding]:
    """CUST-02, IAC-06, NWF-02: a fragment changes neither whose an object is nor what is counted by a field."""
    for at, kind, text, beside in _fragments(index):
        for refused in refusals(kind, text, beside):
            yield _finding(at, kind, refused)


def _finding(at: Place, kind: FragmentKind, refused: Refusal) -> Finding:
    field = WORDS[kind].get(refused.field, refused.field)
    return Finding(at, refused.remedy(field), (*at[:2], field) if field else None)


def _fragments(index: Index) -> Iterator[tuple[Place, FragmentKind, str, Fixed | None]]:
    """Every fragment: where it is, what it goes into, what it says, and what is declared beside it."""
    for name, instance in index.site.instances.items():
        beside = _beside(index, instance) if instance.xml else None
        for number, text in enumerate(instance.xml):
            yield ("dos_instances", name, "xml", number), "domain", text, beside
    for name, network in index.site.networks.items():
        yield ("dos_networks", name, "xml"), "network", network.xml or "", None
    for name, held in index.site.filters.items():
        yield ("dos_filters", name, "xml"), "filter", held.xml or "", None


def _beside(index: Index, instance: Instance) -> Fixed:
    try:
        whole = suited(index.site, instance)
    except DeclarationError:  # another rule says so
        whole = instance
    return Fixed(targets=frozenset(target for target, _ in whole.targets()), macs=written_macs(instance))


def written_macs(instance: Instance) -> frozenset[Mac]:
    """The MACs that fields of an instance and its VMs set."""
    own = (mac for vm in (instance.vms or {}).values() for mac in (vm.mac or {}).values())
    return frozenset([*(card.mac for card in instance.interfaces if card.mac), *own])


def macs_in_fragments(name: Name, instance: Instance) -> Iterator[tuple[Place, Mac]]:
    """The MACs of interfaces that the fragments of an instance add: each of its VMs has them."""
    for number, mac in macs(instance.xml, written_macs(instance)) if instance.xml else ():
        yield ("dos_instances", name, "xml", number), mac
