# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to a network that only a packet answers: who is reached, when it is sent in whose name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Connection
from .types import Address, Mac, Name


@declaration
class Probe:
    """One packet, and whether somebody answers it."""

    vm: Name = option("The machine in whose name it is sent; it must run on this host.", spec="NWF-01")
    mac: Mac = option("MAC of the card it would leave by.")
    source: Address = option("Address of that card.")
    target: Address = option("Who is to answer.")
    via: Address | None = option(
        "The router on the way; the target is on the same network when not given.", default=None
    )
    protocol: Literal["tcp", "udp", "icmp"] = option("V(icmp) is a ping.", default="icmp")
    port: int | None = option("Port at the target.", default=None, low=1, high=65535)

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.port is None) != (self.protocol == "icmp"):
            yield "port", "is required with tcp and udp, and with nothing else"
        if len({address.version for address in (self.source, self.target, self.via or self.target)}) > 1:
            yield "target", f"must be of the family of {self.source}"


@declaration
class Probing(Connection):
    """What the `probe` module takes."""

    probes: tuple[Probe, ...] = option("The questions.", spec="NWF-01", default=())
    seconds: int = option("How long an answer is waited for.", default=3, low=1, high=60)
