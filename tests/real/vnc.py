# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of a VNC client as asks for a password: RFC 6143, sections 7.1 and 7.2."""

from __future__ import annotations

import socket

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

VNC_AUTHENTICATION = 2


def enters(address: str, port: int, password: str, seconds: float = 10) -> bool:
    """Whether a console lets one in with that password. Raises `OSError` where nothing listens."""
    with socket.create_connection((address, port), timeout=seconds) as held:
        version = _read(held, 12)
        held.sendall(version)
        offered = _read(held, _read(held, 1)[0])
        assert VNC_AUTHENTICATION in offered, f"it asks for no password: {offered!r}"
        held.sendall(bytes([VNC_AUTHENTICATION]))
        held.sendall(_answer(_read(held, 16), password))
        return int.from_bytes(_read(held, 4)) == 0


def _answer(challenge: bytes, password: str) -> bytes:
    """DES with the password as its key, each byte of it with its bits in reverse."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode()[:8].ljust(8, b"\0"))
    cipher = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()
    return cipher.update(challenge) + cipher.finalize()


def _read(held: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        chunk = held.recv(count - len(found))
        if not chunk:
            raise ConnectionError("it hung up")
        found += chunk
    return found
