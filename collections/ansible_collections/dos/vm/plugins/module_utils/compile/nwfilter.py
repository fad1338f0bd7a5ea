# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups become the filters a host needs: the one a card names, and all that it calls (NWF-10)."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.nwfilter import Nwfilter
from ..model.types import Name
from ..site.filter import Filter
from ..site.site import Site


def closure(site: Site, top: Iterable[Name]) -> list[Name]:
    """The declared filters that those of `top` reach, in the order of the declaration. libvirt's own are not among them."""
    reached: set[str] = set()
    waiting = [name for name in top if name in site.filters]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [called for called in site.filters[name].calls() if called in site.filters]
    return [name for name in site.filters if name in reached]


def compile_nwfilter(name: Name, held: Filter) -> Nwfilter:
    """The filter as a host holds it."""
    same = ("chain", "priority", "references", "rules", "xml")
    return Nwfilter(name=name, **{field: getattr(held, field) for field in same})
