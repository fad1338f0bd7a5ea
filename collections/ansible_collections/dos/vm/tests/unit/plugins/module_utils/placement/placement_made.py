# SPDX-License-Identifier: GPL-3.0-or-later
"""Small machines and hosts for the tests of placement, in GiB."""

from __future__ import annotations

from typing import Any

from dosvm.placement.request import Needs, Request
from dosvm.placement.room import Room

GIB = 2**30


def room(host: str, gib: int = 8, **more: Any) -> Room:
    return Room(host=host, memory=gib * GIB, cpus=8, **more)


def request(vm: str, gib: int = 1, *, vcpus: int = 1, needs: dict[str, Any] | None = None, **more: Any) -> Request:
    return Request(vm=vm, needs=Needs(vcpus=vcpus, memory=gib * GIB, **(needs or {})), **more)
