# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path leads to on this host, as marks: two paths lead to one thing if they have a mark in common.

A declaration knows names, the host knows links and mounts. A file is known by its inode, a device by its number. A file on a
server and a disk with a number of its own are known to every host by the same mark, which begins with one of `GLOBAL`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
DEVICES = Path("/sys/dev/block")
SERVERS = ("nfs", "nfs4", "cifs", "smb3")  # the file systems of which the kernel knows the server's address
WORLDWIDE = ("naa.", "eui.", "uuid.")  # other numbers of disks repeat
GLOBAL = ("export ", "disk ", "network ")

Marks = frozenset[str]


class Mount(NamedTuple):
    """A mounted file system of a server: where, and which directory of it."""

    folder: str
    server: str
    export: str

    def has(self, path: str) -> bool:
        return path.startswith(f"{self.folder.rstrip('/')}/")

    def mark(self, path: str) -> str:
        return f"export {self.server}:{self.export}{path.removeprefix(self.folder.rstrip('/'))}"


Mounts = Mapping[int, Sequence[Mount]]  # by device number, the innermost first


def mounts(table: Path = MOUNTS) -> Mounts:
    """The mounted file systems of servers; see https://docs.kernel.org/filesystems/proc.html (mountinfo)."""
    found: dict[int, list[Mount]] = {}
    for line in table.read_text().splitlines() if table.exists() else ():
        fields, _, rest = line.partition(" - ")
        kind, source, *options = rest.split(" ")
        if kind in SERVERS:
            _, _, number, root, folder, *_ = fields.split(" ")
            major, _, minor = number.partition(":")
            mount = Mount(_text(folder), *_exported(_text(source), _text(root), ",".join(options)))
            found.setdefault(os.makedev(int(major), int(minor)), []).append(mount)
    return {number: sorted(mounted, key=lambda mount: -len(mount.folder)) for number, mounted in found.items()}


def _exported(source: str, root: str, options: str) -> tuple[str, str]:
    """Server and directory of `nas:/vm` or `//nas/vm`, of which `root` is mounted."""
    address = next((text.removeprefix("addr=") for text in options.split(",") if text.startswith("addr=")), "")
    name, _, export = source.lstrip("/").partition("/") if source.startswith("//") else source.partition(":/")
    inside = "" if root == "/" else root
    return address or name, f"/{export}".rstrip("/") + inside


def _text(field: str) -> str:
    """What the kernel writes with a space as `\\040`."""
    return field.encode("latin-1", "backslashreplace").decode("unicode_escape")


def marks(path: str, servers: Mounts) -> Marks:
    """What a path leads to. One that leads nowhere is known by where it would be."""
    status = look(path)
    if status is None:
        return frozenset([f"path {os.path.realpath(path)}"])
    if stat.S_ISBLK(status.st_mode):
        return frozenset(_of_device(_folder(status.st_rdev), status.st_rdev))
    real = os.path.realpath(path) if status.st_dev in servers else ""
    exports = [mount.mark(real) for mount in servers.get(status.st_dev, ()) if mount.has(real)]
    return frozenset([f"inode {status.st_dev}:{status.st_ino}", *exports[:1]])


def is_one(first: str, second: str) -> bool:
    """Whether two paths of this host lead to one thing. What is no path is known by its text."""
    if first == second or not (first.startswith("/") and second.startswith("/")):
        return first == second
    return not marks(first, {}).isdisjoint(marks(second, {}))


def stands_on(path: str) -> Marks:
    """What a block device is made of: the disk of a partition, what a mapped device is over, the file of a loop device."""
    status = look(path)
    if status is None or not stat.S_ISBLK(status.st_mode):
        return frozenset()
    return frozenset(_below(_folder(status.st_rdev)))


def look(path: str) -> os.stat_result | None:
    """What the kernel says of a path; nothing where it leads nowhere."""
    with suppress(OSError):
        return os.stat(path)
    return None


def _folder(number: int) -> Path:
    return DEVICES / f"{os.major(number)}:{os.minor(number)}"


def _of_device(folder: Path, number: int) -> Iterator[str]:
    yield f"device {os.major(number)}:{os.minor(number)}"
    for file in (folder / "device/wwid", folder / "wwid"):
        with suppress(OSError):
            if (text := file.read_text().strip()).startswith(WORLDWIDE):
                yield f"disk {text}"


def _below(folder: Path) -> Iterator[str]:
    real = folder.resolve()
    parent = [real.parent] if (real / "partition").exists() else []
    for device in (*parent, *(slave.resolve() for slave in (real / "slaves").glob("*"))):
        with suppress(OSError):
            major, _, minor = (device / "dev").read_text().strip().partition(":")
            yield from _of_device(device, os.makedev(int(major), int(minor)))
            yield from _below(device)
    with suppress(OSError):
        yield from marks((real / "loop/backing_file").read_text().rstrip("\n"), {})
