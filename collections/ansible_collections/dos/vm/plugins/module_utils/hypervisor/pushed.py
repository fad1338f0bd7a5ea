# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that QEMU writes itself: a folder of its own in the directory of the backups, from which the files go to root's hands.

QEMU runs as another user. The directory stays root's; QEMU can pass through it, write into its folder while a backup is made, and
read no backup that is done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConflictError
from ..xml.build import E

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

Owner = tuple[int, int]
ROOM = ".taking-"
PASSABLE = 0o711


def owner_of(xml: Element) -> Owner | None:
    """Who QEMU is, as its DAC label says (`+64055:+64055`); `None` where it is root."""
    label = xml.findtext("seclabel[@model='dac']/label") or ""
    user, found, group = label.replace("+", "").partition(":")
    return (int(user), int(group)) if found and user.isdigit() and group.isdigit() else None


def element(files: Mapping[str, Path], since: str | None) -> Element:
    """The backup as virDomainBackupBegin takes it: by target, the file that QEMU writes."""
    disks = (
        E("disk", E("driver", type="qcow2"), E("target", file=path), name=target, backup="yes", type="file")
        for target, path in files.items()
    )
    return E("domainbackup", E("incremental", since) if since else None, E("disks", disks), mode="push")


@contextmanager
def room(directory: Path, owner: Owner | None) -> Iterator[Path]:
    """A folder that QEMU writes into, gone afterwards. Raises `ConflictError` where QEMU's user does not reach it."""
    for left in directory.glob(f"{ROOM}*"):
        shutil.rmtree(left, ignore_errors=True)  # of a call that was killed
    folder = Path(tempfile.mkdtemp(prefix=ROOM, dir=directory))
    try:
        if owner is not None:
            os.chown(folder, *owner)
            if not writes(folder, owner):
                raise ConflictError(unreachable(directory, owner))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reaches(directory: Path, owner: Owner | None) -> bool:
    """Whether QEMU's user comes as far as a directory, or as far as the nearest one above it that is there."""
    return owner is None or _passes(_there(directory), owner)


def unreachable(directory: Path, owner: Owner) -> str:
    """Why not, and what to do: the first directory on the way that keeps it out."""
    way = [*reversed(_there(directory).parents), _there(directory)]
    closed = next((folder for folder in way if not _passes(folder, owner)), directory)
    return (
        f"QEMU runs as user {owner[0]} and does not get through {closed} to {directory}: "
        f"let it pass (setfacl -m u:{owner[0]}:x {closed}), or use mode: pull"
    )


def take(room: Path, files: Mapping[str, Path]) -> None:
    """Take the files that QEMU has written: root's alone, and in their place."""
    for path in files.values():
        written = room / path.name
        os.chown(written, 0, 0)
        written.chmod(0o600)
        written.replace(path)


def _there(directory: Path) -> Path:
    return next(folder for folder in (directory, *directory.parents) if folder.exists())


def _passes(folder: Path, owner: Owner) -> bool:
    return _may(("-x", folder), owner)


def writes(folder: Path, owner: Owner) -> bool:
    """Whether a user may make files in a folder."""
    return _may(("-w", folder), owner)


def _may(asked: Iterable[str | Path], owner: Owner) -> bool:
    """What test(1) says as another user: it minds the parents, ACLs and how a file system is mounted."""
    command = ["/usr/bin/test", *map(str, asked)]
    return subprocess.run(command, user=owner[0], group=owner[1], extra_groups=[owner[1]], check=False).returncode == 0
