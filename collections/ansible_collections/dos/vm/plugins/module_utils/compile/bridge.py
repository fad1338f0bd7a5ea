# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge of a network, on one of its hosts."""

from __future__ import annotations

from ..model.address import Mark
from ..model.bridge import Bridge, Vxlan
from ..model.types import Name
from ..site.network import Network
from ..site.site import Site
from .tunnels import Ends

KINDS = {"bridge": "linux", "ovs": "openvswitch"}


def compile_bridge(site: Site, name: Name, network: Network, host: str, ends: Ends) -> Bridge:
    """The bridge on `host`; `ends` are those of the site's tunnels."""
    assert network.bridge is not None  # NET-T3.1, checked with the declaration
    return Bridge(
        name=network.bridge,
        type=KINDS[network.type],  # type: ignore[arg-type]  # the table has the two words only
        uplink=network.forward_interface,
        vxlan=_tunnel(site, name, network, host, ends),
        stp=network.stp,
        delay=round(network.delay_ms / 1000) if network.delay_ms else 0,
        mtu=network.mtu,
        datapath=network.datapath or "system",
        mark=Mark(site=site.name, project=network.project, origin=f"dos_networks.{name}"),
    )


def _tunnel(site: Site, name: Name, network: Network, host: str, ends: Ends) -> Vxlan | None:
    if network.vxlan is None:
        return None
    peers = ends.peers(name, network, host)
    return Vxlan(
        id=network.vxlan.id,
        port=network.vxlan.port,
        local=site.addresses[Name(host)],
        peers=peers,
        unused=ends.unused(network, host, peers),
    )
