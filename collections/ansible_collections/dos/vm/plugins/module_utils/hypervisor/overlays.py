# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlays of disks that forget, in the directory declared for them; see `model/overlay.py` for why they are links.

libvirt makes an overlay at every start, whoever starts the machine, and removes it at every stop. What it cannot do is remove
one that a crash of the host left, and it refuses to start over it: that is done here, before a start (IMG-04).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HypervisorError
from ..model.overlay import FOLDER, overlay_of, split
from ..model.types import ByteSize

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ROOM = ByteSize("1 GiB")  # what an overlay gets to write before the disk may be full, unless its image is smaller
SEARCHABLE = 0o711  # QEMU is another user, and need not see what else there is


def prepare(domain: Element) -> None:
    """The links that a definition names are made; where one cannot be, a `HypervisorError` says which and why."""
    for path in _transient(domain):
        directory, image = split(path)
        if directory is None or _is_link_to(path, image):
            continue
        try:
            _make(Path(path), Path(directory), image)
        except OSError as refused:
            operation = f"make the overlay directory of domain {domain.findtext('name')}"
            raise HypervisorError(operation, f"{refused.filename or path}: {refused.strerror}") from None


def clear(domain: Element) -> None:
    """Remove the overlays of a machine that does not run: a crash of the host left them."""
    name = domain.findtext("name") or ""
    for path in _transient(domain):
        with suppress(FileNotFoundError):
            os.unlink(overlay_of(path, name))


def forget(domain: Element) -> None:
    """Remove the links and overlays of a machine that is no more."""
    clear(domain)
    name = domain.findtext("name") or ""
    for path in _transient(domain):
        directory, _ = split(path)
        if directory is not None:
            _remove(Path(path), Path(directory, FOLDER, name).parent)


def cramped(domain: Element) -> Iterator[str]:
    """Why there is no room for the overlays of a machine, a sentence for each directory (DMN-04)."""
    wanted: dict[Path, int] = {}
    for path in _transient(domain):
        if os.path.exists(path):
            folder = Path(path).parent
            # Each may be written full of its own, and several share what is free.
            wanted[folder] = wanted.get(folder, 0) + min(ROOM, max(os.stat(path).st_size, 2**20))
    shared: dict[int, int] = {}
    for folder, need in wanted.items():
        found, device = os.statvfs(folder), os.stat(folder).st_dev
        shared[device] = shared.get(device, 0) + need
        free = found.f_bavail * found.f_frsize
        if free < shared[device]:
            said = split(f"{folder}/x")[0] or folder
            text = f"{said} has {ByteSize(free // 2**20 * 2**20)} free, too little for a temporary overlay (DMN-04)"
            yield f"{text}: free some, or declare another directory with overlays in dos_storage or dos_host_settings"
            return


def _transient(domain: Element) -> Iterator[str]:
    """The paths that a definition names for disks that forget."""
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source[@file]")
        if disk.find("transient") is not None and source is not None:
            yield source.get("file", "")


def _is_link_to(path: str, image: str) -> bool:
    try:
        return os.readlink(path) == image
    except OSError:
        return False


def _make(path: Path, directory: Path, image: str) -> None:
    # The directory is the operator's: it is made where it is missing, and its rights are left as they are.
    directory.mkdir(mode=SEARCHABLE, parents=True, exist_ok=True)
    made = [folder for folder in path.parents if directory in folder.parents]
    for folder in reversed(made):
        folder.mkdir(exist_ok=True)
        folder.chmod(SEARCHABLE)
    draft = path.with_name(f".{path.name}.link")
    draft.unlink(missing_ok=True)
    draft.symlink_to(image)
    draft.replace(path)


def _remove(path: Path, root: Path) -> None:
    """Remove a link, and above it what is empty then."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == root:
                break
            folder.rmdir()
