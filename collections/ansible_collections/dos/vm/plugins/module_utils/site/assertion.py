# SPDX-License-Identifier: GPL-3.0-or-later
"""Who must reach whom, and who must not: tests of the site's networks that live beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.types import Name, Prefix

PLACE = re.compile(r"[0-9a-fA-F:.]+(/\d+)?")


class Endpoint(str):
    """An instance, one of its machines, a security group as `group:web`, or an address or network such as `10.0.0.0/8`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Endpoint:
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is not a place, write the name of an instance or machine, or an address")
        if PLACE.fullmatch(text) and (":" in text or text.count(".") == 3):
            return super().__new__(cls, Prefix(text if "/" in text else f"{text}/{128 if ':' in text else 32}"))
        return super().__new__(cls, f"group:{Name(text[6:])}" if text.startswith("group:") else Name(text))

    @property
    def network(self) -> Prefix | None:
        """The network that is meant, if it is one."""
        return Prefix(str(self)) if "/" in self else None

    @property
    def group(self) -> Name | None:
        """The security group that is meant, if it is one."""
        return Name(self[6:]) if self.startswith("group:") else None


@declaration
class Assertion:
    """One sentence about the networks that must be true: checked before anything is changed, and by `dos.vm.probe` for real."""

    from_: Endpoint = option("Who begins.", spec="NWF-01")
    to: Endpoint = option("Who is meant to answer.", spec="NWF-01")
    protocol: Literal["tcp", "udp", "icmp"] | None = option(
        "Protocol: tcp when there is a port, else icmp (ping).", spec="NWF-01", default=None
    )
    port: int | None = option("Port at the receiver.", spec="NWF-01", default=None, low=1, high=65535)
    expect: bool = option("Whether it must work, or must not.", spec="NWF-01", default=True)
    description: str | None = option("Free text.", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.port is None and self.protocol in ("tcp", "udp"):
            yield "port", f"is required with {self.protocol}"
        if self.port is not None and self.protocol == "icmp":
            yield "port", "is of tcp and udp, leave it out"
        if self.from_.network is not None and self.to.network is not None:
            yield "to", "is outside the site, and so is from: name an instance, machine or group at one end"

    @property
    def how(self) -> Literal["tcp", "udp", "icmp"]:
        """The protocol that is meant."""
        return self.protocol or ("icmp" if self.port is None else "tcp")

    def __str__(self) -> str:
        at = "" if self.port is None else f" port {self.port}"
        return f"{self.from_} → {self.to} {self.how}{at}"
