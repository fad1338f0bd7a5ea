# SPDX-License-Identifier: GPL-3.0-or-later
"""What an export has found so far: the site it makes, each name once whatever host it is on, and what had to be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import DeclarationError
from ..model.address import Address
from ..model.decode import decode
from ..model.types import AbsolutePath, Name
from ..site.image import Image
from ..site.site import KINDS, Site

FILE_NAME_ENDS = (".qcow2", ".raw", ".img", ".iso")


@dataclass(slots=True, kw_only=True)
class Register:
    """The objects by kind and name, in the operator's words."""

    site: Name
    hosts: tuple[Name, ...]
    project: Name
    held: dict[str, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    left_out: list[tuple[str, str, str]] = field(default_factory=list)  # host, object, why
    notes: list[tuple[str, str, str]] = field(default_factory=list)
    # What the rules of a site said of an object when it was tried before: kind and name, then path inside it and sentence.
    refusals: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    needed: dict[str, bool | None] = field(default_factory=dict)  # whether an image must be read-only or must not be

    def as_site(self) -> Site:
        """What was found, as a site that can be compiled."""
        return Site(name=self.site, hosts=self.hosts, **self.held)  # type: ignore[arg-type]  # the keys are names that were checked

    def leave_out(self, host: str, address: Address, why: str) -> None:
        self.left_out.append((host, str(address), why))

    def note(self, host: str, address: Address, text: str) -> None:
        self.notes.append((host, str(address), text))

    def add(self, host: str, address: Address, kind: str, name: Name, found: Any, twice: str) -> bool:
        """Add what an object became, or name the object: its name is taken (`twice` says so), or the rules are against it."""
        refused = self.refusals.get((kind, str(name)))
        if refused is not None:
            self.leave_out(host, address, f"a site cannot have it: {'; '.join(refused.values())}")
        elif not self.claim(kind, name, found):
            self.leave_out(host, address, twice)
        else:
            return True
        return False

    def claim(self, kind: str, name: Name, found: Any) -> bool:
        """Add an object under its name. One that another host has too, and alike, becomes bound to both."""
        before = self.held[kind].get(name)
        if before is None or before == found:
            self.held[kind][name] = found
            return True
        joined = _joined(before, found)
        if joined is None:
            return False
        self.held[kind][name] = joined
        return True

    def project_of(self, named: str | None) -> Name:
        """The project that an object's mark names, or the one for all that is found; declared from now on."""
        project = Name(named) if named else self.project
        self.held["projects"].setdefault(project, decode(KINDS["projects"], {}))
        return project

    def image(self, host: str, path: str, format_: str | None, *, read_only: bool | None) -> Name | None:
        """The image that is this file; `read_only` is what its user needs it to be, if it matters. `None` if it cannot be."""
        wanted = _image(host, path, format_, read_only is not False)
        if wanted is None:
            return None
        for name, held in self.held["images"].items():
            if held.file == wanted.file and host in (held.hosts or (held.host,)):
                return self._shared_image(Name(name), held, wanted, read_only)
        name = _free_name(path, self.held["images"])
        if ("images", str(name)) in self.refusals:
            return None
        self.held["images"][name] = wanted
        self.needed[name] = read_only
        return name

    def _shared_image(self, name: Name, held: Image, wanted: Image, read_only: bool | None) -> Name | None:
        needed = self.needed[name]
        if held.format != wanted.format or (None not in (needed, read_only) and needed != read_only):
            return None
        if needed is None:
            self.needed[name] = read_only
            self.held["images"][name] = replace(held, read_only=read_only is not False)
        return name


def _joined(before: Any, found: Any) -> Any | None:
    if not hasattr(before, "hosts") or not hasattr(found, "hosts"):
        return None
    if replace(before, host=None, hosts=None) != replace(found, host=None, hosts=None):
        return None
    hosts = dict.fromkeys([*_hosts(before), *_hosts(found)])
    return replace(before, host=None, hosts=tuple(hosts))


def _hosts(bound: Any) -> tuple[Name, ...]:
    return (bound.host,) if bound.host is not None else tuple(bound.hosts or ())


def _image(host: str, path: str, format_: str | None, read_only: bool) -> Image | None:
    try:
        image: Image = decode(Image, {"file": path, "format": format_, "host": host, "read_only": read_only})
    except DeclarationError:
        return None
    return image if image.file == AbsolutePath(path) and str(image.file) == path else None


def _free_name(path: str, taken: Mapping[str, object]) -> Name:
    base = path.rsplit("/", 1)[-1]
    for end in FILE_NAME_ENDS:
        base = base.removesuffix(end)
    legal = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in base)
    stem = legal.lstrip("._-")[:56] or "image"
    number = 1
    while (name := Name(stem if number == 1 else f"{stem}-{number}")) in taken:
        number += 1
    return name
