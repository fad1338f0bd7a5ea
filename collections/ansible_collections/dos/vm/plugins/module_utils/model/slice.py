# SPDX-License-Identifier: GPL-3.0-or-later
"""A slice: everything one host should hold. A host needs nothing else to converge."""

from __future__ import annotations

from .bridge import Bridge
from .declaration import declaration, option
from .domain import Domain
from .gateway import Gateway
from .host import StoreState
from .network import Network
from .nwfilter import Nwfilter
from .pool import Pool
from .secret import Secret
from .types import Name
from .volume import Volume

Declared = Secret | Pool | Volume | Nwfilter | Bridge | Gateway | Network | Domain


@declaration
class Slice:
    """What one host should hold, kind by kind, each list in any order."""

    site: Name = option("The site that declares it.", default=Name("dos"))
    secrets: tuple[Secret, ...] = option("Secrets.", default=())
    pools: tuple[Pool, ...] = option("Storage pools.", default=())
    volumes: tuple[Volume, ...] = option("Volumes.", default=())
    nwfilters: tuple[Nwfilter, ...] = option("Network filters.", default=())
    bridges: tuple[Bridge, ...] = option("Bridges of the host.", default=())
    gateways: tuple[Gateway, ...] = option("Gateways that are here.", default=())
    networks: tuple[Network, ...] = option("Virtual networks.", default=())
    domains: tuple[Domain, ...] = option("Virtual machines.", default=())
    elsewhere: tuple[str, ...] = option(
        "Volumes of shared pools that other hosts hold: `pool/name`, or `pool/*` for whatever is there.", default=()
    )
    waits: tuple[Name, ...] = option(
        "Machines that are defined now and started by a later call, when those that they come after are ready.",
        default=(),
    )
    part: bool = option(
        "Whether this is only a part of what the host should hold. If true, what it does not declare is left as it is.",
        default=False,
    )
    store: StoreState | None = option(
        "How far the site's store has come; the host keeps a note of it, by which an older one is recognised.",
        spec="ARCH-10",
        default=None,
    )
    host: Name | None = option(
        "What the inventory calls the host; permissions of data loss may name it: `volume local/web-1-vda on h1`.",
        default=None,
    )
    shared: tuple[Name, ...] = option("Pools in which several hosts have the same volumes.", default=())
    awaited: dict[str, Name] | None = option(
        "Volumes of shared pools, `pool/name`, that another host makes, which is named.", default=None
    )
    deleted_after: dict[str, str] | None = option(
        "Volumes of shared pools, `pool/name`, or `pool/*` for all, that another host may have open, each with what is waited for "
        "before one is deleted or made anew: `VM vault on h2 is gone`.",
        default=None,
    )
    known: dict[str, str] | None = option(
        "Volumes, `pool/name`, that were there before as far as the other hosts and the store tell, each with the reason; a missing "
        "one is not made anew, empty.",
        spec="VOL-08",
        default=None,
    )
    undeclared: tuple[str, ...] = option(
        "Volumes, `pool/name`, that the host keeps a note of and the site does not declare any more.", default=()
    )


@declaration
class Permission:
    """What a run may do beyond what disturbs nobody. Nothing, unless it is written down."""

    restart: bool = option("Machines and networks may be stopped and started.", default=False)
    recreate: bool = option("Objects without data may be removed and made anew.", default=False)
    migrate: bool = option("Machines may move.", default=False)
    data_loss: tuple[str, ...] = option("Objects, by name, whose data may go: `volume default/web-1`.", default=())
    wipe: bool = option("What is deleted with data_loss is written over with zeros first.", default=False)
    uplink: tuple[str, ...] = option(
        "Interfaces, by name, that a bridge may take though they carry addresses of the host.",
        spec="NET-12",
        default=(),
    )
    prune: bool = option("Objects of ours that are no longer declared are removed.", default=False)
    adopt: bool = option("Objects that are not ours and differ are taken over.", default=False)
