# SPDX-License-Identifier: GPL-3.0-or-later
"""How a filter comes to be as declared. libvirt lays a new definition on running guests at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..model.address import Address
from ..model.nwfilter import Nwfilter
from ..xml.nwfilter import SHAPE, render
from .definition import change, classified, creation, definition_of, differ, foreign, redefined, with_own_uuid
from .disruption import Disruption
from .plan import Context, Observed, Plan


def plan(nwfilter: Nwfilter, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one filter."""
    address = Address("nwfilter", nwfilter.name)
    difference = differ(with_own_uuid(render(nwfilter), address, observed, context), definition_of(observed), SHAPE)
    if observed is None:
        return creation(address, difference, redefined(address, difference))
    if (refused := foreign(address, difference, observed, context)) is not None:
        return refused
    changes = classified(difference.changes, {}, Disruption.LIVE)
    define = replace(redefined(address, difference), disruption=Disruption.LIVE)
    return change(address, difference, [define] if changes else [], changes=changes)


def needs(nwfilter: Nwfilter) -> Iterator[Address]:
    """A filter stands on those it calls, in its fields or in its `xml`."""
    called = render(nwfilter).iterfind("filterref") if nwfilter.xml else ()
    names = [held.filter for held in nwfilter.references] + [held.get("filter", "") for held in called]
    for name in dict.fromkeys(names):
        yield Address("nwfilter", name)
