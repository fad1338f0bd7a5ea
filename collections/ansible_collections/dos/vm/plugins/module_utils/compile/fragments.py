# SPDX-License-Identifier: GPL-3.0-or-later
"""What fragments of libvirt's XML change of what fields say: allowed, and probably not meant (CUST-02)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ..errors import DeclarationError
from ..model.declaration import options
from ..model.domain import Domain
from ..site.index import Finding, Place
from ..site.site import KINDS, Site
from ..xml import network as network_xml
from ..xml import nwfilter as filter_xml
from ..xml.compare import Change
from ..xml.domain import fragment_overrides
from ..xml.overrides import overridden
from .domain import compile_domain
from .identity import allocate
from .machine import Machine, machines
from .network import compile_network
from .nwfilter import compile_nwfilter

FIELDS = {f"dos_{kind}": frozenset(options(KINDS[kind])) for kind in ("instances", "networks", "filters")}
# What a field of a host's declaration is called in a site, where that differs.
WORDS = {"title": "label", "forward": "type", "device": "forward_interface", "devices": "forward_interfaces"}


def fragments_that_override(site: Site) -> Iterator[Finding]:
    """A finding for each value that a fragment changes, with the place of the field that says it."""
    for at, change in _changes(site):
        word = change.path.partition(".")[0].partition("[")[0]
        field = WORDS.get(word, word)
        if field not in FIELDS[str(at[0])]:
            continue
        was = "" if change.before is None else f" from {change.before}"
        now = "nothing" if change.after is None else change.after
        text = f"changes {change.path}{was} to {now}, which a field says too: use the field and leave it out (CUST-02)"
        yield Finding(at, text, (*at[:2], field))


def _changes(site: Site) -> Iterator[tuple[Place, Change]]:
    for machine in _with_fragments(site):
        with suppress(DeclarationError):  # compiling the site says so
            for number, change in fragment_overrides(_domain(site, machine)):
                yield ("dos_instances", machine.instance_name, "xml", number), change
    for name, network in site.networks.items():
        if network.xml:
            held = compile_network(site, name, network, ())
            pair = (network_xml.render(replace(held, xml=None)), network_xml.render(held))
            yield from ((("dos_networks", name, "xml"), change) for change in overridden(*pair, network_xml.SHAPE))
    for name, filter_ in site.filters.items():
        if filter_.xml:
            own = compile_nwfilter(name, filter_)
            pair = (filter_xml.render(replace(own, xml=None)), filter_xml.render(own))
            yield from ((("dos_filters", name, "xml"), change) for change in overridden(*pair, filter_xml.SHAPE))


def _with_fragments(site: Site) -> Iterator[Machine]:
    """One VM of each instance that has fragments: they are the same for all of them."""
    instances = {name: held for name, held in site.instances.items() if held.xml}
    seen: set[str] = set()
    for machine in machines(replace(site, instances=instances)) if instances else ():
        if machine.instance_name not in seen:
            seen.add(machine.instance_name)
            yield machine


def _domain(site: Site, machine: Machine) -> Domain:
    cards = ((machine.name, card) for card in machine.cards_without_mac())
    settled = machine.settled(allocate(site.name, cards, machine.macs()), {}, on=True)
    domain = compile_domain(site, settled, min(machine.hosts(site) or site.hosts, default=""))
    return replace(domain, virt_type="qemu") if domain.virt_type == "auto" else domain
