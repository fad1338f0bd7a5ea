# SPDX-License-Identifier: GPL-3.0-or-later
"""What a domain is attached to, as plain data: its interfaces with the addresses that are known, and the disks that it writes.

So the controller knows what a VM has that is no longer declared, or that runs by an older definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .common import absent

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# The parameters of filters that are addresses of the guest, and what says how much of one is the guest's.
ADDRESSES = {"IP": "", "IPV6": "IPV6MASK"}
NAMES = ("file", "dev", "volume", "name")


def interfaces(domain: Element, switches: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Each interface by MAC. `switches` has the switch behind a bridge that stands in front of a port, by that bridge."""
    for interface in domain.iterfind("devices/interface"):
        source, reference = interface.find("source"), interface.find("filterref")
        bridge = absent(source, "bridge")
        yield {
            "mac": (absent(interface.find("mac"), "address") or "").lower(),
            "network": absent(source, "network"),
            "bridge": switches.get(bridge or "", bridge),
            "filter": absent(reference, "filter"),
            "ips": [] if reference is None else list(_addresses(reference)),
        }


def _addresses(reference: Element) -> Iterator[str]:
    """The addresses that a filter allows the guest, but for whole subnets."""
    parameters = [(held.get("name", ""), held.get("value", "")) for held in reference.iterfind("parameter")]
    masks = dict(parameters)
    for name, value in parameters:
        if name in ADDRESSES and masks.get(ADDRESSES[name], "128") == "128":
            yield value


def written(domain: Element) -> Iterator[dict[str, Any]]:
    """The source of each disk that the guest may write to."""
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source")
        kept = disk.get("device", "disk") != "disk" or any(
            disk.find(tag) is not None for tag in ("readonly", "transient")
        )
        name = None if source is None else next((text for tag in NAMES if (text := source.get(tag))), None)
        if name and source is not None and not kept:
            yield {
                "name": name,
                "pool": source.get("pool"),
                "protocol": source.get("protocol"),
                "servers": [host.get("name", "") for host in source.iterfind("host")],
                "shareable": disk.find("shareable") is not None,
            }
