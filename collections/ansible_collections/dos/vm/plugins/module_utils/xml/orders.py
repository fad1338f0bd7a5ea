# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders that outrank the declaration, as a machine itself carries them: an element of ours in its `<metadata>`.

So an order goes where the machine goes, ends when the machine is removed, and is found without any store. It is not part of
the declaration, and comparing the two leaves it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
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
class Override:
    """A power override. `until` is in seconds since 1970; `against` is what was declared when it was given."""

    power: Power
    number: int
    until: float | None = None
    against: Power | None = None
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What was ordered of one VM. `number` counts its power overrides, releases among them, and is never taken back: of two that
    hosts carry the larger is newer. `overrides` has the newest last; older ones stay while they may be in force again.

    `attached` and `detached` name devices by tag and identity. `error` is why the last start failed (VM-13).
    """

    number: int = field(default=0, compare=False)
    overrides: tuple[Override, ...] = ()
    attached: tuple[tuple[str, str], ...] = ()
    detached: tuple[tuple[str, str], ...] = ()
    error: str = ""

    @property
    def empty(self) -> bool:
        return not (self.number or self.attached or self.detached or self.error)

    @property
    def newest(self) -> Override | None:
        return self.overrides[-1] if self.overrides else None

    @property
    def power(self) -> Power | None:
        return self.newest.power if self.newest else None

    def released(self) -> Orders:
        """Nothing is ordered any longer. Why the last start failed stays known, and how far the numbers have come."""
        return Orders(number=self.number + bool(self.overrides), error=self.error)

    def overridden(self, power: Power, *, until: float | None, against: Power | None, by: str, least: int) -> Orders:
        """The same with a power override under the next number, which is `least` at least.

        One to what is declared takes back what there is; with an end it only hides it. One that is given already changes nothing.
        """
        number, newest = max(self.number + 1, least), self.newest
        if until is None and power == against:
            return replace(self, number=number, overrides=(), error="") if self.overrides else replace(self, error="")
        if newest is not None and (newest.power, newest.until, newest.against) == (power, until, against):
            return replace(self, error="")
        below = tuple(one for one in self.overrides if until is not None and (one.until is None or one.until > until))
        if power == against and not below:
            return replace(self, error="")
        given = Override(power=power, number=number, until=until, against=against, by=by)
        return replace(self, number=number, overrides=(*below, given), error="")

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
    power = [
        E("power", state=one.power, number=one.number, until=one.until, against=one.against, by=one.by or None)
        for one in orders.overrides
    ]
    devices = [
        E("device", state=state, kind=tag, key=key)
        for state, held in (("attached", orders.attached), ("detached", orders.detached))
        for tag, key in held
    ]
    error = E("error", orders.error) if orders.error else None
    return etree.tostring(E("orders", power, devices, error, number=orders.number or None), encoding="unicode")


def read(domain: Element) -> Orders:
    """The orders that a domain carries."""
    held = domain.find(f"metadata/{TAG}")
    return Orders() if held is None else _read(held)


def read_text(text: str) -> Orders:
    """The orders of an element as libvirt gives it back (virDomainGetMetadata)."""
    return _read(parse(text))


def _read(held: Element) -> Orders:
    found = [(str(etree.QName(child).localname), child) for child in held]
    devices = [child for name, child in found if name == "device"]
    overrides = tuple(_override(child) for name, child in found if name == "power")
    return Orders(
        number=max([int(held.get("number", "0")), *(one.number for one in overrides)]),
        overrides=overrides,
        attached=_named(devices, "attached"),
        detached=_named(devices, "detached"),
        error=next((child.text or "" for name, child in found if name == "error"), ""),
    )


def _override(power: Element) -> Override:
    """One that an older dos.vm wrote has no number, and the clock of its host, which counts no more."""
    until, against = power.get("until"), power.get("against")
    return Override(
        power="on" if power.get("state") == "on" else "off",
        number=int(power.get("number", "1")),
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
