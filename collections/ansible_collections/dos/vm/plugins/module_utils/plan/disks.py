# SPDX-License-Identifier: GPL-3.0-or-later
"""What a domain has and keeps though its declaration says otherwise: layers, disks with data, devices that dos.vm did not give it.

A disk that is on a layer over what is declared stays on the layer: it has what the guest wrote since the layer was made. A disk that
is to get other data, or to go, keeps what it has until `data_loss` names that, but for one that dos.vm declared and that is as
declared. All is decided by files, never by spellings, so a disk that is spelled otherwise is the same disk. Drives, and disks
that the guest cannot write or that forget, have no data of their own. See docs/design/0066.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..xml.device_habits import PLACES
from ..xml.device_record import Entry, Record, read
from ..xml.shape import SILENT
from . import outside
from .disk_files import called, disks, file_named, file_of, has_data, name_of, stack, target_of
from .plan import Context, Observed

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

FORM = "qcow2"  # of every layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A disk that is to get other data, or to go: `name` is what would be left behind, as `data_loss` names it. `declared` is what
    comes in its place, nothing where the disk goes."""

    target: str
    name: str
    now: str
    declared: str = ""

    @property
    def reason(self) -> str:
        instead = f"and {self.declared} is declared in its place" if self.declared else "and is no longer declared"
        return f"disk {self.target} has its data in {self.now}, {instead}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A declared domain with what it has and keeps.

    `full` is as declared, on layers where they are. `definition` and `running` also have the devices that were attached outside
    dos.vm, and the blocked disks as they are. `changed` are the targets of the disks that get other data, or go, since that is
    allowed. `record` is what the definition is to remember of its devices.
    """

    full: Element
    definition: Element
    running: Element
    record: Record
    notes: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()
    blocked: tuple[Left, ...] = ()

    @property
    def needs(self) -> str:
        """The permission that is missing."""
        return f"data_loss: [{', '.join(dict.fromkeys(left.name for left in self.blocked))}]"

    @property
    def reason(self) -> str:
        """Why disks are blocked."""
        return "; ".join(left.reason for left in self.blocked)

    @property
    def may_start(self) -> bool:
        """Whether the domain has what it is to run with, and perhaps more."""
        return not any(left.declared for left in self.blocked)


class Known(NamedTuple):
    """What the records of a domain say: the devices that dos.vm gave it, each with its source. `any` is whether there are records."""

    sources: Mapping[tuple[str, str], str]
    any: bool

    def gave(self, device: tuple[str, str]) -> bool:
        """Whether a device is one of ours; without records each is."""
        chosen = {tag for tag, key in self.sources if key.startswith(SILENT)}  # by libvirt: the record cannot tell
        return not self.any or device in self.sources or device[0] in chosen

    def file(self, disk: Element, context: Context) -> str:
        """The file that a disk was declared to be; empty where no record tells."""
        source = self.sources.get(("disk", target_of(disk)), "")
        return file_named(source, context) if source else ""


def known(observed: Observed) -> Known:
    """The records of a domain: that of its definition, and that of what runs."""
    records = [record for tree in (observed.live, observed.xml) if (record := read(tree)) is not None]
    return Known({entry.device: entry.source for record in records for entry in record}, bool(records))


def kept(declared: Element, record: Record, observed: Observed, context: Context) -> Kept:
    """What is declared, on the layers that hold data, and without the changes that nothing allows. `declared` is changed in place;
    `record` is that of the declaration."""
    held = known(observed)
    notes = list(_laid(declared, held, observed, context))
    more = outside.unmanaged(declared, observed.xml, held.gave)
    plugged = {} if observed.live is None else outside.unmanaged(declared, observed.live, held.gave)
    notes += outside.device_notes(observed.address.name, more, plugged, context)
    left = tuple(_left(declared, held, observed, context))
    blocked = tuple(each for each in left if each.name not in context.permission.data_loss)
    targets = frozenset(each.target for each in blocked)
    definition = _with(declared, observed.xml, targets, more.values())
    old = {("disk", target): held.sources.get(("disk", target), "") for target in targets}
    return Kept(
        full=declared,
        definition=definition,
        running=definition if observed.live is None else _with(declared, observed.live, targets, plugged.values()),
        record=tuple(
            sorted([*(e for e in record if e.device not in old), *(Entry(*at, was) for at, was in old.items())])
        ),
        notes=tuple(notes),
        changed=frozenset(each.target for each in left) - targets,
        blocked=blocked,
    )


# --- layers --------------------------------------------------------------------------------------------------------------


def _laid(declared: Element, held: Known, observed: Observed, context: Context) -> Iterator[str]:
    """Put each declared disk onto the layer that it is on, in place; yields what a person should know of layers made outside."""
    for target, disk in disks(declared):
        layer = next((now for now in _sides(observed, target) if _is_layer(now, disk, held, observed, context)), None)
        if layer is not None:
            yield from outside.layer_note(observed.address.name, disk, layer, context)
            _onto(disk, layer)


def _sides(observed: Observed, target: str) -> Iterator[Element]:
    """A disk as the guest has it now, and as it is defined."""
    for tree in (observed.live, observed.xml):
        if (disk := dict(disks(tree)).get(target)) is not None:
            yield disk


def _is_layer(now: Element, declared: Element, held: Known, observed: Observed, context: Context) -> bool:
    """Whether a disk is layered over the declared one by others than its declaration, and what it has may not be lost."""
    top, *below = stack(now, context) or ("",)
    was_declared = top == held.file(now, context)
    is_lost = name_of(now, observed.address.name, context) in context.permission.data_loss
    return file_of(declared, context) in below and has_data(now) and not was_declared and not is_lost


def _onto(disk: Element, layer: Element) -> None:
    """Give a declared disk, in place, the source of the layer."""
    source, theirs, driver = disk.find("source"), layer.find("source"), disk.find("driver")
    if source is None or theirs is None:
        return
    for name in PLACES:
        source.attrib.pop(name, None)
        if name in theirs.attrib:
            source.set(name, theirs.get(name, ""))
    disk.set("type", layer.get("type", "file"))
    if driver is not None:
        driver.set("type", FORM)


# --- what would be left behind -------------------------------------------------------------------------------------------


def _left(declared: Element, held: Known, observed: Observed, context: Context) -> Iterator[Left]:
    """The disks that would get other data than they have, or go with data that dos.vm did not declare.

    A definition may go up to a layer over what it names, since that holds all of it. A running guest stays where it writes.
    """
    wanted, found = dict(disks(declared)), dict[str, Left]()
    everything = {file for _, disk in disks(declared) for file in stack(disk, context)}
    for tree, depth in ((observed.xml, None), (observed.live, 1)):
        for target, disk in disks(tree):
            now, new = file_of(disk, context), wanted.get(target)
            safe = stack(new, context)[:depth] if new is not None else {*everything, held.file(disk, context)}
            if not now or not has_data(disk) or now in safe or (new is None and not held.gave(("disk", target))):
                continue
            found[target] = Left(
                target=target,
                name=name_of(disk, observed.address.name, context),
                now=called(disk, context),
                declared="" if new is None else called(new, context) or "nothing",
            )
    yield from found.values()


def _with(declared: Element, tree: Element, targets: frozenset[str], more: Collection[Element]) -> Element:
    """What is declared with these disks as they are in `tree`, and with more devices; a copy where it differs."""
    theirs = {target: disk for target, disk in disks(tree) if target in targets}
    if not theirs and not more:
        return declared
    copy = deepcopy(declared)
    devices = copy.find("devices")
    for target, disk in list(disks(copy)):
        if target in theirs and devices is not None:
            devices.replace(disk, deepcopy(theirs.pop(target)))
    if devices is not None:
        devices.extend(deepcopy(device) for device in (*theirs.values(), *more))
    return copy
