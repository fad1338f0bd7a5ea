# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the store of each site had come when a host was last made as declared: a file, written under the lock of the host's runs.

A store that is behind what a host noted was restored from a backup (`store/lineage`).
"""

from __future__ import annotations

import json
from pathlib import Path

from .. import durable
from ..errors import HypervisorError
from ..model.host import StoreState

STORES = Path("/var/lib/dos-vm/stores.json")


def store_notes(noted: Path = STORES) -> dict[str, StoreState]:
    """By site. Raises `HypervisorError` for a file that cannot be read: what it forbids is not known."""
    try:
        held = json.loads(noted.read_text(encoding="utf-8"))
        return {site: StoreState(id=str(one["id"]), generation=int(one["generation"])) for site, one in held.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as broken:
        raise HypervisorError("read how far the stores of sites had come", f"{noted}: {broken}") from broken


def note_store(site: str, state: StoreState, noted: Path = STORES) -> None:
    """Keep the newest state of a site's store. Whole or not at all, and on the disk with its folder."""
    before = store_notes(noted)
    if not state.is_newer(before.get(site)):
        return
    after = {name: {"id": one.id, "generation": one.generation} for name, one in (before | {site: state}).items()}
    durable.folder(noted.parent, 0o711)
    durable.write(noted, json.dumps(after, indent=1, sort_keys=True), 0o644)
