# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards that hang in the air: a network that stops takes its bridge along, and libvirt plugs nobody into the new one.

What is plugged where is the kernel's to say, so this is the one thing looked up beside libvirt: the bridge port that a tap
is, in sysfs. Of a host that is not this machine nothing is known here, and then nothing is done.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HypervisorError

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

DEVICES = Path("/sys/class/net")


def unplugged(domain: Element, bridges: Mapping[str, str], own: Collection[str]) -> Iterator[tuple[str, str]]:
    """The taps of a running domain that are not on the bridge of their network, or on their own, each with that bridge.

    `bridges` has the bridge of each active network that libvirt serves itself; `own` are the bridges that we keep.
    """
    for card in domain.iterfind("devices/interface"):
        source, target = card.find("source"), card.find("target")
        bridge = None if source is None else _bridge(card, source, bridges, own)
        tap = None if target is None else target.get("dev")
        # Open vSwitch keeps its ports in a database of its own, and macvtap has no bridge.
        if bridge and tap and card.find("virtualport") is None and _port_of(tap) not in (bridge, None):
            yield tap, bridge


def _bridge(card: Element, source: Element, bridges: Mapping[str, str], own: Collection[str]) -> str | None:
    if card.get("type") == "network":
        return bridges.get(source.get("network", ""))
    named = source.get("bridge")
    return named if named in own else None


def _port_of(tap: str) -> str | None:
    """The bridge a tap is a port of, the empty string for none; `None` when this machine has no such tap."""
    device = DEVICES / tap
    if not device.exists():
        return None
    master = device / "master"
    return os.path.basename(os.readlink(master)) if master.is_symlink() else ""


def plug(tap: str, bridge: str) -> None:
    """Make a tap a port of a bridge, and set it up. Raises `HypervisorError`."""
    done = subprocess.run(
        ["ip", "link", "set", "dev", tap, "master", bridge, "up"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HypervisorError(f"plug {tap} into {bridge}", done.stderr.strip())


def bridge_of(network: str, live: Element | None) -> dict[str, str]:
    """The bridge of an active network that libvirt made itself."""
    bridge = None if live is None else live.find("bridge")
    forward = None if live is None else live.find("forward")
    ours = forward is None or forward.get("mode") in ("nat", "route", "open")
    return {network: bridge.get("name", "")} if bridge is not None and ours else {}


def in_the_air(live: Element | None, bridges: Mapping[str, str], own: Collection[str]) -> dict[str, str]:
    """What `Observed.info` says of cards that are plugged into nothing: their taps."""
    taps = [] if live is None else [tap for tap, _ in unplugged(live, bridges, own)]
    return {"unplugged": ", ".join(taps)} if taps else {}
