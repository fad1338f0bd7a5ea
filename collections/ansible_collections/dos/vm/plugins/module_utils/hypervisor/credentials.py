# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of secrets that mount(8) asks for: a file for each, which only root can read.

libvirt keeps the secret too, for its note of which value was set; it hands none of its own secrets to mount.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .. import durable
from ..errors import DeclarationError
from ..model.secret import CREDENTIALS
from ..xml.secret import read_description

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

FOLDER = Path(CREDENTIALS)


def is_for_mount(xml: Element) -> bool:
    """Whether the secret is one of ours that libvirt finds no use for."""
    return xml.find("usage") is None and read_description(xml.findtext("description")).name is not None


def write(name: str, value: bytes) -> None:
    """Keep a value for mount.cifs. Raises `DeclarationError` for one that would not be read back as it is."""
    if b"\n" in value or b"\0" in value:
        raise DeclarationError.at(f"dos_secrets.{name}.value", "has several lines, and a password of CIFS has one")
    durable.folder(FOLDER, 0o700)
    durable.write(FOLDER / name, b"password=" + value + b"\n")


def forget(name: str) -> None:
    """Remove a value that nobody may need any more."""
    with suppress(FileNotFoundError):
        (FOLDER / name).unlink()


def unnoted(xml: Element, name: str) -> None:
    """Take the note of the value out of what was seen where its file is gone: then it is set anew."""
    description = xml.find("description")
    digest = None if description is None else read_description(description.text).digest
    if description is not None and digest and not (FOLDER / name).exists():
        description.text = (description.text or "").replace(f":{digest}]", "]")
