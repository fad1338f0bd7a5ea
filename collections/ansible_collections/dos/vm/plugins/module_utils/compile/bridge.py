# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge of a network, on one of its hosts; the ends of its tunnel are the other hosts that have it."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.address import Mark
from ..model.bridge import Bridge, Vxlan
from ..model.types import Name
from ..site.network import Network
from ..site.site import Site

KINDS = {"bridge": "linux", "ovs": "openvswitch"}


def compile_bridge(site: Site, name: Name, network: Network, host: str, members: Iterable[str]) -> Bridge:
    """The bridge on `host`; `members` are all hosts that have the network."""
    assert network.bridge is not None  # NET-T3.1, checked with the declaration
    return Bridge(
        name=network.bridge,
        type=KINDS[network.type],  # type: ignore[arg-type]  # the table has the two words only
        uplink=network.forward_interface,
        vxlan=_tunnel(site, network, host, members),
        stp=network.stp,
        delay=round(network.delay_ms / 1000) if network.delay_ms else 0,
        mtu=network.mtu,
        datapath=network.datapath or "system",
        mark=Mark(site=site.name, project=network.project, origin=f"dos_networks.{name}"),
    )


def _tunnel(site: Site, network: Network, host: str, members: Iterable[str]) -> Vxlan | None:
    if network.vxlan is None:
        return None
    peers = [site.addresses[Name(member)] for member in sorted(members) if member != host]
    return Vxlan(
        id=network.vxlan.id,
        port=network.vxlan.port,
        local=site.addresses[Name(host)],
        peers=tuple(sorted(peers, key=lambda peer: int(peer.ip))),
    )
