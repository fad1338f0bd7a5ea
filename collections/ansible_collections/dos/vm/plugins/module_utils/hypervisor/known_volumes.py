# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes that dos.vm made or found on a host, and the file systems they are on: a file, read and written under the lock of
the host's runs.

To libvirt a volume that was never made and one whose file is gone look the same, and so do a new directory and a mount point
whose file system did not come back. What is in this file was there, and nothing empty takes its place until that is allowed by
name (VOL-08).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .. import durable
from ..errors import HypervisorError

KNOWN = Path("/var/lib/dos-vm/volumes.json")


class Mounted(NamedTuple):
    """The directory of a pool, and the mount point of the file system that it was on."""

    path: str
    mount: str


@dataclass(frozen=True, slots=True)
class Known:
    """The volumes as `pool/name`; by pool where it was, if that is not the host's root file system."""

    volumes: frozenset[str] = frozenset()
    mounts: Mapping[str, Mounted] = field(default_factory=dict)

    def unmounted(self) -> dict[str, str]:
        """The pools whose file system is not mounted now, each with the mount point."""
        return {pool: held.mount for pool, held in self.mounts.items() if not os.path.ismount(held.mount)}


def known_volumes(noted: Path = KNOWN) -> Known:
    """What is noted. Raises `HypervisorError` for a file that cannot be read: what is in it must not be made anew."""
    try:
        held = json.loads(noted.read_text(encoding="utf-8"))
        return Known(
            volumes=frozenset(f"{pool}/{name}" for pool, names in held["volumes"].items() for name in names),
            mounts={pool: Mounted(*place) for pool, place in held["mounts"].items()},
        )
    except FileNotFoundError:
        return Known()
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as broken:
        raise HypervisorError("read which volumes were made", f"{noted}: {broken}") from broken


def note_volumes(
    volumes: Collection[str], directories: Mapping[str, str], moved: Collection[str] = (), noted: Path = KNOWN
) -> None:
    """Write the file anew, whole or not at all, and on disk. `directories` are those of the pools, and `moved` are pools that may
    be on another file system than before."""
    pools: dict[str, list[str]] = {}
    for pool, _, name in (volume.partition("/") for volume in sorted(volumes)):
        pools.setdefault(pool, []).append(name)
    before = known_volumes(noted)
    mounts = {pool: place for pool, place in before.mounts.items() if pool in pools}
    unmounted = before.unmounted()
    for pool, path in directories.items():
        if pool in pools and (pool in moved or pool not in unmounted or mounts[pool].path != path):
            mounts[pool] = Mounted(path, _mount_of(path))
    document = {"volumes": pools, "mounts": {pool: held for pool, held in mounts.items() if held.mount != "/"}}
    durable.folder(noted.parent, 0o711)
    durable.write(noted, json.dumps(document, indent=1), 0o644)


def _mount_of(path: str) -> str:
    found = os.path.realpath(path)
    while not os.path.ismount(found):
        found = os.path.dirname(found)
    return found
