# SPDX-License-Identifier: GPL-3.0-or-later
"""`<filter>`: see https://libvirt.org/formatnwfilter.html."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from ..model.nwfilter import FilterReference, FilterRule, Nwfilter, Protocol
from .build import E
from .common import pruned
from .merge import laid_over
from .shape import INDEX, Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

PROTOCOLS = get_args(Protocol)


def render(nwfilter: Nwfilter) -> Element:
    """The XML of a declared filter."""
    element = E(
        "filter",
        (reference(held) for held in nwfilter.references),
        (_rule(rule) for rule in nwfilter.rules),
        name=nwfilter.name,
        chain=nwfilter.chain,
        priority=nwfilter.priority,
    )
    return laid_over(element, nwfilter.xml, SHAPE)


def reference(held: FilterReference) -> Element:
    """A call of another filter, in a filter or on an interface."""
    return E("filterref", parameters(held.parameters), filter=held.filter)


def parameters(values: Mapping[str, str] | None) -> list[Element]:
    """Variables of a filter; a value with commas is a list, one element for each."""
    return [E("parameter", name=name, value=one) for name, value in (values or {}).items() for one in value.split(",")]


def _rule(rule: FilterRule) -> Element:
    return E(
        "rule",
        None if rule.protocol is None else E(rule.protocol, **(rule.match or {})),
        action=rule.action,
        direction=rule.direction,
        priority=rule.priority,
        statematch=None if rule.statematch else "false",
    )


def _plain_rule(element: Element) -> None:
    # Of all the words there are for no, libvirt takes these two.
    if element.get("statematch", "").lower() in ("0", "false"):
        element.set("statematch", "false")


SHAPE = shape(
    "filter",
    Attr("name"),
    Attr("chain", default="root"),
    Attr("priority", computed=True),
    shape("uuid", computed=True),
    shape(
        "filterref",
        Attr("filter"),
        shape("parameter", Attr("name"), Attr("value"), key=("@name", "@value"), field="parameters"),
        key=("@filter", INDEX),
        field="references",
        ordered=True,
    ),
    shape(
        "rule",
        Attr("action"),
        Attr("direction"),
        Attr("priority", default="500"),
        Attr("statematch", default="true"),
        # Empty, it still says which packets are meant.
        *(shape(protocol, whole=True, flag=True, field="match") for protocol in PROTOCOLS),
        key=INDEX,
        field="rules",
        tidy=_plain_rule,
    ),
)


def parse(element: Element) -> dict[str, Any]:
    """What an `Nwfilter` must declare to render like the normalised `element`."""
    priority = element.get("priority")
    return pruned(
        name=element.get("name"),
        chain=element.get("chain"),
        priority=None if priority is None else int(priority),
        references=[read_reference(held) for held in element.iterfind("filterref")],
        rules=[_read_rule(rule) for rule in element.iterfind("rule")],
    )


def read_reference(element: Element) -> dict[str, Any]:
    """A call of another filter, as `FilterReference` takes it."""
    values: dict[str, str] = {}
    for held in element.iterfind("parameter"):
        name, value = held.get("name", ""), held.get("value", "")
        values[name] = f"{values[name]},{value}" if name in values else value
    return pruned(filter=element.get("filter"), parameters=values or None)


def _read_rule(element: Element) -> dict[str, Any]:
    protocol = next(iter(element), None)
    priority = element.get("priority")
    return pruned(
        action=element.get("action"),
        direction=element.get("direction"),
        priority=None if priority is None else int(priority),
        statematch=False if element.get("statematch") == "false" else None,
        protocol=None if protocol is None else protocol.tag,
        match=None if protocol is None or not protocol.attrib else {str(k): str(v) for k, v in protocol.attrib.items()},
    )
