# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device is found by in a guest, whoever wrote its XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def device_identity(device: Element) -> tuple[str, ...]:
    """What tells devices of a tag apart, in any spelling: target of a disk, MAC of an interface, else the alias."""
    for path, attribute in (("target", "dev"), ("mac", "address"), ("alias", "name")):
        found = device.find(path)
        # A tap is called by target too, and changes at each start.
        if found is not None and found.get(attribute) and (path, device.tag) != ("target", "interface"):
            return path, str(found.get(attribute)).lower()
    return ()
