# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of object a host holds, as a table. A new kind is a row here beside its own files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..model.address import Address, KindName
from ..model.bridge import Bridge
from ..model.domain import Domain
from ..model.gateway import Gateway
from ..model.network import Network
from ..model.nwfilter import Nwfilter
from ..model.pool import Pool
from ..model.secret import Secret
from ..model.slice import Declared, Slice
from ..model.volume import Volume
from . import bridge, domain, gateway, layered, network, nwfilter, pool, secret, volume
from .definition import removal
from .plan import Context, Observed, Plan


@dataclass(frozen=True, slots=True)
class Kind:
    """What the generic steps need of one kind. `held` is its field in a `Slice`."""

    name: KindName
    model: type[Any]
    held: str
    plan: Callable[[Any, Observed | None, Context], Plan]
    needs: Callable[[Any], Iterator[Address]]
    leave: Callable[[Observed, Context], Plan] = removal


# In the order in which one stands on another.
KINDS: Mapping[KindName, Kind] = {
    kind.name: kind
    for kind in (
        Kind("secret", Secret, "secrets", secret.plan, secret.needs),
        Kind("pool", Pool, "pools", pool.plan, pool.needs, pool.leave),
        Kind("volume", Volume, "volumes", volume.plan, volume.needs, volume.leave),
        Kind("nwfilter", Nwfilter, "nwfilters", nwfilter.plan, nwfilter.needs),
        Kind("bridge", Bridge, "bridges", bridge.plan, bridge.needs, bridge.leave),
        Kind("gateway", Gateway, "gateways", gateway.plan, gateway.needs, gateway.leave),
        Kind("network", Network, "networks", network.plan, network.needs),
        Kind("domain", Domain, "domains", domain.plan, domain.needs, layered.leave),
    )
}


def address_of(kind: Kind, declared: Declared) -> Address:
    """What an object is called on its host."""
    return volume.address_of(declared) if isinstance(declared, Volume) else Address(kind.name, declared.name)


def declared_objects(held: Slice) -> Iterable[tuple[Kind, Address, Declared]]:
    """Every object of a slice with its kind and address."""
    for kind in KINDS.values():
        for declared in getattr(held, kind.held):
            yield kind, address_of(kind, declared), declared
