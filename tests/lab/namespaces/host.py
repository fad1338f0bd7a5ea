# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: switched on, entered, asked how it is, and its power cut. What it has to do with other hosts is in lab.py."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, net, process
from .errors import LabError

INIT = Path(__file__).parent / "init.py"
BOOT = 120.0  # seconds; a boot takes three, many at once on a busy machine take their time
PYTHON = "/usr/bin/python3"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": os.environ.get("TERM", "dumb"),
}


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a lab, whether it runs or not. `folder` is its disk and its logs; `index` is the lab's place in 10.77/16."""

    lab: str
    index: int
    number: int
    folder: Path

    @property
    def name(self) -> str:
        return f"h{self.number}"

    @property
    def address(self) -> str:
        return net.address(self.index, self.number)

    @property
    def group(self) -> str:
        return f"{self.lab}/{self.name}"

    @property
    def netns(self) -> str:
        return f"dos-lab-{self.lab}-{self.name}"

    @property
    def control(self) -> str:
        return f"dos-lab-{self.lab}-ctl"

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    # State

    def pid(self) -> int | None:
        """Its PID 1 as the machine numbers it; `None` when it is off, or the number belongs to somebody else by now."""
        try:
            pid = int((self.folder / "pid").read_text())
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            alive = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (OSError, ValueError):
            return None
        return pid if alive and f"/{cgroups.TOP}/{self.group}" in groups else None

    def last_words(self, lines: int = 20) -> str:
        """What it said before and after systemd took over; its journal is on its disk, so a dead host has one too."""
        console = self.console.read_text(errors="replace") if self.console.exists() else ""
        folder = self.upper / "var" / "log" / "journal"
        command = ["journalctl", "--no-pager", "--quiet", f"--directory={folder}", f"--lines={lines}"]
        journal = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "\n".join(f"  {self.name}: {line}" for line in (console + journal).splitlines())

    # Power

    @contextlib.contextmanager
    def boot(self) -> Iterator[None]:
        """Switches it on; leaving the context waits until systemd has started everything, so hosts can boot side by side."""
        if self.pid() is not None:
            yield
            return
        self.clear()
        cgroups.create(self.group)
        net.create_host(self.netns, self.control, self.index, self.number, self.name)
        with _listener(self.folder / "notify") as told:
            pid = self._start()
            yield
            self._wait(told, pid)

    def _start(self) -> int:
        for name in ("root", "work"):
            (self.folder / name).mkdir(exist_ok=True)
        paths = {name: str(self.folder / name) for name in ("upper", "work", "root", "notify")}
        paths["shared"] = str(self.folder.parents[1] / "shared")
        paths["console"], paths["netns"] = str(self.console), str(net.NETNS / self.netns)
        words = {"name": self.name, "group": self.group, **paths}
        done = subprocess.run([PYTHON, str(INIT), json.dumps(words)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{self.name} cannot be made: {done.stderr.strip()}")
        (self.folder / "pid").write_text(done.stdout)
        return int(done.stdout)

    def _wait(self, told: socket.socket, pid: int) -> None:
        """Until systemd says READY=1, or dies."""
        if process.tells(told, pid, BOOT, b"READY=1"):
            return
        what = "ended while it booted" if self.pid() is None else f"is not up after {BOOT:.0f} s"
        raise LabError(f"{self.name} {what}:\n{self.last_words()}")

    def crash(self) -> None:
        """Power loss: processes, memory and the network's state are gone at once; the disk stays."""
        if (cgroups.hierarchies()[0].group(self.group)).is_dir():
            cgroups.freeze(self.group, False)  # SIGKILL waits for a frozen process to thaw
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.clear()

    def clear(self) -> None:
        """Nothing of it is left but its disk; also what a crash of the lab itself left."""
        cgroups.kill(self.group)
        net.delete_host(self.netns, self.control, self.name)
        cgroups.remove(self.group)
        for name in ("pid", "notify"):
            (self.folder / name).unlink(missing_ok=True)

    # Inside

    def command(self, *words: str) -> list[str]:
        """The command line that runs a command in the host; without words, a shell."""
        pid = self.pid()
        if pid is None:
            raise LabError(f"{self.name} is off: lab.py boot {self.name}")
        if cgroups.is_frozen(self.group):
            raise LabError(f"{self.name} is frozen: lab.py thaw {self.name}")
        return ["nsenter", "--target", str(pid), "--all", "--root", "--wd", *(words or ("bash", "--login"))]

    def join(self) -> None:
        """Makes the calling process one of the host's: faults hold for it, and it ends with the host."""
        cgroups.join(self.group)

    def run(
        self, *words: str, timeout: float = process.PATIENCE, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command in the host, not by its network: what a person would do on its console."""
        return process.run(
            self.command(*words), where=self.name, words=words, enter=self.join, timeout=timeout, check=check, env=ENVIRONMENT
        )  # fmt: skip


@contextlib.contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    """A datagram socket at a path that may be longer than an address of its kind allows."""
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
            told.bind(f"/proc/self/fd/{folder}/{path.name}")
            yield told
    finally:
        os.close(folder)
        path.unlink(missing_ok=True)
