# SPDX-License-Identifier: GPL-3.0-or-later
"""What we keep on a host beside libvirt, in memory: definitions that are up or not, with what `kept.py` says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING

from ..errors import HypervisorError, InternalError
from ..model import address as addresses
from ..model.host import Link
from ..model.types import Address
from ..plan.action import Action, Define, Start, Stop, Undefine
from ..plan.plan import Observed
from ..xml.build import parse
from ..xml.common import mark_of

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

KINDS = ("bridge", "gateway")
LINKS: Mapping[str, Link] = {
    "eth0": Link(addresses=(Address("10.0.0.5"),)),  # what the host is managed by
    "eth1": Link(),
    "eth2": Link(),
    "eth3": Link(master="bond0"),
    "eth4": Link(master="br-old"),
    "br-host": Link(bridge=True),
}


class FakeKept:
    """The objects by address. `start` may be run over what is up, as the scripts may."""

    def __init__(self) -> None:
        self.definitions: dict[addresses.Address, Element] = {}
        self.running: dict[addresses.Address, Element] = {}

    def observe(self, site: str) -> Iterator[Observed]:
        for address, definition in self.definitions.items():
            live = self.running.get(address)
            yield Observed(
                address=address,
                xml=deepcopy(definition),
                live=deepcopy(live),
                active=live is not None,
                autostart=True,
                ours=(mark_of(definition) or {}).get("site") == site,
                info={"plugged": "0"},
            )

    def perform(self, action: Action) -> None:
        address = action.address
        if address not in self.definitions and not isinstance(action, Define):
            raise HypervisorError(f"change {address}", "no such file")
        match action:
            case Define():
                self.definitions[address] = parse(action.xml)
            case Undefine():
                del self.definitions[address]
            case Start():
                self.running[address] = deepcopy(self.definitions[address])
            case Stop():
                self.running.pop(address, None)
            case _:
                raise InternalError(f"nothing performs {type(action).__name__} on {address}")
