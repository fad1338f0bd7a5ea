# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that are read instead of written by QEMU: it serves the disks as they were at one moment over NBD, on a socket that only
root and QEMU reach, and they are read from there into files that are ours alone.

Of an incremental backup only the blocks are read that the mark of the one before says have changed. See
https://libvirt.org/kbase/live_full_disk_backup.html and qemu-img(1); no other NBD client is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import durable
from ..errors import HypervisorError
from ..xml.build import E, parse
from .connection import allowing
from .pushed import owner_of

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ROOM = "/var/lib/libvirt/qemu"  # where QEMU may have sockets, whatever confines it
BITMAP = "changed"
PIECE = 2**24  # bytes read at once


@contextmanager
def served(domain: Any) -> Iterator[Path]:
    """A folder for the socket and for what QEMU keeps meanwhile, its own and root's; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dosvm-backup-", dir=ROOM))
    try:
        folder.chmod(0o700)
        if (owner := owner_of(parse(domain.XMLDesc()))) is not None:
            os.chown(folder, *owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def element(folder: Path, targets: Iterator[str], since: str | None) -> Element:
    """The backup as virDomainBackupBegin takes it."""
    return E(
        "domainbackup",
        E("incremental", since) if since else None,
        E("server", transport="unix", socket=folder / "nbd"),
        E("disks", [_disk(folder, target, since) for target in targets]),
        mode="pull",
    )


def _disk(folder: Path, target: str, since: str | None) -> Element:
    scratch = E("scratch", file=folder / f"{target}.scratch")
    exported = {"exportname": target, **({"exportbitmap": BITMAP} if since else {})}
    return E("disk", E("driver", type="qcow2"), scratch, name=target, backup="yes", type="file", **exported)


def read(domain: Any, folder: Path, files: Mapping[str, Path], *, changed: bool, seconds: float) -> None:
    """Read each disk into its file, whole or what has changed, and end the serving. Raises `HypervisorError`."""
    deadline = time.monotonic() + seconds
    try:
        for target, path in files.items():
            url = f"nbd+unix:///{target}?socket={folder / 'nbd'}"
            half = path.with_name(f"{path.name}.part")
            half.unlink(missing_ok=True)
            if changed:
                _changed(url, folder / "nbd", target, half, deadline)
            else:
                _run(deadline, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", url, str(half))
            durable.settle(half)
            durable.move(half, path)
    finally:
        with allowing("VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_DOMAIN"):  # the guest went off
            domain.abortJob()
        for path in files.values():
            with suppress(FileNotFoundError):
                path.with_name(f"{path.name}.part").unlink()


def _changed(url: str, socket: Path, target: str, half: Path, deadline: float) -> None:
    """A file with the changed blocks alone: layered over the served disk, each of them is copied up by being read."""
    _run(deadline, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", url, str(half))
    pieces = [
        f"read -q {start} {min(PIECE, end - start)}"
        for begin, end in _dirty(socket, target, deadline)
        for start in range(begin, end, PIECE)
    ]
    if pieces:
        _run(deadline, "qemu-io", "-C", "-f", "qcow2", str(half), text="\n".join([*pieces, "quit", ""]))
    # What was served is gone in a moment; what it is layered over is said by whoever keeps the chain.
    _run(deadline, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", str(half))


def _dirty(socket: Path, target: str, deadline: float) -> Iterator[tuple[int, int]]:
    """Where the disk has changed since the mark, begin and end in bytes."""
    options = (
        f"driver=nbd,export={target},server.type=unix,server.path={socket},x-dirty-bitmap=qemu:dirty-bitmap:{BITMAP}"
    )
    told = _run(deadline, "qemu-img", "map", "--output=json", "--image-opts", options)
    for extent in json.loads(told):
        if not extent["data"]:  # QEMU tells a dirty block so when it reads a bitmap for a map
            yield extent["start"], extent["start"] + extent["length"]


def _run(deadline: float, *command: str, text: str | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=max(deadline - time.monotonic(), 1),
        )
    except subprocess.TimeoutExpired:
        raise HypervisorError(f"run {command[0]} {command[1]}", "not done within the time, and given up") from None
    # qemu-io says what failed and ends well all the same.
    if done.returncode or (text is not None and "failed" in done.stdout + done.stderr):
        raise HypervisorError(f"run {command[0]} {command[1]}", (done.stderr + done.stdout).strip())
    return done.stdout
