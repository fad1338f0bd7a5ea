# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts an object is on: one by name, several, or all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from ..model.types import Name

Hosts = tuple[Name, ...] | Literal["all"]


class Bound(Protocol):
    """What may be bound to hosts: pools, images, networks, instances."""

    @property
    def host(self) -> Name | None: ...
    @property
    def hosts(self) -> Hosts | None: ...


def check_bound(bound: Bound) -> Iterator[tuple[str, str]]:
    """One way of saying it (CUST-01), and at least one host."""
    if bound.host is not None and bound.hosts is not None:
        yield "hosts", "write either host or hosts (CUST-01)"
    if bound.hosts == ():
        yield "hosts", "names no host, write at least one, or all"
