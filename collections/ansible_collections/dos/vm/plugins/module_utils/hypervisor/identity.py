# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machine this is: the system that is installed on it, and what it is made of.

libvirt's own UUID does for neither: where the firmware has none it is another at every start, and clones have the same.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

_IDENTITIES = uuid.UUID("0d05d05d-05d0-5c2f-8a1e-6f6d1d4c9d0f")
SERIALS = ("product_uuid", "product_serial", "board_serial", "chassis_serial")
# What makers write who had no serial number at hand.
EMPTY = frozenset(
    ["", "0", "none", "default string", "not specified", "to be filled by o.e.m.", "system serial number"]
)


def identity(root: Path = Path("/")) -> str:
    """A UUID of the installed system. The machine-id itself stays on the machine, as machine-id(5) wants it."""
    machine = _text(root / "etc" / "machine-id")
    return str(uuid.uuid5(_IDENTITIES, machine)) if machine else ""


def boot(root: Path = Path("/")) -> str:
    """A UUID that is another after every boot."""
    return _text(root / "proc" / "sys" / "kernel" / "random" / "boot_id")


def hardware(root: Path = Path("/")) -> str:
    """A digest of serial numbers and the addresses of network cards; nothing where there are neither."""
    found = sorted({*_serials(root / "sys" / "class" / "dmi" / "id"), *_cards(root / "sys" / "class" / "net")})
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:32] if found else ""


def _serials(folder: Path) -> Iterator[str]:
    for name in SERIALS:
        text = _text(folder / name)
        if text.lower() not in EMPTY:
            yield f"{name}={text}"


def _cards(folder: Path) -> Iterator[str]:
    """Cards that are hardware; a bond gives its cards one address, and each remembers its own."""
    for card in sorted(folder.glob("*/device")):
        address = _text(card.parent / "bonding_slave" / "perm_hwaddr") or _text(card.parent / "address")
        if address:
            yield f"card={address}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
