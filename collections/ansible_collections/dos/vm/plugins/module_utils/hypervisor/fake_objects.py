# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host in memory holds, for `fake.py`: objects that libvirt has definitions of, files, and who uses which."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InternalError
from ..model.address import Address, KindName
from ..model.overlay import image_of
from ..plan.action import Action, Define, Start
from . import fake_definitions as definitions
from .fake_refusals import INTERNAL, INVALID, MISSING, OPERATION_FAILED, SYSTEM, refuse

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


@dataclass(slots=True)
class Held:
    """An object that libvirt has a definition of."""

    xml: Element
    live: Element | None = None
    saved: Element | None = None  # with its memory
    active: bool = False
    autostart: bool = False
    persistent: bool = True


class Objects:
    """What a host holds, and how it is found: `fake.FakeHypervisor` is one that does things, too.

    `files` are those the host has besides: capacity in bytes by path.
    """

    def __init__(self, files: Mapping[str, int]) -> None:
        self.objects: dict[Address, Held] = {}
        self.directories: set[str] = set()
        self.files: dict[str, Element] = {}
        self.known: set[str] = set()  # the files that libvirt has seen, in pools
        self.fresh: set[str] = set()  # those that the last observation was the first to see
        for path, capacity in files.items():
            self._lay(path, capacity)
        self._values: dict[str, bytes] = {}  # of secrets, by UUID: no method hands them out

    def _definitions(self, kind: KindName) -> Iterator[tuple[Address, Element]]:
        return ((address, held.xml) for address, held in self.objects.items() if address.kind == kind)

    def _filter_is_used(self, name: str) -> bool:
        references = f".//filterref[@filter='{name}']"
        by_guests = any(
            held.live.find(references) is not None for held in self.objects.values() if held.live is not None
        )
        return by_guests or any(xml.find(references) is not None for _, xml in self._definitions("nwfilter"))

    def _knows(self, usage: str) -> bool:
        """Whether some secret is found by this, and has a value."""
        uuids = [xml.findtext("uuid") for _, xml in self._definitions("secret") if usage in xml.xpath("usage/*/text()")]
        return any(uuid in self._values for uuid in uuids)

    def _refuse_inactive(self, action: Action, address: Address) -> None:
        if not self._held(action, address).active:
            refuse(action, f"{address.kind} '{address.name}' is not active", INVALID)

    def _path_of(self, action: Action, disk: Element) -> str | None:
        source = disk.find("source")
        if source is None:
            return None
        if source.get("pool"):
            pool = Address("pool", source.get("pool", ""))
            self._refuse_inactive(action, pool)
            directory = self._held(action, pool).xml.findtext("target/path") or ""
            return posixpath.join(directory, source.get("volume", ""))
        return image_of(source.get("file", "")) or None

    def _refuse_disk(self, action: Action, disk: Element, path: str) -> None:
        if path not in self.files:
            refuse(action, f"Cannot access storage file '{path}': No such file or directory", SYSTEM)
        exclusive = disk.find("readonly") is None and disk.find("shareable") is None
        users = [other for other, target in self._users(path) if target is not None and other != action.address]
        if exclusive and users:
            text = f'Failed to get "write" lock: is another process using the image [{path}]? ({users[0]})'
            refuse(action, text, INTERNAL)

    def _users(self, path: str) -> Iterator[tuple[Address, str | None]]:
        """The running guests that have a file open for writing, each with its name for the disk."""
        for address, held in self.objects.items():
            if address.kind != "domain" or held.live is None:
                continue
            for disk in held.live.iterfind("devices/disk"):
                target = disk.find("target")
                if disk.find("readonly") is None and self._path_of(Start(address=address), disk) == path:
                    yield address, None if target is None else target.get("dev")

    def _volume_path(self, action: Action) -> str:
        pool, _, name = action.address.name.partition("/")
        self._refuse_inactive(action, Address("pool", pool))
        path = posixpath.join(self._held(action, Address("pool", pool)).xml.findtext("target/path") or "", name)
        if path not in self.files or path not in self.known:
            refuse(action, f"no storage vol with matching name '{name}'", MISSING["volume"])
        return path

    def _find_files(self, declared: Iterable[str]) -> set[str]:
        """Refresh the pools that have a file that libvirt has not seen, and that a VM is defined with or that is `declared`."""
        found = set()
        wanted = {name.partition("/")[::2] for name in declared}
        for _, xml in self._definitions("domain"):
            wanted |= {(disk.get("pool", ""), disk.get("volume", "")) for disk in xml.iterfind("devices/disk/source")}
        for pool, name in wanted:
            held = self.objects.get(Address("pool", pool))
            directory = held.xml.findtext("target/path") or "" if held is not None and held.active else ""
            path = posixpath.join(directory, name)
            if directory and path in self.files and path not in self.known:
                found.add(path)
        for path in found:
            self._refresh(posixpath.dirname(path))
        return found

    def _refresh(self, directory: str) -> None:
        """Read a directory of files, as a pool does when it starts."""
        for path, xml in self.files.items():
            if posixpath.dirname(path) == directory:
                self.known.add(path)
                definitions.reread(xml)

    def _lay(self, path: str, capacity: int) -> None:
        xml = definitions.parse(
            f"<volume><name>{posixpath.basename(path)}</name><capacity>{capacity}</capacity></volume>"
        )
        self.files[path] = definitions.volume(xml, posixpath.dirname(path))
        self.known.add(path)
        self.directories.add(posixpath.dirname(path))

    def _live_devices(self, action: Action) -> Element:
        found = self._running(action).find("devices")
        if found is None:
            raise InternalError(f"{action.address} runs without devices")
        return found

    def _running(self, action: Action) -> Element:
        held = self._held(action, action.address)
        self._refuse_active(action, held, expected=True)
        if held.live is None:
            raise InternalError(f"{action.address} runs without XML")
        return held.live

    def _held(self, action: Action, address: Address) -> Held:
        if address not in self.objects:
            refuse(action, f"no {address.kind} with matching name '{address.name}'", MISSING[address.kind])
        return self.objects[address]

    def _refuse_active(self, action: Action, held: Held, *, expected: bool) -> None:
        if held.active != expected:
            refuse(action, f"{action.address} is {'not' if expected else 'already'} running", INVALID)

    def _refuse_clash(self, action: Define, xml: Element, before: Held | None) -> None:
        kind, uuid = action.address.kind, xml.findtext("uuid")
        if before is not None and before.xml.findtext("uuid") != uuid:
            known = before.xml.findtext("uuid")
            refuse(action, f"{kind} '{action.address.name}' already exists with uuid {known}", OPERATION_FAILED)
        for address, other in self._definitions(kind):
            if address == action.address:
                continue
            if other.findtext("uuid") == uuid:
                refuse(action, f"{kind} '{address.name}' is already defined with uuid {uuid}", OPERATION_FAILED)
            self._refuse_shared(action, xml, other, address)

    def _refuse_shared(self, action: Define, xml: Element, other: Element, owner: Address) -> None:
        """What two objects of a kind cannot share: the bridge of networks, the directory of pools, the usage of secrets."""
        shared = {"network": "bridge", "pool": "target/path", "secret": "usage"}.get(action.address.kind)
        if action.address.kind == "pool" and xml.get("type") not in definitions.DIRECTORIES:
            return
        mine, theirs = (None, None) if shared is None else (xml.find(shared), other.find(shared))
        if mine is not None and theirs is not None and definitions.same(mine, theirs):
            refuse(action, f"{shared} is already in use by {owner}", OPERATION_FAILED)

    def _backing_capacity(self, action: Action, xml: Element) -> int:
        backing = xml.find("backingStore")
        if backing is None:
            return 0
        if backing.find("format") is None:
            raise InternalError(f"{action.address} has a backing file without format, which libvirt would guess")
        path = backing.findtext("path") or ""
        if path not in self.files:
            refuse(action, f"Cannot access backing store '{path}': No such file or directory", SYSTEM)
        return int(self.files[path].findtext("capacity") or 0)
