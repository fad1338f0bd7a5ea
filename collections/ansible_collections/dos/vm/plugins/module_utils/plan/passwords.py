# SPDX-License-Identifier: GPL-3.0-or-later
"""Console passwords, which a host holds in clear and a declaration by the name of a secret, brought to one spelling."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.slice import Slice
from ..xml.devices import SECRET
from .plan import Observed

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def referenced(
    observed: Mapping[Address, Observed], held: Slice, values: Mapping[str, bytes]
) -> dict[Address, Observed]:
    """What was observed, with `secret:NAME` for each password that is the one declared.

    A run that was not given the value cannot tell, and takes the password for the right one.
    """
    found = dict(observed)
    for domain in held.domains:
        names: dict[str, str] = {console.type: str(console.password) for console in domain.graphics if console.password}
        address = Address("domain", domain.name)
        if names and address in found:
            seen = found[address]
            live = None if seen.live is None else _named(seen.live, names, values)
            found[address] = replace(seen, xml=_named(seen.xml, names, values), live=live)
    return found


def _named(domain: Element, names: Mapping[str, str], values: Mapping[str, bytes]) -> Element:
    copied = deepcopy(domain)
    for graphics in copied.iterfind("devices/graphics"):
        name, password = names.get(graphics.get("type", "")), graphics.get("passwd")
        if name is not None and password is not None and values.get(name, password.encode()) == password.encode():
            graphics.set("passwd", f"{SECRET}{name}")
    return copied
