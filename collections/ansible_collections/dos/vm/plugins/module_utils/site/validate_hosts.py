# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about hosts: each has one address of its own, and what switches its power is its own."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.types import Name
from .index import Finding, Index, Place


def host_addresses_are_their_own(index: Index) -> Iterator[Finding]:
    """ARCH-11: no address is two hosts', whether it is the internal one or an uplink's."""
    owners: dict[str, tuple[Name, Place]] = {}
    for name, host in index.site.host_settings.items():
        at: Place = ("dos_host_settings", name)
        places: list[tuple[Place, str | None]] = [((*at, "address"), host.address)]
        for link, uplink in (host.uplinks or {}).items():
            places.append(((*at, "uplinks", link, "address"), str(uplink.address.ip) if uplink.address else None))
        for place, address in places:
            first, where = owners.setdefault(str(address), (name, place)) if address else (name, place)
            if first != name:
                yield Finding(place, f"{address} is an address of host {first} already, write another (ARCH-11)", where)


def internal_addresses_are_on_internal_uplinks(index: Index) -> Iterator[Finding]:
    """ARCH-12: where uplinks have addresses the one that other hosts use is not the one to the outside."""
    for name, host in index.site.host_settings.items():
        for link, uplink in (host.uplinks or {}).items():
            if (
                host.address
                and uplink.address
                and uplink.purpose == "external"
                and uplink.address.ip == host.address.ip
            ):
                text = f"{host.address} is on {link}, which leads to the outside, write the address of an internal one"
                yield Finding(
                    ("dos_host_settings", name, "address"), text, ("dos_host_settings", name, "uplinks", link)
                )


def fences_are_their_own(index: Index) -> Iterator[Finding]:
    """AMB-24: two hosts are not one outlet of a device: to switch off one would switch off the other, and prove nothing."""
    owners: dict[tuple[object, ...], Name] = {}
    for name, host in index.site.host_settings.items():
        if host.fence is None:
            continue
        options = tuple(sorted((host.fence.options or {}).items()))
        outlet = (host.fence.agent, host.fence.address, host.fence.plug, options)
        first = owners.setdefault(outlet, name)
        if first != name:
            text = f"is the device and outlet of host {first} as well, write its own address or plug"
            yield Finding(("dos_host_settings", name, "fence"), text, ("dos_host_settings", first, "fence"))
