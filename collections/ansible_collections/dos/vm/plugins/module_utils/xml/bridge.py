# SPDX-License-Identifier: GPL-3.0-or-later
"""`<bridge>`, a form of our own: libvirt has none, and with one a bridge is compared and shown like everything else.

It is what lies in the host's `/etc/dos-vm/bridges`, and what `hypervisor/bridges.py` says of a bridge that is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.bridge import Bridge, SwitchPort, Vxlan
from .build import E, maybe, on_off
from .common import METADATA, absent, flag, lower, mark_element, mark_of, pruned
from .network import VLAN, read_vlan, vlan
from .shape import Attr, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def render(bridge: Bridge) -> Element:
    """The XML of a declared bridge."""
    return E(
        "bridge",
        E("name", bridge.name),
        mark_element(bridge.mark),
        bridge.uplink and E("uplink", dev=bridge.uplink),
        _vxlan(bridge.vxlan) if bridge.vxlan else None,
        _port(bridge.port) if bridge.port else None,
        E("stp", state=on_off(bridge.stp), delay=bridge.delay),
        maybe("multicast", snooping=on_off(bridge.snooping)),
        bridge.mtu and E("mtu", size=bridge.mtu),
        type=bridge.type,
        datapath=bridge.datapath if bridge.type == "openvswitch" else None,
    )


def _vxlan(tunnel: Vxlan) -> Element:
    peers = (E("peer", address=peer) for peer in tunnel.peers)
    return E("vxlan", peers, id=tunnel.id, port=tunnel.port, local=tunnel.local)


def _port(port: SwitchPort) -> Element:
    return E("port", vlan(port.vlan), switch=port.switch, id=port.id, mac=port.mac, machine=port.machine)


SHAPE = shape(
    "bridge",
    Attr("type"),
    Attr("datapath"),
    shape("name"),
    METADATA,
    shape("uplink", Attr("dev", field="uplink"), field="."),
    shape(
        "vxlan",
        Attr("id"),
        Attr("port"),
        Attr("local"),
        shape("peer", Attr("address"), key="@address", field="peers"),
    ),
    shape(
        "port",
        Attr("switch"),
        Attr("id", canon=lower),
        Attr("mac", canon=lower),
        Attr("machine", canon=lower),
        VLAN,
    ),
    shape("stp", Attr("state", field="stp"), Attr("delay", field="delay"), field="."),
    shape("multicast", Attr("snooping"), computed=True, field="."),
    shape("mtu", Attr("size", field="mtu"), computed=True, field="."),
)


def parse(element: Element) -> dict[str, Any]:
    """What a `Bridge` must declare to render like `element`; the inverse of `render`."""
    tunnel, stp = element.find("vxlan"), element.find("stp")
    return pruned(
        name=element.findtext("name"),
        type=element.get("type"),
        datapath=element.get("datapath"),
        mark=mark_of(element),
        uplink=absent(element.find("uplink"), "dev"),
        vxlan=None if tunnel is None else _read_vxlan(tunnel),
        port=None if (port := element.find("port")) is None else _read_port(port),
        stp=flag(absent(stp, "state")),
        snooping=flag(absent(element.find("multicast"), "snooping")),
        delay=int(absent(stp, "delay") or 0),
        mtu=None if (size := absent(element.find("mtu"), "size")) is None else int(size),
    )


def _read_vxlan(tunnel: Element) -> dict[str, Any]:
    return pruned(
        id=int(tunnel.get("id", "0")),
        port=int(tunnel.get("port", "4789")),
        local=tunnel.get("local"),
        peers=[peer.get("address") for peer in tunnel.iterfind("peer")],
    )


def _read_port(port: Element) -> dict[str, Any]:
    return pruned(
        switch=port.get("switch"),
        vlan=read_vlan(port.find("vlan")),
        id=port.get("id"),
        mac=port.get("mac"),
        machine=port.get("machine"),
    )
