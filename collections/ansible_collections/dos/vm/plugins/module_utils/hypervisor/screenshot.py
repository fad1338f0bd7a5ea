# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine shows on its screen, as PNG. QEMU answers with PPM where it was built without the library for the other."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from ..errors import HypervisorError


def take(connection: Any, domain: Any, path: str) -> str:
    """Write the first screen to `path`; says how large it is."""
    stream = connection.newStream(0)
    kind = domain.screenshot(stream, 0)
    received = bytearray()
    while chunk := stream.recv(262144):
        received += chunk
    stream.finish()
    picture = bytes(received) if kind == "image/png" else png(bytes(received))
    width, height = struct.unpack(">II", picture[16:24])
    Path(path).write_bytes(picture)
    return f"{width}x{height} in {path}"


def png(ppm: bytes) -> bytes:
    """A PNG of a binary PPM with eight bits a colour."""
    fields = ppm[:64].split(None, 4)
    if len(fields) < 4 or fields[0] != b"P6" or fields[3] != b"255":
        raise HypervisorError("take a screenshot", "the picture is neither PNG nor PPM with eight bits a colour")
    width, height = int(fields[1]), int(fields[2])
    # One white space ends the header; what follows may look like white space too.
    pixels = ppm[-width * height * 3 :]
    rows = b"".join(b"\0" + pixels[at : at + width * 3] for at in range(0, len(pixels), width * 3))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
