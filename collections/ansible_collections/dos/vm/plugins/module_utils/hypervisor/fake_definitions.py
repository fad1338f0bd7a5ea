# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt makes of a definition: the spelling and the additions of libvirt 9.0, for `fake.py`.

Written from what a real one answers (`tests/real/test_fake_is_honest.py` holds the two against each other), and on purpose
not from our own tables in `xml/`: a fake that shares them would agree with every mistake in them. Guests are in
`fake_domains.py`.
"""

from __future__ import annotations

import posixpath
import random
import uuid
from copy import deepcopy
from typing import TYPE_CHECKING

from ..xml.build import E
from ..xml.build import parse as parse_xml

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

UNITS = {"b": 1, "bytes": 1, "kb": 10**3, "k": 2**10, "kib": 2**10, "mb": 10**6, "m": 2**20, "mib": 2**20}
UNITS |= {"gb": 10**9, "g": 2**30, "gib": 2**30, "tb": 10**12, "t": 2**40, "tib": 2**40}


class Chance:
    """What libvirt draws by lot; the same in each run with the same seed."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.source.getrandbits(128), version=4))

    def mac(self) -> str:
        return "52:54:00:" + ":".join(f"{self.source.randrange(256):02x}" for _ in range(3))


class NotInSchemaError(ValueError):
    """The definition has an element that libvirt does not know."""


def bytes_of(element: Element | None, default_unit: str = "bytes") -> int:
    """The size that an element states, in its unit."""
    if element is None or not element.text:
        return 0
    return int(element.text) * UNITS[element.get("unit", default_unit).lower()]


def with_uuid(element: Element, chance: Chance, after: str = "name") -> Element:
    """A definition without UUID gets one, also where an object of that name has another: libvirt then refuses it."""
    if element.find("uuid") is None:
        held = E("uuid", chance.uuid())
        found = element.find(after)
        element.insert(0 if found is None else element.index(found) + 1, held)
    held_uuid = element.find("uuid")
    assert held_uuid is not None
    held_uuid.text = (held_uuid.text or "").lower()
    return element


# Networks, pools, filters, secrets


def network(element: Element, chance: Chance, bridge: str) -> Element:
    """`bridge` is the name that is free."""
    with_uuid(element, chance)
    forward = element.find("forward")
    if forward is None or forward.get("mode", "nat") in ("nat", "route", "open"):
        _complete_bridge(element, bridge)
        if element.find("mac") is None:
            held = element.find("bridge")
            assert held is not None
            held.addnext(E("mac", address=chance.mac()))
    if forward is not None and "mode" not in forward.attrib:
        forward.set("mode", "nat")
    # The MACs of DHCP hosts keep the case in which they were written.
    for held in element.iterfind("mac"):
        held.set("address", held.get("address", "").lower())
    return element


def _complete_bridge(element: Element, name: str) -> None:
    held = element.find("bridge")
    if held is None:
        held = E("bridge")
        before = element.find("forward")
        if before is None:
            before = element.find("metadata")
        if before is None:
            before = element.find("uuid")
        assert before is not None
        before.addnext(held)
    for attribute, value in (("name", name), ("stp", "on"), ("delay", "0")):
        if attribute not in held.attrib:
            held.set(attribute, value)


def running_network(element: Element) -> Element:
    """The live XML of a network: libvirt says which ports it translates to."""
    live = deepcopy(element)
    forward = live.find("forward[@mode='nat']")
    if forward is not None and forward.find("nat") is None:
        forward.insert(0, E("nat", E("port", start=1024, end=65535)))
    return live


DIRECTORIES = ("dir", "netfs")  # pools whose volumes are files


def pool(element: Element, chance: Chance) -> Element:
    with_uuid(element, chance)
    target, held = element.find("target"), element.find("uuid")
    assert held is not None
    for name in ("available", "allocation", "capacity"):
        if element.find(name) is None:
            held.addnext(E(name, 0, unit="bytes"))
    if element.find("source") is None and target is not None:
        target.addprevious(E("source"))
    return element


