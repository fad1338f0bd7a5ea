# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk file says of itself, read without opening it as a disk.

A header comes from whoever made the file, and may name other files of this host as its backing or its data. So it is read
here, as bytes, before any program that would follow it; see the specifications in QEMU's docs/interop and `block/*.c`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import DeclarationError
from ..model.types import ByteSize

HEAD = 2**16
FOOTER = 512
SECTOR = 512
EXTERNAL_DATA = 1 << 2  # incompatible feature of qcow2
MOST_OF_A_NAME = 1023  # bytes, in qcow2

# What is no disk, by how it begins; the file is in it.
PACKED = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
# Disks that we have no use for.
OTHERS = {b"vhdxfile": "vhdx", b"OOOM": "cow", b"WithoutFreeSpace": "parallels", b"WithouFreSpacExt": "parallels"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A file in words. `backing` and `outside` name other files: one it is layered over, one that has its data.

    `format` is QEMU's word, `raw` for what has no header; `capacity` is in bytes. `packed` is the program it is packed with.
    """

    format: str
    capacity: int | None = None
    backing: str | None = None
    outside: str | None = None
    encrypted: bool = False
    packed: str | None = None


def read_header(path: str) -> Header:
    """The header of a file. Raises `DeclarationError` for one that is not there or cannot be what it says."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    except OSError as refused:
        raise DeclarationError.at(path, f"cannot be read: {refused.strerror}") from None
    except (struct.error, UnicodeDecodeError):
        raise DeclarationError.at(path, "has a header that ends in the middle: bring the file again") from None


def _read(file: BinaryIO) -> Header:
    head = file.read(HEAD)
    size = os.fstat(file.fileno()).st_size
    for magic, read in READERS.items():
        if head.startswith(magic):
            return read(head, size)
    if head[0x40:0x44] == b"\x7f\x10\xda\xbe":
        return _vdi(head)
    packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
    other = next((name for magic, name in OTHERS.items() if head.startswith(magic)), None)
    if packed or other:
        return Header(format=other or "raw", capacity=size, packed=packed)
    if size >= FOOTER:
        file.seek(-FOOTER, os.SEEK_END)
        footer = file.read(FOOTER)
        if footer.startswith(b"conectix"):
            return _vpc(footer, size)
    return Header(format="raw", capacity=size)


def _qcow(head: bytes, size: int) -> Header:
    version, offset, length = struct.unpack(">IQI", head[4:20])
    if version == 1:
        (capacity,) = struct.unpack(">Q", head[24:32])
        (crypt,) = struct.unpack(">I", head[36:40])
        return Header(format="qcow", capacity=capacity, backing=_name(head, offset, length), encrypted=bool(crypt))
    (capacity, crypt) = struct.unpack(">QI", head[24:36])
    features = struct.unpack(">Q", head[72:80])[0] if version >= 3 else 0
    return Header(
        format="qcow2",
        capacity=capacity,
        backing=_name(head, offset, length),
        outside="an external data file" if features & EXTERNAL_DATA else None,
        encrypted=bool(crypt),
    )


def _qed(head: bytes, size: int) -> Header:
    features, capacity, offset, length = *struct.unpack("<Q", head[16:24]), *struct.unpack("<QII", head[48:64])
    return Header(format="qed", capacity=capacity, backing=_name(head, offset, length) if features & 1 else None)


def _name(head: bytes, offset: int, length: int) -> str | None:
    if not offset:
        return None
    if not 0 < length <= MOST_OF_A_NAME or offset + length > len(head):
        return "a name that is out of place"
    return head[offset : offset + length].decode(errors="replace")


def _vmdk(head: bytes, size: int) -> Header:
    sectors, _grain, at, length = struct.unpack("<QQQQ", head[12:44])
    described = head[at * SECTOR : (at + min(length, 64)) * SECTOR].rstrip(b"\0").decode(errors="replace")
    backing = next((line.partition("=")[2].strip(' "') for line in described.splitlines() if _is_parent(line)), None)
    # Without a capacity of its own the header is a wrapper of the description, which has the data in other files.
    outside = "the extents of its description" if not sectors else None
    return Header(format="vmdk", capacity=sectors * SECTOR, backing=backing, outside=outside)


def _is_parent(line: str) -> bool:
    return line.strip().startswith("parentFileNameHint")


def _vmdk_description(head: bytes, size: int) -> Header:
    return Header(format="vmdk", outside="the extents of its description")


def _vdi(head: bytes) -> Header:
    (kind,) = struct.unpack("<I", head[0x4C:0x50])
    (capacity,) = struct.unpack("<Q", head[0x170:0x178])
    return Header(format="vdi", capacity=capacity, backing="another vdi" if kind not in (1, 2) else None)


def _vpc(head: bytes, size: int) -> Header:
    capacity, kind = *struct.unpack(">Q", head[48:56]), *struct.unpack(">I", head[60:64])
    return Header(format="vpc", capacity=capacity, backing="another vpc" if kind == 4 else None)


def _luks(head: bytes, size: int) -> Header:
    return Header(format="raw", encrypted=True)


READERS: dict[bytes, Callable[[bytes, int], Header]] = {
    b"QFI\xfb": _qcow,
    b"QED\0": _qed,
    b"KDMV": _vmdk,
    b"COWD": _vmdk_description,
    b"# Disk DescriptorFile": _vmdk_description,
    b"conectix": _vpc,
    b"LUKS\xba\xbe": _luks,
}


def objections(header: Header, declared: str | None, *, layered: bool = False) -> Iterator[str]:
    """Why a file is not taken for what it is declared to be (IMG-11). `layered` allows a backing file."""
    if header.packed:
        yield f"is packed with {header.packed}: unpack it, and give the checksum of what was in it"
    elif declared is not None and header.format != declared:
        yield f"is {header.format} and declared {declared}: write format: {header.format}, or bring the right file"
    if header.outside:
        yield f"has its data in other files ({header.outside}): convert it where those files are"
    if header.backing is not None and not layered:
        yield f"is layered over {header.backing!r}: flatten it where it comes from (qemu-img convert), its backing is not followed"


def refuse(path: str, header: Header, declared: str | None, *, layered: bool = False) -> None:
    """Raise `DeclarationError` with every objection."""
    found = list(objections(header, declared, layered=layered))
    if found:
        raise DeclarationError.at(path, "; ".join(found))


def shown(header: Header) -> dict[str, object]:
    """A header as data, with its capacity in bytes."""
    told = {name: getattr(header, name) for name in ("format", "capacity", "backing", "outside", "encrypted", "packed")}
    return {**told, "size": None if header.capacity is None else str(ByteSize(header.capacity))}
