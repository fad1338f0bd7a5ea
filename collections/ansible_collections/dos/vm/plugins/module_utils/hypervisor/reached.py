# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libvirtd a URI reaches, whatever the URI's spelling, and which users may reach it.

https://libvirt.org/uri.html. Nothing is asked of libvirt for one of this machine: its socket identifies it.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

RUN = Path("/run/libvirt")
# Sockets of libvirt's own daemons: a monolithic one, one for each driver, and a proxy of those.
SOCKETS = ("libvirt-sock", "virt{driver}d-sock", "virtproxyd-sock")
POLKIT = "libvirt"  # the group that distributions allow everything
LOOPBACK = frozenset(("localhost", "localhost.localdomain", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """One libvirtd.

    `key` is the same for all URIs that reach it. `owner` is the user whom it belongs to, `group` the one whose members may change
    what it holds as well, -1 for none.
    """

    key: str
    owner: int
    group: int = -1

    @property
    def mode(self) -> int:
        """The permissions of a file that exactly these users may write."""
        return 0o600 if self.group < 0 else 0o660

    def admits(self, user: int) -> bool:
        """Whether a user may change what this libvirt holds."""
        return user in (0, self.owner) or (self.group >= 0 and self.group in _groups(user))


def reached(uri: str, hostname: str = "", run: Path = RUN) -> Reached:
    """What `uri` reaches. `hostname` is what the libvirtd says that its host is called, where the URI names one."""
    parts = urlsplit(uri)
    driver = parts.scheme.partition("+")[0]
    level = parts.path.strip("/") or "default"
    given = parse_qs(parts.query).get("socket", [""])[0]
    if driver != "qemu" or level not in ("system", "session"):
        return Reached(key=f"{os.geteuid()} {uri}", owner=os.geteuid())  # private to its process, or not one of ours
    if is_elsewhere(uri) and hostname not in _own_names():
        user = parts.username or ""
        where = hostname or parts.hostname
        return Reached(key=f"{os.geteuid()} {driver} {user}@{where}:{parts.port} {level}", owner=os.geteuid())
    return _local(driver, level, unquote(given), run)


def is_local_qemu(uri: str) -> bool:
    """Whether a URI names no host, so that what libvirt keeps in files is here."""
    return urlsplit(uri).scheme.partition("+")[0] == "qemu" and ":///" in uri


def is_elsewhere(uri: str) -> bool:
    """Whether a URI names a host that is not plainly this one: only its libvirtd can tell which it is."""
    return (urlsplit(uri).hostname or "localhost").casefold() not in LOOPBACK | _own_names()


def _local(driver: str, level: str, given: str, run: Path) -> Reached:
    own = list(_sockets(driver, run)) if level == "system" else []
    found = _status(given) if given else next(iter(own), None)
    if given and found is not None and _inode(found) not in map(_inode, own):
        return Reached(key=f"{driver} socket {os.path.realpath(given)}", owner=found.st_uid, group=_group(found))
    if level == "session":
        return Reached(key=f"{driver} session {os.geteuid()}", owner=os.geteuid())
    return Reached(key=f"{driver} system", owner=0, group=_group(found))


def _sockets(driver: str, run: Path) -> Iterator[os.stat_result]:
    for name in SOCKETS:
        found = _status(run / name.format(driver=driver))
        if found is not None:
            yield found


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _group(found: os.stat_result | None) -> int:
    """The users of a socket besides its owner. One that is open to all is guarded by polkit, whose rule is for a group."""
    if found is None or not found.st_mode & stat.S_IWGRP:
        return -1
    if not found.st_mode & stat.S_IWOTH:
        return found.st_gid
    with suppress(KeyError):
        return grp.getgrnam(POLKIT).gr_gid
    return -1


def _own_names() -> frozenset[str]:
    name = socket.gethostname().casefold()
    return frozenset((name, name.partition(".")[0]))


def _groups(user: int) -> list[int]:
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return []
    return os.getgrouplist(entry.pw_name, entry.pw_gid)
