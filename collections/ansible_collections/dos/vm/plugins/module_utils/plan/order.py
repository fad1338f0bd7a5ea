# SPDX-License-Identifier: GPL-3.0-or-later
"""Which order is possible in which state: the diagram of VM-T2 as a table.

A machine that already is where an order would bring it is left alone. Every other pair that is not in the table is refused
with state and order named, and with what to order instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..model.seed import ROOT as SEEDS
from ..site.instance import MOST_DISKS

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

State = Literal["running", "paused", "shut off", "saved", "crashed", "in shutdown", "pmsuspended"]
STATES: tuple[State, ...] = ("running", "paused", "shut off", "saved", "crashed", "in shutdown", "pmsuspended")
ON: tuple[State, ...] = ("running", "paused", "crashed", "in shutdown", "pmsuspended")


@dataclass(frozen=True, slots=True)
class Row:
    """One order: the states it is carried out in, those that it leads to, and whether it says what should be on."""

    do: tuple[State, ...]
    already: tuple[State, ...] = ()
    power: Literal["on", "off"] | None = None
    done: str = ""


# What stops a machine that is suspended leaves nothing behind to resume (VM-21).
TABLE: Mapping[str, Row] = {
    "start": Row(("shut off",), ("running",), power="on", done="started"),
    "stop": Row(
        ("running", "paused", "crashed", "in shutdown", "pmsuspended"), ("shut off", "saved"), "off", "stopped"
    ),
    "reboot": Row(("running",), done="rebooted"),
    "reset": Row(("running",), done="reset"),
    "suspend": Row(("running",), ("paused",), done="suspended"),
    "resume": Row(("paused", "pmsuspended"), ("running",), done="resumed"),
    "save": Row(("running",), ("saved",), power="off", done="saved"),
    "restore": Row(("saved",), ("running",), power="on", done="restored"),
    "attach": Row(("running", "paused", "shut off"), done="given a device"),
    "detach": Row(("running", "paused", "shut off"), done="relieved of a device"),
    "screenshot": Row(("running", "paused", "crashed"), done="photographed"),
    "console": Row(STATES, done=""),
    "release": Row(STATES, done="given back to its declaration"),
}
# What brings a machine out of a state, for those who are refused.
INSTEAD: Mapping[State, str] = {
    "running": "stop it first",
    "paused": "resume it, or stop it",
    "shut off": "start it first",
    "saved": "restore it",
    "crashed": "stop it, then start it",
    "in shutdown": "wait for its end, or stop it",
    "pmsuspended": "resume it, or stop it",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an order to one machine: it is carried out, has been already, or is refused with a sentence."""

    do: bool = False
    refused: str = ""


def judge(order: str, state: str) -> Verdict:
    """Pure: the order in that state, which is libvirt's word or `saved`."""
    row = TABLE[order]
    if state in row.do:
        return Verdict(do=True)
    if state in row.already:
        return Verdict()
    hint = INSTEAD.get(state, "look at it on its host")  # type: ignore[call-overload]  # a word of libvirt that is none of ours
    return Verdict(refused=f"{order} is not possible while it is {state}: {hint} (VM-T2)")


def no_room(domain: Element, device: Element) -> str:
    """Why a machine may not have the device besides what it has, in words; empty where it may (HOT-06)."""
    held = [disk for disk in domain.iterfind("devices/disk") if not _is_seed(disk)]
    if device.tag != "disk" or len(held) < MOST_DISKS:
        return ""
    return f"it has {len(held)} disks, and may have {MOST_DISKS}: detach one first (HOT-06)"


def _is_seed(disk: Element) -> bool:
    """The disc of a seed counts for nobody (AMB-22)."""
    source = disk.find("source")
    return source is not None and source.get("file", "").startswith(f"{SEEDS}/")
