# SPDX-License-Identifier: GPL-3.0-or-later
"""Block devices of a host, which libvirt knows little of: what is on them, who uses them, and how a logical volume grows.

Asked of the programs that every host has for it: lsblk(8), wipefs(8), and those of LVM where there is a volume group.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

from ..errors import HypervisorError
from ..plan.devices import Device

PATIENCE = 60.0  # seconds; a device that does not answer must not stop the run for ever
BEGINNING = 1 << 20  # what is read of a device that has no signature: a file system or a key begins there
BUSY = {
    "lvm": "is part of a volume group with active volumes",
    "crypt": "is unlocked",
    "mpath": "is a path of a multipath device",
}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def look(paths: tuple[str, ...]) -> dict[str, Device]:
    """Each device that is there."""
    return {path: _look(path) for path in paths if _is_device(path)}


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def _look(path: str) -> Device:
    held = tuple(dict.fromkeys(_signatures(path)))
    return Device(
        path=path,
        holds=held or _unknown(path),
        used="; ".join(uses(path)),
        group=_group(path) if "LVM2_member" in held else "",
        table=next((kind for kind in ("gpt", "dos") if kind in held), ""),
    )


def _signatures(path: str) -> Iterator[str]:
    text = _ask("wipefs", "--json", "--output", "TYPE", path)
    yield from (held["type"] for held in json.loads(text)["signatures"]) if text.strip() else ()


def _unknown(path: str) -> tuple[str, ...]:
    """What bears no name may be a database or a disk that is encrypted as a whole."""
    with open(path, "rb") as device:
        return ("data of an unknown kind",) if device.read(BEGINNING).strip(b"\0") else ()


def uses(path: str) -> list[str]:
    """Who uses a device, or a part of it, on the host itself; a machine that has it open is not told."""
    told = _ask("lsblk", "--json", "--tree", "--paths", "--output", "PATH,TYPE,MOUNTPOINTS", path)
    return list(dict.fromkeys(_uses(json.loads(told)["blockdevices"])))


def _uses(tree: list[dict[str, Any]], below: str = "") -> Iterator[str]:
    for held in tree:
        yield from (f"{held['path']} is mounted on {place}" for place in held["mountpoints"] if place)
        if below and held["type"] in BUSY:
            yield f"{below} {BUSY[held['type']]}: {held['path']}"
        elif below and held["type"].startswith("raid"):
            yield f"{below} is part of the array {held['path']}"
        yield from _uses(held.get("children", []), held["path"])


def _group(path: str) -> str:
    return _ask("pvs", "--noheadings", "--options", "vg_name", path).strip()


def clear(paths: tuple[str, ...]) -> None:
    """Wipe all signatures and the beginning of each device and of its partitions. Raises before anything is done when one of
    them is in use: since the plan was made somebody may have taken it."""
    found = look(paths)
    for path in paths:
        if path not in found or found[path].used:
            raise HypervisorError(f"wipe {path}", found[path].used if path in found else "it is not there any more")
    for path in paths:
        # The kernel refuses what is open exclusively, and so does wipefs without being forced.
        for device in (*_partitions(path), path):
            _ask("wipefs", "--all", device)
        _zero(path)
        _ask("blockdev", "--rereadpt", path, fails=True)  # a partition has no table to read


def _zero(path: str) -> None:
    with open(path, "r+b") as device:
        size = device.seek(0, os.SEEK_END)
        device.seek(0)
        device.write(bytes(min(BEGINNING, size)))
        os.fsync(device.fileno())


def _partitions(path: str) -> list[str]:
    tree = json.loads(_ask("lsblk", "--json", "--tree", "--paths", "--output", "PATH,TYPE", path))["blockdevices"]
    return [held["path"] for device in tree for held in device.get("children", []) if held["type"] == "part"]


def extend(path: str, capacity: int) -> None:
    """Grow a logical volume to `capacity` bytes, which libvirt cannot (LIMIT-08, LIMIT-11)."""
    _ask("lvextend", "--size", f"{capacity}b", path)


def _ask(*words: str, fails: bool = False) -> str:
    try:
        done = subprocess.run(
            words,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise HypervisorError(f"run {words[0]}", "it is not installed; volume groups need the package lvm2") from None
    except subprocess.TimeoutExpired:
        raise HypervisorError(" ".join(words), f"no answer after {PATIENCE:.0f} s") from None
    if done.returncode and not fails:
        raise HypervisorError(" ".join(words), done.stderr.strip() or f"exit status {done.returncode}")
    return done.stdout
