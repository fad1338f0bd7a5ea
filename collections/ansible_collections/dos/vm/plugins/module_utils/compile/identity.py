# SPDX-License-Identifier: GPL-3.0-or-later
"""MAC addresses that are a function of the inventory alone: the same after a rebuild, on another host, in a year."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..model.types import Mac

PREFIX = "52:54"  # locally administered, unicast; the four octets after it are ours


def allocate(site: str, cards: Iterable[tuple[str, str]], taken: Iterable[str]) -> dict[tuple[str, str], Mac]:
    """A MAC for each card, named by its machine and its place there (NIC-02).

    `taken` are the addresses that were written down. Two cards whose hashes meet are settled in the order of their names, so
    that the result does not depend on the order they come in; one more machine moves nobody's address unless hashes meet.
    """
    used = set(taken)
    found: dict[tuple[str, str], Mac] = {}
    for card in sorted(cards):
        mac = _hashed(site, *card)
        attempt = 0
        while mac in used:
            attempt += 1
            mac = _hashed(site, *card, str(attempt))
        used.add(mac)
        found[card] = mac
    return found


def _hashed(*parts: str) -> Mac:
    octets = hashlib.sha256("/".join(parts).encode()).hexdigest()[:8]
    return Mac(":".join([PREFIX, *(octets[at : at + 2] for at in range(0, 8, 2))]))
