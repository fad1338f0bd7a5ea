# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a disk is layered over, by their headers alone.

A header is read as bytes and never opened as a disk, so nothing is locked and no program is started. Only qcow2 is read: that
is what layers are made of. A base that its layer calls raw is not read, since a guest may have written anything into it.
See QEMU's docs/interop/qcow2.txt.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

HEAD = 2**16
LENGTH = 104  # bytes of a header that says how long it is
MAGIC = b"QFI\xfb"
FORMAT_OF_BACKING = 0xE2792ACA  # header extension


class Below(NamedTuple):
    """What a header names as its base. `format` is empty where the header leaves it open."""

    name: str
    format: str


def chain(path: str) -> tuple[str, ...]:
    """The file itself and all below it, top first, without symbolic links; what is not a file is named as the header does."""
    found = [os.path.realpath(path)]
    while (below := _below(found[-1])) is not None and (file := _place(below.name, found[-1])) not in found:
        found.append(file)
        if below.format not in ("", "qcow2"):
            break
    return tuple(found)


def keeps_changes(path: str) -> bool:
    """Whether a disk can keep a record of what changes in it: a qcow2 file from version 3 on (compatibility level 1.1)."""
    with open(path, "rb") as file:
        magic, version = struct.unpack(">4sI", file.read(8).ljust(8, b"\0"))
    return bool(magic == MAGIC and version >= 3)


def _below(path: str) -> Below | None:
    try:
        with open(path, "rb") as file:
            return backing(file.read(HEAD))
    except (OSError, struct.error):
        return None


def backing(head: bytes) -> Below | None:
    """The base that the first bytes of a qcow2 file name; `None` for another file, or one that stands alone."""
    if not head.startswith(MAGIC):
        return None
    version, offset, length = struct.unpack(">IQI", head[4:20])
    name = head[offset : offset + length].decode(errors="replace")
    return Below(name, _format(head, version)) if offset and name else None


def _format(head: bytes, version: int) -> str:
    if version < 2 or len(head) < LENGTH:
        return ""
    at = struct.unpack(">I", head[100:LENGTH])[0] if version > 2 else 72
    while at + 8 <= len(head):
        kind, length = struct.unpack(">II", head[at : at + 8])
        if kind == FORMAT_OF_BACKING:
            return head[at + 8 : at + 8 + length].decode(errors="replace")
        if not kind:
            break
        at += 8 + (length + 7) // 8 * 8
    return ""


def _place(name: str, layer: str) -> str:
    name = name.removeprefix("file:")
    is_file = name.startswith("/") or ":" not in name.partition("/")[0]
    return os.path.realpath(os.path.join(os.path.dirname(layer), name)) if is_file else name
