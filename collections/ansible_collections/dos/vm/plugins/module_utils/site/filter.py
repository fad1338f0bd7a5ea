# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters, as an operator who knows libvirt's writes them; security groups make theirs by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.declaration import declaration, option
from ..model.fragment import named
from ..model.fragment_rules import check_fragment
from ..model.nwfilter import FilterReference, FilterRule
from ..model.types import IDENT, Name


def called(xml: str) -> Iterator[str]:
    """The filters that a piece of XML calls."""
    return (name for _, name in named(xml, "filterref", "filter"))


@declaration
class Filter:
    """Packet rules that interfaces are given through a security group."""

    chain: str = option("Chain of ebtables the rules go to.", spec="NWF-T1.4", default="root", low=1, high=28)
    priority: int | None = option("Priority of the chain.", spec="NWF-T1.4", default=None, low=-1000, high=1000)
    references: tuple[FilterReference, ...] = option("Filters called before the rules.", spec="NWF-04", default=())
    rules: tuple[FilterRule, ...] = option("Rules in order of priority.", spec="NWF-T1.4", default=())
    xml: str | None = option(
        "Elements of `<filter>` that have no field here: rules and calls as libvirt writes them.",
        spec="NWF-02",
        default=None,
    )
    label: str | None = option("Label in any script.", spec="NWF-T1.1", default=None)
    description: str | None = option("Free text.", spec="NWF-T1.3", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_fragment("xml", self.xml, "filter")
        for name in called(self.xml or ""):
            if not IDENT.fullmatch(name):
                yield "xml", f"calls {name[:40]!r}, which is not a name"

    def calls(self) -> Iterator[Name]:
        """The filters that this one calls."""
        for reference in self.references:
            yield reference.filter
        yield from map(Name, called(self.xml or ""))
