# SPDX-License-Identifier: GPL-3.0-or-later
"""`<gateway>`, a form of our own that says its services in the words of `<network>`; see `xml/bridge.py` for why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.gateway import Gateway, PortForward
from .build import E
from .common import METADATA, absent, flag, mark_element, mark_of, pruned
from .network import SERVICES, nat, read_nat, read_services, services
from .shape import INDEX, Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def render(gateway: Gateway) -> Element:
    """The XML of a declared gateway."""
    return E(
        "gateway",
        E("name", gateway.name),
        mark_element(gateway.mark),
        E("bridge", name=gateway.bridge),
        E(
            "forward",
            nat(gateway.nat),
            map(_map, gateway.forwards),
            mode=gateway.forward,
            dev=gateway.device,
            only=gateway.only_forwards or None,
        ),
        services(gateway.domain, gateway.domain_local, gateway.dns, gateway.subnets),
        gateway.start and E("start", gateway.start),
        gateway.stop and E("stop", gateway.stop),
        autostart=gateway.autostart,
    )


def _map(held: PortForward) -> Element:
    return E("map", to=held.to, address=held.address, protocol=held.protocol, port=held.port, to_port=held.to_port)


SHAPE = shape(
    "gateway",
    Attr("autostart"),
    shape("name"),
    METADATA,
    shape("bridge", Attr("name", field="bridge"), field="."),
    shape(
        "forward",
        Attr("mode", field="forward"),
        Attr("dev", field="device"),
        Attr("only", field="only_forwards", default="no"),
        shape(
            "nat",
            Attr("ipv6", default="no"),
            shape("address", Attr("start"), Attr("end"), field="addresses"),
            shape("port", Attr("start"), Attr("end"), field="ports"),
        ),
        shape(
            "map",
            *(Attr(name) for name in ("to", "address", "protocol", "port", "to_port")),
            key=INDEX,
            ordered=True,
            field="forwards",
        ),
        field=".",
    ),
    *SERVICES,
    shape("start"),
    shape("stop"),
)


def parse(element: Element) -> dict[str, Any]:
    """What a `Gateway` must declare to render like `element`; the inverse of `render`."""
    forward = element.find("forward")
    maps = [] if forward is None else forward.findall("map")
    return pruned(
        name=element.findtext("name"),
        mark=mark_of(element),
        bridge=absent(element.find("bridge"), "name"),
        forward=absent(forward, "mode"),
        device=absent(forward, "dev"),
        only_forwards=None if forward is None else flag(forward.get("only")),
        nat=read_nat(element.find("forward/nat")),
        forwards=[_read_map(held) for held in maps],
        **read_services(element),
        start=element.findtext("start"),
        stop=element.findtext("stop"),
        autostart=flag(element.get("autostart")),
    )


def _read_map(held: Element) -> dict[str, Any]:
    return {str(name): int(value) if name in ("port", "to_port") else value for name, value in held.attrib.items()}
