# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose data may go: what `data_loss` names. A volume of a pool that each host has for itself is named with its host, where the
host is known: `volume local/web-1-vda on h1`. Without it the name is good for whichever host has such a volume."""

from __future__ import annotations

from dataclasses import replace

from ..model.address import Address
from ..model.slice import Permission
from .plan import Context


def key(address: Address, context: Context) -> str:
    """What names an object in `data_loss`."""
    own = address.kind == "volume" and address.name.partition("/")[0] not in context.shared_pools
    return f"{address} on {context.inventory_host}" if own and context.inventory_host else str(address)


def here(permission: Permission, host: str) -> Permission:
    """The permission as it is on one host, where what names that host is good without."""
    named = (key.removesuffix(f" on {host}") for key in permission.data_loss)
    return replace(permission, data_loss=tuple(named)) if host else permission


def may_go(address: Address, context: Context) -> bool:
    """Whether the data of an object may go."""
    return str(address) in context.permission.data_loss


def needed(*addresses: Address, context: Context) -> str:
    """What `dos_allow` has to have for that."""
    return f"data_loss: [{', '.join(key(address, context) for address in addresses)}]"


def after(volume: Address, context: Context) -> str:
    """What a volume waits for before it is deleted or made anew, since another host may have it open; empty where nothing."""
    pool = volume.name.partition("/")[0]
    return context.deleted_after.get(volume.name) or context.deleted_after.get(f"{pool}/*") or ""
