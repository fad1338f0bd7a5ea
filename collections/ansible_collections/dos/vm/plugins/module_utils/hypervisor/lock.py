# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a libvirtd: a file lock that names who has it.

All URIs and all users that reach a libvirtd lock one file. Users who may not use the libvirtd can neither hold the lock nor keep
others from it: they cannot open the file, and what they put in its place is removed by root and refused by others.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from ..errors import HypervisorError
from .reached import Reached, reached

# Folders where every user may make a file and only its owner and root may remove it. The first that a machine has is used.
FOLDERS = (Path("/run/lock"), Path("/dev/shm"), Path(tempfile.gettempdir()))
OPENED = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
ATTEMPTS = 10  # to open a file that another run makes or removes at the same moment


@contextmanager
def lock_file(uri: str, hostname: str = "") -> Iterator[TextIO]:
    """The file that runs on the libvirtd of `uri` lock, opened; it stays, for removing it would let two runs hold it.

    `hostname` as for `reached`. Raises `HypervisorError` for a user who may not use that libvirtd.
    """
    at = reached(uri, hostname)
    with os.fdopen(_opened(at, file_of(at)), "r+") as held:
        yield held


def file_of(at: Reached) -> Path:
    """Where the lock is: the same for every user, but that a user's own libvirtd has it in that user's folder."""
    name = f"dos-vm-{hashlib.sha256(at.key.encode()).hexdigest()[:12]}.lock"
    return next(folder for folder in _folders(at) if folder.is_dir()) / name


def _folders(at: Reached) -> Iterator[Path]:
    own = Path("/run/user", str(at.owner))
    if at.owner and own.is_dir() and own.stat().st_uid == at.owner:
        yield own
    for folder in FOLDERS:
        if folder.is_dir() and folder.stat().st_mode & stat.S_ISVTX and folder.stat().st_mode & stat.S_IWOTH:
            yield folder
    yield FOLDERS[-1]


def _opened(at: Reached, path: Path) -> int:
    for _ in range(ATTEMPTS):
        with suppress(FileNotFoundError, FileExistsError):
            descriptor = _open_or_make(at, path)
            if _trusted(at, path, descriptor):
                return descriptor
            os.close(descriptor)
    raise _refused(f"{path} comes and goes; run again")


def _open_or_make(at: Reached, path: Path) -> int:
    try:
        return os.open(path, OPENED)
    except FileNotFoundError:
        # Never O_CREAT on a file that is there: in such a folder Linux refuses that to all but its owner.
        descriptor = os.open(path, OPENED | os.O_CREAT | os.O_EXCL, 0o600)
        _opened_to_users(at, descriptor)
        return descriptor
    except PermissionError:
        text = f"{path} is not for this user: run as root (become: true), or as a user whom libvirt's socket is for"
        raise _refused(text) from None
    except OSError as broken:  # a link, a socket
        if os.geteuid():
            raise _refused(f"{path} is no lock of dos.vm ({broken.strerror}): remove it as root") from None
        path.unlink(missing_ok=True)
        raise FileNotFoundError(path) from broken


def _trusted(at: Reached, path: Path, descriptor: int) -> bool:
    """Whether the opened file may be locked; root takes it over, and removes one of a user who may not use the libvirtd."""
    status = os.fstat(descriptor)
    fit = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and at.admits(status.st_uid)
    if fit and not os.geteuid():
        _opened_to_users(at, descriptor)
    if not fit and status.st_nlink:
        if os.geteuid():
            owner = _user(status.st_uid)
            text = f"{path} is a file of {owner}, who may not use this libvirtd: remove it as root"
            os.close(descriptor)
            raise _refused(text)
        path.unlink(missing_ok=True)
    return fit


def _opened_to_users(at: Reached, descriptor: int) -> None:
    """Exactly the users of the socket may write the file; what only root may change is left where we are not."""
    with suppress(PermissionError):
        os.fchown(descriptor, -1 if os.geteuid() else at.owner, at.group)
    with suppress(PermissionError):
        os.fchmod(descriptor, at.mode)


def _refused(text: str) -> HypervisorError:
    return HypervisorError("lock the host", text)


def wait_for(held: TextIO, deadline: float, step: float) -> None:
    """Lock it, or raise `HypervisorError` with who has it when `deadline` (monotonic seconds) has passed."""
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                text = f"another run of dos.vm holds it ({_holder(held)}); wait for its end, or end it"
                raise _refused(text) from None
        time.sleep(step)
    if not os.fstat(held.fileno()).st_nlink:
        raise _refused("its file was removed meanwhile; run again")


def _holder(held: TextIO) -> str:
    """The process that has it, by what it wrote, and that process's user."""
    held.seek(0)
    number = held.read(20).strip()
    if not number.isdecimal():
        return "process unknown"
    with suppress(OSError):
        return f"process {number} of {_user(os.stat(f'/proc/{number}').st_uid)}"
    return f"process {number}"


def _user(number: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return f"user {number}"


@contextmanager
def noted(held: TextIO) -> Iterator[bool]:
    """Our process in the locked file, for as long as it lasts. Yields whether one is still there: that run was killed."""
    held.seek(0)
    killed = bool(held.read(20).strip())
    _write(held, str(os.getpid()))
    try:
        yield killed
    finally:
        _write(held, "")


def _write(held: TextIO, text: str) -> None:
    held.seek(0)
    held.truncate()
    held.write(text)
    held.flush()
