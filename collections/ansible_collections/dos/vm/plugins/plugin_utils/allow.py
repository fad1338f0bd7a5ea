# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos_allow`, as an operator writes it: words, and objects whose data may go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError

WORDS = ("restart", "recreate", "migrate", "wipe")
BY_NAME = {"data_loss": "volume POOL/NAME on HOST", "uplink": "INTERFACE"}
PATH = "dos_allow"


def allowed(written: Any) -> dict[str, Any]:
    """`[restart, {data_loss: [volume default/web-1]}]` as the module takes it; a mapping is taken as it is.

    Raises `DeclarationError` for a word that means nothing.
    """
    if not written:
        return {}
    if isinstance(written, Mapping):
        return dict(written)
    found: dict[str, Any] = {}
    for entry in [written] if isinstance(written, str) else written:
        if isinstance(entry, Mapping):
            found.update(entry)
        elif entry in WORDS:
            found[str(entry)] = True
        elif entry in BY_NAME:
            raise DeclarationError.at(PATH, f"{entry} goes by name, write {{{entry}: [{BY_NAME[entry]}]}}")
        else:
            listed = ", ".join(WORDS)
            raise DeclarationError.at(
                PATH, f"{entry!r} allows nothing, write some of {listed}, {{data_loss: [...]}}, {{uplink: [...]}}"
            )
    return found
