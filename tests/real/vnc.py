# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of a VNC client as asks for a password, and as looks: RFC 6143."""

from __future__ import annotations

import socket
import struct

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

NO_AUTHENTICATION, VNC_AUTHENTICATION = 1, 2


def enters(address: str, port: int, password: str, seconds: float = 60) -> bool:
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


class Viewer:
    """Somebody who looks at a console without a password: RFC 6143, sections 7.3.1, 7.5.3 and 7.6.1.

    `shared` is what a client asks for: to look beside others, or to have it alone. Raises `OSError` where it is not let in.
    """

    def __init__(self, address: str, port: int, *, shared: bool, seconds: float = 60) -> None:
        self._held = socket.create_connection((address, port), timeout=seconds)
        try:
            self._held.sendall(_read(self._held, 12))
            offered = _read(self._held, _read(self._held, 1)[0])
            assert NO_AUTHENTICATION in offered, f"it asks for a password: {offered!r}"
            self._held.sendall(bytes([NO_AUTHENTICATION]))
            assert int.from_bytes(_read(self._held, 4)) == 0
            self._held.sendall(bytes([shared]))
            told = _read(self._held, 24)
            self._bytes = told[4] // 8  # of a pixel
            _read(self._held, int.from_bytes(told[20:]))
        except BaseException:
            self.close()
            raise

    def sees(self) -> bool:
        """Whether the console still shows it a picture."""
        try:
            self._held.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, 16, 16))
            rectangles = int.from_bytes(_read(self._held, 4)[2:])
            for _ in range(rectangles):
                _, _, width, height, encoding = struct.unpack(">HHHHi", _read(self._held, 12))
                assert encoding == 0, "it sends what nobody asked for"
                _read(self._held, width * height * self._bytes)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._held.close()
