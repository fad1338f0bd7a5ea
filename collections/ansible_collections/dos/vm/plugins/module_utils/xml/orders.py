# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders that outrank the declaration, as a machine itself carries them: an element of ours in its `<metadata>`.

So an order goes where the machine goes, ends when the machine is removed, and is found without any store. It is not part of
the declaration, and comparing the two leaves it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .._thirdparty import etree
from .build import E, parse
from .identity import device_identity

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

NAMESPACE = "urn:dos:vm:orders:1"
TAG = f"{{{NAMESPACE}}}orders"
PREFIX = "dosorders"

Power = Literal["on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What was ordered of one machine. Times are seconds since 1970; `against` is what was declared when it was ordered.

    `attached` and `detached` name devices by tag and identity. `error` is why the last start failed (VM-13).
    """

    power: Power | None = None
    at: float = 0.0
    until: float | None = None
    against: Power | None = None
    by: str = ""
    attached: tuple[tuple[str, str], ...] = ()
    detached: tuple[tuple[str, str], ...] = ()
    error: str = ""

    @property
    def empty(self) -> bool:
        return not (self.power or self.attached or self.detached or self.error)

    def released(self) -> Orders:
        """Nothing is ordered any longer; why the last start failed stays known."""
        return Orders(error=self.error)

    def with_device(self, device: tuple[str, str], *, attached: bool) -> Orders:
        """The same with a device that was attached, or detached; the opposite order is taken back by it."""
        here, there = (self.attached, self.detached) if attached else (self.detached, self.attached)
        rest = tuple(held for held in there if held != device)
        kept = here if device in there else (*(held for held in here if held != device), device)
        return replace(self, attached=kept if attached else rest, detached=rest if attached else kept)


def write(orders: Orders) -> str | None:
    """The element as libvirt takes it (virDomainSetMetadata); `None` for none."""
    if orders.empty:
        return None
    power = None
    if orders.power:
        power = E(
            "power", state=orders.power, at=orders.at, until=orders.until, against=orders.against, by=orders.by or None
        )
    devices = [
        E("device", state=state, kind=tag, key=key)
        for state, held in (("attached", orders.attached), ("detached", orders.detached))
        for tag, key in held
    ]
    return etree.tostring(
        E("orders", power, devices, E("error", orders.error) if orders.error else None), encoding="unicode"
    )


def read(domain: Element) -> Orders:
    """The orders that a domain carries."""
    held = domain.find(f"metadata/{TAG}")
    return Orders() if held is None else _read(held)


def read_text(text: str) -> Orders:
    """The orders of an element as libvirt gives it back (virDomainGetMetadata)."""
    return _read(parse(text))


def _read(held: Element) -> Orders:
    found = {str(etree.QName(child).localname): child for child in held}
    power, error = found.get("power"), found.get("error")
    devices = [child for child in held if etree.QName(child).localname == "device"]
    orders = Orders(
        attached=_named(devices, "attached"),
        detached=_named(devices, "detached"),
        error="" if error is None else error.text or "",
    )
    if power is None:
        return orders
    until, against = power.get("until"), power.get("against")
    return replace(
        orders,
        power="on" if power.get("state") == "on" else "off",
        at=float(power.get("at", "0")),
        until=None if until is None else float(until),
        against=None if against is None else "on" if against == "on" else "off",
        by=power.get("by", ""),
    )


def _named(devices: Iterable[Element], state: str) -> tuple[tuple[str, str], ...]:
    return tuple((held.get("kind", ""), held.get("key", "")) for held in devices if held.get("state") == state)


def as_ordered(declared: Element, observed: Element) -> Element:
    """What is declared, with the devices that were attached by order and without those that were detached, in place."""
    orders, devices = read(observed), declared.find("devices")
    if devices is None:
        return declared
    for order in orders.detached:
        for held in devices.findall(order[0]):
            if _key(held) == order:
                devices.remove(held)
    there = {_key(held) for held in devices}
    for held in observed.iterfind("devices/*"):
        if _key(held) in orders.attached and _key(held) not in there:
            devices.append(deepcopy(held))
    return declared


def _key(device: Element) -> tuple[str, str]:
    identity = device_identity(device)
    return str(device.tag), identity[1] if identity else ""
