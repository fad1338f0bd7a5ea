# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of block devices: a LUN has several, of which libvirt tells one and a machine may be defined with another.

Of a host that is not this machine nothing is known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import HypervisorError
from ..model.pool import has_session
from ..xml.build import parse
from . import devices
from .ready import is_here

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def node(path: str) -> str:
    """What the kernel calls the device that a path leads to; empty where the path is that itself, or leads to none."""
    found = os.path.realpath(path) if path.startswith("/dev/") else path
    return found if found != path else ""


def nodes(*domains: Element | None) -> dict[str, str]:
    """The same for the devices that a machine has by other names, each as `node of <path>`."""
    return {f"node of {path}": found for path in set(_devices(*domains)) if (found := node(path))}


def _devices(*domains: Element | None) -> Iterator[str]:
    for domain in domains:
        if domain is not None:
            yield from (source.get("dev", "") for source in domain.iterfind("devices/disk/source[@dev]"))


def refuse_used(pool: Any) -> None:
    """Raises `HypervisorError` where the host itself uses a LUN of a target that it is to log out of: iscsiadm would not ask."""
    if not is_here(pool.connect()) or not has_session(parse(pool.XMLDesc()).get("type", "")):
        return
    uses = [use for volume in pool.listAllVolumes() for use in devices.uses(os.path.realpath(volume.path()))]
    if uses:
        raise HypervisorError(f"log out of pool {pool.name()}", "; ".join(dict.fromkeys(uses)))
