# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fragment of libvirt's XML may not say: whose object it is, and what placement, quotas or exclusivity count.

A fragment adds what no field says. Two tables have what it may not set, kind by kind; what depends on the declared disks and
interfaces is judged beside them. The same rules hold for a site, on the controller, and for what a host is given.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .address import NAMESPACE
from .types import MAC, Mac

Why = Literal["identity", "counted"]
FragmentKind = Literal["domain", "network", "filter", "pool"]

DECLARATION = re.compile(r"<[!?](?!--|\[CDATA\[)")
OPERATION, REMOVE, WITHOUT = f"{{{NAMESPACE}}}op", "remove", f"{{{NAMESPACE}}}without"
TEXT = "text()"
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


@dataclass(frozen=True, slots=True)
class Row:
    """An element by its path below the root, and which parts of it a fragment may not set; any part when none is named.

    `field` is what to set instead.
    """

    path: str
    why: Why
    field: str = ""
    parts: tuple[str, ...] = ()


MARK = Row(f"metadata/{{{NAMESPACE}}}object", "identity")
FIXED: Mapping[FragmentKind, tuple[Row, ...]] = {
    "domain": (
        Row("", "identity", parts=("id",)),
        Row("name", "identity", "name"),
        Row("uuid", "identity", "uuid"),
        Row("genid", "identity", parts=(TEXT,)),
        MARK,
        Row("vcpu", "counted", "vcpus", (TEXT, "current")),
        Row("vcpus", "counted", "vcpus"),
        Row("memory", "counted", "memory", (TEXT, "unit")),
        Row("currentMemory", "counted", "memory", (TEXT, "unit")),
        Row("maxMemory", "counted", "memory_max"),
        Row("cpu/numa", "counted", "numa"),
        Row("devices/memory", "counted", "memory"),
        Row("devices/graphics", "counted", "graphics", ("port", "tlsPort")),
    ),
    "network": (
        Row("name", "identity", "name"),
        Row("uuid", "identity", "uuid"),
        MARK,
        Row("bridge", "identity", "bridge", ("name",)),
        Row("mac", "counted", "mac"),
        Row("forward/interface", "counted", "devices"),
        Row("forward/pf", "counted", "devices"),
    ),
    "filter": (Row("", "identity", "name", ("name",)), Row("uuid", "identity")),
    "pool": (
        Row("name", "identity", "name"),
        Row("uuid", "identity"),
        Row("target/path", "identity", "path"),
        *(Row(f"source/{tag}", "identity", "source") for tag in ("host", "dir", "device", "adapter", "name")),
    ),
}
WHY: Mapping[Why, str] = {
    "identity": "by which dos.vm and libvirt know the object",
    "counted": "which placement, quotas and checks read from a field",
}
# What QEMU is given past libvirt, and dos.vm can tell is harmless; others give it disks, memory, interfaces, a name.
HARMLESS_ARGUMENTS = frozenset(
    ("-global", "-fw_cfg", "-acpitable", "-rtc", "-msg", "-trace", "-overcommit", "-cpu", "-no-user-config", "-no-hpet")
)
FRONTEND = frozenset(("drive", "mac", "netdev", "memdev", "share-rw"))  # of <qemu:override>
LIMITS = ("readonly", "shareable", "transient", "backingStore")  # of a disk: who writes it, how long, over what
UNKNOWN = frozenset(
    ("nvme", "vhostuser", "vhostvdpa", "dir")
)  # types of disks whose source names no path, volume or LUN
# Attributes that say where a disk's data is, or take that away.
PLACES = ("file", "dev", "dir", "pool", "volume", "name", "protocol", "socket", OPERATION, WITHOUT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a fragment may not say, and the field that says it instead, if one does."""

    text: str
    field: str = ""

    def remedy(self, name: str | None = None) -> str:
        """The whole sentence; `name` is what the field is called where the fragment is written."""
        said = self.field if name is None else name
        return f"{self.text}: leave it out{f' and set {said}' if said else ''} (CUST-02)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What is declared by fields beside the fragments: disks by target, interfaces by MAC."""

    targets: Collection[str] = field(default=frozenset())
    macs: Collection[str] = field(default=frozenset())


def refusal(text: str, *, inside: str | None = None, roots: tuple[str, ...] = ()) -> str | None:
    """Why `text` cannot be used, or nothing. `inside` is the element it goes into, `roots` what it may begin with."""
    if DECLARATION.search(text):
        return "has a declaration or a DOCTYPE, write elements only"
    try:
        root = ElementTree.fromstring(f"<{inside}>{text}</{inside}>" if inside else text)
    except ElementTree.ParseError as broken:
        return f"is not well-formed XML: {broken}"
    if roots and root.tag not in roots:
        return f"begins with <{root.tag}>, write one with the root {' or '.join(roots)} (CUST-02)"
    return None


def check_fragment(path: str, text: str | None, inside: str) -> Iterator[tuple[str, str]]:
    """For the `check()` of a declaration: elements that go into another."""
    refused = None if text is None else refusal(text, inside=inside)
    if refused:
        yield path, refused


def check_whole(kind: FragmentKind, text: str | None) -> Iterator[tuple[str, str]]:
    """For the `check()` of what a host is given: well-formed, and nothing in it that a field decides."""
    yield from check_fragment("xml", text, kind)
    for refused in refusals(kind, text or ""):
        yield "xml", refused.remedy()


def refusals(kind: FragmentKind, text: str, beside: Fixed | None = None) -> Iterator[Refusal]:
    """What a fragment says and may not, each thing once; nothing of one that is not well-formed, which is told elsewhere."""
    root = parsed(kind, text)
    if root is None:
        return
    yield from dict.fromkeys(found for path, held in _below("", root) for found in _of_table(kind, path, held))
    if kind == "domain":
        yield from dict.fromkeys(_of_domain(root, beside or Fixed()))


@cache
def parsed(kind: FragmentKind, text: str) -> Element | None:
    """The element that a fragment is laid over, with the fragment's words alone: bare, or inside the root, or of `devices`."""
    try:
        root = ElementTree.fromstring(text if kind == "domain" else f"<{kind}>{text}</{kind}>")
    except ElementTree.ParseError:
        return None
    if root.tag == "devices":
        around = Element("domain")
        around.append(root)
        return around
    return root[0] if kind != "domain" and len(root) == 1 and root[0].tag == kind else root


def _below(path: str, element: Element) -> Iterator[tuple[str, Element]]:
    yield path, element
    for child in element:
        yield from _below(f"{path}/{child.tag}" if path else child.tag, child)


def _of_table(kind: FragmentKind, path: str, element: Element) -> Iterator[Refusal]:
    removed = path != "" and element.get(OPERATION) == REMOVE
    for row in FIXED[kind]:
        # A device that fields say is judged below; others are the fragment's own.
        if removed and f"{row.path}/".startswith(f"{path}/") and not row.path.startswith("devices/"):
            yield Refusal(f"takes away {_spelled(row.path)}, {WHY[row.why]}", row.field)
        elif not removed and row.path == path and (part := _touched(row, element)) is not None:
            yield Refusal(f"sets {_spelled(path, part)}, {WHY[row.why]}", row.field)


def _touched(row: Row, element: Element) -> str | None:
    """The part of an element that a row forbids; the empty string for the element as such."""
    text = TEXT if (element.text or "").strip() else None
    said = [*element.attrib, *element.get(WITHOUT, "").split(), *filter(None, (text,))]
    if not row.parts:
        return "" if said or len(element) else None
    found = next((part for part in row.parts if part in said), None)
    return "" if found == TEXT else found


def _spelled(path: str, attribute: str = "") -> str:
    shown = re.sub(r"\{[^}]*\}", "dos:", path)
    element = f"<{shown.rsplit('/', 1)[-1]}>" if shown else ""
    return " of ".join(filter(None, (f"attribute {attribute}" if attribute else "", element or "the root")))


# --- devices, and what is given to QEMU past libvirt ----------------------------------------------------------------------


def _of_domain(root: Element, beside: Fixed) -> Iterator[Refusal]:
    for disk in root.iterfind("devices/disk"):
        yield from _of_disk(disk, beside.targets)
    for interface in root.iterfind("devices/interface"):
        yield from _of_interface(interface, beside.macs)
    for balloon in root.iterfind("devices/memballoon"):
        if balloon.get("model") == "none":
            yield Refusal("takes the memory balloon away, by which memory stays below memory_max", "balloon")
    for device in root.iterfind("devices/hostdev"):
        if device.get("type") in ("scsi", "scsi_host") and device.find("readonly") is None:
            yield Refusal("gives the guest a SCSI device of the host to write, which dos.vm cannot tell apart", "disks")
    yield from _of_qemu(root)


def _of_disk(disk: Element, declared: Collection[str]) -> Iterator[Refusal]:
    """What changes whether, where or with whom a declared disk is written, and what nothing can tell apart."""
    target, source = disk.find("target"), disk.find("source")
    name = "" if target is None else target.get("dev", "")
    for tag in LIMITS:
        held = disk.find(tag)
        if held is not None and (name in declared or held.get(OPERATION) == REMOVE):
            yield Refusal(f"sets <{tag}> of disk {name}", "disks")
    if disk.get("type") in UNKNOWN and disk.find("readonly") is None:
        yield Refusal(f"adds a disk of type {disk.get('type')} to write, which dos.vm cannot tell apart", "disks")
    if name not in declared:
        return
    if disk.get(OPERATION) == REMOVE:
        yield Refusal(f"takes away disk {name}, which is declared", "disks")
    elif source is not None and (any(map(source.get, PLACES)) or any(held.tag != "seclabel" for held in source)):
        yield Refusal(f"sets the source of disk {name}, which is declared", "disks")


def _of_interface(interface: Element, declared: Collection[str]) -> Iterator[Refusal]:
    """What changes where a declared interface is plugged in, and what filters it."""
    mac = mac_of(interface)
    if mac not in declared:
        return
    if interface.get(OPERATION) == REMOVE:
        yield Refusal(f"takes away interface {mac}, which is declared", "interfaces")
    if interface.get("type"):
        yield Refusal(f"sets the type of interface {mac}, which is declared", "interfaces")
    for tag in ("source", "filterref", "vlan", "virtualport"):
        if interface.find(tag) is not None:
            yield Refusal(f"sets <{tag}> of interface {mac}, which is declared", "interfaces")


def _of_qemu(root: Element) -> Iterator[Refusal]:
    options = (held.get("value", "") for held in root.iterfind(f"{QEMU}commandline/{QEMU}arg"))
    for option in options:
        if option.startswith("-") and option not in HARMLESS_ARGUMENTS:
            yield Refusal(f"gives QEMU {option.split('=')[0][:32]} past libvirt, which dos.vm cannot count")
    for held in root.iterfind(f"{QEMU}override/{QEMU}device/{QEMU}frontend/{QEMU}property"):
        if held.get("name") in FRONTEND:
            yield Refusal(f"overrides {held.get('name')} of a device past libvirt, which dos.vm cannot count")


def mac_of(interface: Element) -> str:
    """The MAC of an interface in a fragment, in our spelling; the empty string for none."""
    mac = interface.find("mac")
    return "" if mac is None else mac.get("address", "").strip().lower()


def macs(fragments: Iterable[str], declared: Collection[str] = ()) -> Iterator[tuple[int, Mac]]:
    """The MACs of interfaces that fragments add, each with the number of its fragment; libvirt refuses what is no MAC."""
    for number, text in enumerate(fragments):
        root = parsed("domain", text)
        for interface in () if root is None else root.iterfind("devices/interface"):
            mac = mac_of(interface)
            if MAC.fullmatch(mac) and mac not in declared and interface.get(OPERATION) != REMOVE:
                yield number, Mac(mac)
