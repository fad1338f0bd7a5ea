# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices dos.vm gave a domain: an element of ours in its `<metadata>`, beside the ownership mark.

A device that the record names and nothing declares was declared before, and goes. One that it does not name was attached outside
dos.vm, and stays. The definition has the record of what was declared last; a running guest has one of what it was given, which
each device that comes or goes changes. A domain that was defined before there were records has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from .._thirdparty import etree
from .build import E, parse
from .common import RECORD, RECORD_NAMESPACE
from .devices import SHAPE
from .shape import SILENT

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

PREFIX = "dosdevices"
XPATH = f"domain/metadata/{RECORD}"


class Entry(NamedTuple):
    """One device, by its tag and what tells it apart from its siblings. `source` is what a disk was declared to be."""

    tag: str
    key: str
    source: str = ""

    @property
    def device(self) -> tuple[str, str]:
        return self.tag, self.key

    @property
    def words(self) -> str:
        return " ".join(filter(None, self.device))


Record = tuple[Entry, ...]


def identified(devices: Element) -> Iterator[tuple[tuple[str, str], Element]]:
    """The devices of known tags, each with what it is found by."""
    seen: dict[str, int] = {}
    for device in devices:
        tag = str(device.tag)
        row, index = SHAPE.children.get(tag), seen.get(tag, 0)
        seen[tag] = index + 1
        if row is not None:
            yield (tag, " ".join(filter(None, row.identity(device, index))).lower()), device


def record_of(domain: Element) -> Record:
    """The devices of a domain, as a record of them; what libvirt adds by itself is not recorded."""
    devices = domain.find("devices")
    found = () if devices is None else identified(devices)
    return tuple(
        sorted(
            Entry(*device, source_of(element))
            for device, element in found
            if SHAPE.children[device[0]].computed is False
        )
    )


def source_of(device: Element) -> str:
    """What a disk is declared to be: `pool/volume`, or a path."""
    source = device.find("source") if device.tag == "disk" else None
    if source is None:
        return ""
    if source.get("volume"):
        return f"{source.get('pool')}/{source.get('volume')}"
    return source.get("file") or source.get("dev") or ""


def silent(record: Iterable[Entry]) -> set[str]:
    """The tags of which a device was declared without what it is found by: libvirt chose that, so the record cannot tell."""
    return {entry.tag for entry in record if entry.key.startswith(SILENT)}


def element(record: Record) -> Element:
    """The record as libvirt keeps it."""
    held = etree.Element(RECORD, nsmap={PREFIX: RECORD_NAMESPACE})
    for entry in record:
        child = etree.SubElement(held, f"{{{RECORD_NAMESPACE}}}device")
        for name, value in zip(("tag", "key", "source"), entry, strict=True):
            if value:
                child.set(name, value)
    return held


def read(domain: Element | None) -> Record | None:
    """The record that a domain carries; `None` for one that has none."""
    held = None if domain is None else domain.find(f"metadata/{RECORD}")
    return None if held is None else _read(held)


def _read(held: Element) -> Record:
    return tuple(Entry(child.get("tag", ""), child.get("key", ""), child.get("source", "")) for child in held)


def lay(domain: Element, record: Record) -> None:
    """Give a domain the record, in place; one that bears no mark of ours gets none."""
    metadata = domain.find("metadata")
    if metadata is not None:
        for old in metadata.findall(RECORD):
            metadata.remove(old)
        metadata.append(element(record))


def changed(text: str, device: Element, *, attached: bool) -> str:
    """The record, as libvirt gives and takes it, with a device that came or without one that went."""
    found = [Entry(*key, source_of(device)) for key, device in identified(E("devices", device))]
    rest = [entry for entry in _read(parse(text)) if entry.device not in [gone.device for gone in found]]
    # Without the namespace: libvirt gives it to every element, and refuses one that is there (virDomainSetMetadata).
    after = element(tuple(sorted([*rest, *(found if attached else [])])))
    for each in after.iter():
        each.tag = etree.QName(each).localname
    etree.cleanup_namespaces(after)
    return etree.tostring(after, encoding="unicode")


def given(text: str) -> Element:
    """The record that `changed` wrote, as libvirt keeps it."""
    return element(_read(parse(text)))
