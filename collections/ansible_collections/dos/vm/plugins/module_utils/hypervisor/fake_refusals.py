# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host in memory refuses: with libvirt's numbers, from https://libvirt.org/html/libvirt-virterror.html."""

from __future__ import annotations

from typing import NoReturn

from ..errors import HypervisorError
from ..plan.action import Action

INTERNAL, OPERATION_FAILED, XML_INVALID, SYSTEM, INVALID, SCHEMA = 1, 9, 27, 38, 55, 110
VOLUME_EXISTS = 90
MISSING: dict[str, int] = {"domain": 42, "network": 43, "pool": 49, "volume": 50, "nwfilter": 62, "secret": 66}


def refuse(action: Action, text: str, code: int) -> NoReturn:
    raise HypervisorError(f"{action.verb} {action.address}", text, code)
