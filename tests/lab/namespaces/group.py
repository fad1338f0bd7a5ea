# SPDX-License-Identifier: GPL-3.0-or-later
"""What is up together under one name: its folder and lock, its place on this machine, its keys; made whole or not at all.

Labs of hosts (lab.py) and groups of kernels (tests/kernel) are two kinds of it. What they are made of is left to them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from . import kernel, net, process
from .errors import LabError

TREE = Path(__file__).resolve().parents[3]


class Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class Group:
    """By name, up or not. Names are short words: they become names of namespaces, of cgroups and of files in /run."""

    name: str

    #: What a person calls one, and the program that makes it.
    CALLED: ClassVar[str]
    PROGRAM: ClassVar[str]
    #: Where the folders of all of them are; the one of this name has the first /24 of their network.
    FOLDERS: ClassVar[Path]
    DEFAULT: ClassVar[str]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", self.name):
            raise LabError(f"{self.name!r} cannot name a {self.CALLED}: up to 16 lower-case letters and digits")

    @property
    def folder(self) -> Path:
        return self.FOLDERS / self.name

    @property
    def index(self) -> int:
        """Which /24. Groups cannot see each other, so two with the same only confuse people."""
        return 0 if self.name == self.DEFAULT else 1 + zlib.crc32(self.name.encode()) % 255

    @property
    def control(self) -> str:
        """The network namespace from which everything in it can be reached."""
        raise NotImplementedError

    @property
    def shared(self) -> Path:
        """What everything in it sees as /srv/shared."""
        return self.folder / "shared"

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def _write_ssh(self, places: Iterable[tuple[str, str, str]], more: str) -> str:
        """The ssh configuration for `(name, address, public host key)`; returns what is written to known_hosts."""
        known, config = "", ""
        for name, address, public in places:
            known += f"{address},{name} {' '.join(public.split()[:2])}\n"
            config += f"Host {name}\n  HostName {address}\n"
        self.known_hosts.write_text(known)
        self.ssh_config.write_text(
            f"{config}Host *\n  User root\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  StrictHostKeyChecking yes\n{more}"
        )
        return known

    def _named(self, name: str, among: Sequence[N]) -> N:
        found = {each.name: each for each in among}
        if name not in found:
            raise LabError(f"{self.CALLED} {self.name} has no {name}; it has {', '.join(found) or 'none'}")
        return found[name]

    # Up and down

    @contextlib.contextmanager
    def _made_whole(self) -> Iterator[None]:
        """Alone; what was not there before is gone again when this fails."""
        fresh = not self.folder.exists()
        if fresh and (net.NETNS / self.control).exists():
            raise LabError(f"a {self.CALLED} named {self.name} is up, made from another tree")
        try:
            with self._alone():
                yield
        except BaseException:
            if fresh:
                self.down()
            raise

    def down(self) -> None:
        """Leaves nothing, also of what did not come up or whose folder was deleted under it."""
        raise NotImplementedError

    def _leave_nothing(self) -> None:
        """The end of `down`, once what was in it has no power any more."""
        process.end(net.processes(self.control))
        net.delete(self.control)
        net.forget_netns()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._lock.unlink(missing_ok=True)

    @property
    def _lock(self) -> Path:
        return self.FOLDERS / f"{self.name}.lock"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # From the control namespace

    def enter_control(self) -> None:
        """Moves the calling process to where everything in it can be reached, and nothing else."""
        if not (net.NETNS / self.control).exists():
            raise LabError(f"{self.CALLED} {self.name} is not up: {self.PROGRAM} --name {self.name} up")
        kernel.enter(str(net.NETNS / self.control))


def keygen(path: Path, comment: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def name_of_mine(letter: str) -> str:
    """A name that says which process it belongs to, so that what a killed one left can be told from what is in use."""
    return f"{letter}{os.getpid()}"


def orphans(names: Iterable[str]) -> list[str]:
    """Those whose process is no more."""
    owners = {name: re.fullmatch(r"[tuvw](\d+)", name) for name in names}
    return [name for name, owner in owners.items() if owner and not Path("/proc", owner[1]).exists()]
