# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host has, said again in the operator's words: the declaration that would make it, and its XML as it may be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import DeclarationError
from ..model.address import Address, KindName
from ..model.argument_spec import fields_of
from ..model.decode import decode, encode
from ..xml import bridge, domain, gateway, network, nwfilter, pool, secret, volume
from ..xml.build import to_text
from ..xml.common import mark_of
from ..xml.mask import masked
from ..xml.normalize import normalize
from ..xml.shape import Shape
from .kinds import KINDS
from .plan import Observed

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


class Reader(NamedTuple):
    """How a kind's XML is read back."""

    shape: Shape
    parse: Callable[[Element, Address], Mapping[str, Any]]


READERS: Mapping[KindName, Reader] = {
    # libvirt keeps no name for a secret; ours is in its address.
    "secret": Reader(secret.SHAPE, lambda element, address: {"name": address.name, **secret.parse(element)}),
    "pool": Reader(pool.SHAPE, lambda element, address: pool.parse(element)),
    "volume": Reader(volume.SHAPE, lambda element, address: volume.parse(element, address.name.partition("/")[0])),
    "nwfilter": Reader(nwfilter.SHAPE, lambda element, address: nwfilter.parse(element)),
    "bridge": Reader(bridge.SHAPE, lambda element, address: bridge.parse(element)),
    "gateway": Reader(gateway.SHAPE, lambda element, address: gateway.parse(element)),
    "network": Reader(network.SHAPE, lambda element, address: network.parse(element)),
    "domain": Reader(domain.SHAPE, lambda element, address: domain.parse(element)),
}


def declaration_of(observed: Observed) -> dict[str, Any]:
    """What would declare the object, without what is the default.

    What cannot be declared as it is stands there as it was read: then `decode` of it says what is wrong.
    """
    address = observed.address
    model = KINDS[address.kind].model
    read = dict(READERS[address.kind].parse(normalize(observed.xml, READERS[address.kind].shape), address))
    names = {field.name for field in fields_of(model)}
    power = {"active": observed.active, "autostart": observed.autostart, "on_boot": _on_boot(observed)}
    read |= {name: value for name, value in power.items() if name in names}
    try:
        found: dict[str, Any] = encode(decode(model, read))
    except DeclarationError:
        return read
    return found


def _on_boot(observed: Observed) -> str:
    """What is declared for the boot of its host, or what comes to the same."""
    return (mark_of(observed.xml) or {}).get("on_boot") or ("start" if observed.autostart else "stay_off")


def shown(observed: Observed) -> str:
    """The definition in our one text form, secrets hidden (IAC-06)."""
    shape = READERS[observed.address.kind].shape
    return to_text(masked(normalize(observed.xml, shape), shape))


def described(observed: Observed) -> dict[str, Any]:
    """One object, all that can be told."""
    return {
        **brief(observed),
        "uuid": observed.xml.findtext("uuid"),
        "persistent": observed.persistent,
        "declaration": declaration_of(observed),
        "xml": shown(observed),
        "info": dict(observed.info),
    }


def brief(observed: Observed) -> dict[str, Any]:
    """One object, in a line of a list."""
    return {
        "name": observed.address.name,
        "active": observed.active,
        "autostart": observed.autostart,
        "ours": observed.ours,
    }