def running_pool(element: Element) -> Element:
    """What a pool knows once it has read its directory."""
    held = deepcopy(element)
    for name, size in (("capacity", 100 * 2**30), ("allocation", 10 * 2**30), ("available", 90 * 2**30)):
        found = held.find(name)
        assert found is not None
        found.text = str(size)
    target = held.find("target")
    if target is not None and target.find("permissions") is None and held.get("type") in DIRECTORIES:
        target.append(E("permissions", E("mode", "0755"), E("owner", 0), E("group", 0)))
    return held


def nwfilter(element: Element, chance: Chance) -> Element:
    with_uuid(element, chance)
    if "chain" not in element.attrib:
        element.set("chain", "root")
    for rule in element.iterfind("rule"):
        if "priority" not in rule.attrib:
            rule.set("priority", "500")
    return element


def secret(element: Element, chance: Chance) -> Element:
    with_uuid(element, chance)
    for name in ("ephemeral", "private"):
        if name not in element.attrib:
            element.set(name, "no")
    return element


# Volumes


def volume(element: Element, directory: str, backing_capacity: int = 0) -> Element:
    """The XML of the file that a definition made; sizes in bytes. `backing_capacity` counts where no capacity is said."""
    name = element.findtext("name") or ""
    path = posixpath.join(directory, name)
    asked, source = element.find("target"), element.find("backingStore")
    kind = element.find("target/format")
    format_name = "raw" if kind is None else kind.get("type", "raw")
    capacity = bytes_of(element.find("capacity")) or backing_capacity
    if format_name == "qcow2":
        capacity = -(-capacity // 1024) * 1024  # libvirt gives qemu-img whole KiB; a raw file has any size
    allocated = bytes_of(element.find("allocation")) if format_name == "raw" else 196616
    return E(
        "volume",
        E("name", name),
        E("key", path),
        E("capacity", capacity, unit="bytes"),
        E("allocation", allocated, unit="bytes"),
        E("physical", capacity if format_name == "raw" else 196616, unit="bytes"),
        E(
            "target",
            E("path", path),
            E("format", type=format_name),
            _permissions(asked),
            E("timestamps", E("atime", "1.0"), E("mtime", "1.0"), E("ctime", "1.0"), E("btime", 0)),
            _copied(asked, "encryption"),
            _copied(asked, "compat"),
            _copied(asked, "features"),
        ),
        None if source is None else _backing(source),
        type="file",
    )


def reread(element: Element) -> None:
    """What libvirt adds to a volume when the pool is read again, in place."""
    target = element.find("target")
    for held in element.iterfind("target/encryption/secret"):
        held.getparent().remove(held)  # type: ignore[union-attr]  # it was found there
    if target is not None and target.find("format[@type='qcow2']") is not None and target.find("clusterSize") is None:
        before = target.find("features")
        held = E("clusterSize", 65536, unit="B")
        target.append(held) if before is None else before.addprevious(held)


def _permissions(target: Element | None) -> Element:
    def said(name: str, otherwise: str) -> str:
        return (target is not None and target.findtext(f"permissions/{name}")) or otherwise

    mode = said("mode", "0600").lstrip("0").rjust(4, "0")
    return E("permissions", E("mode", mode), E("owner", said("owner", "0")), E("group", said("group", "0")))


def _backing(source: Element) -> Element:
    held = deepcopy(source)
    held.append(E("permissions", E("mode", "0600"), E("owner", 0), E("group", 0)))
    held.append(E("timestamps", E("atime", "1.0"), E("mtime", "1.0"), E("ctime", "1.0"), E("btime", 0)))
    return held


def _copied(element: Element | None, tag: str) -> Element | None:
    found = None if element is None else element.find(tag)
    return None if found is None else deepcopy(found)


def same(one: Element, other: Element) -> bool:
    """Whether two elements say the same: the name of a bridge, a path, a usage."""
    texts = [[part.strip() for part in held.itertext() if part.strip()] for held in (one, other)]
    names = [(held.get("name"), held.get("type")) for held in (one, other)]
    return texts[0] == texts[1] and names[0] == names[1]


def parse(text: str) -> Element:
    """A definition as text."""
    return parse_xml(text)
