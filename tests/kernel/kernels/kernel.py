# SPDX-License-Identifier: GPL-3.0-or-later
"""One kernel: booted as a process of this machine, watched, and killed. Its neighbours are in lab.py.

What every kernel has is here; how one of a kind is started, and what its PID 1 is told of that, is the kind's: uml.py, tcg.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from namespaces import kernel, net, process
from namespaces.errors import LabError

INIT = Path(__file__).parent / "init.py"
BOOT = 180.0  # seconds; a boot takes seven or twenty, several at once on a busy machine take their time
MEMORY = 2048  # MiB, of which the machine gives only what is touched
DISK = 1 << 30  # bytes, sparse on the machine


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of a lab, whether it runs or not. `folder` holds its console and its disks."""

    lab: str
    index: int
    number: int
    folder: Path

    #: Its blank disks as they are called in /dev: what tests partition, and make volume groups of.
    DISKS: ClassVar[tuple[str, ...]]
    #: How many times longer than on the machine one should wait for what runs in it.
    SLOWER: ClassVar[int]
    #: Programs of the machine that start it, each with the package of tools/apt.txt that brings it.
    PROGRAMS: ClassVar[Mapping[str, str]]

    @property
    def name(self) -> str:
        return f"k{self.number}"

    @property
    def address(self) -> str:
        return address(self.index, self.number)

    @property
    def control(self) -> str:
        return f"dos-kernel-{self.lab}"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def mac(self) -> str:
        return net.mac(self.index, self.number, 2)

    @property
    def mark(self) -> str:
        """A word of its process's command line that no other process has."""
        return f"{self.control}-{self.name}"

    # What a kind says of itself

    @classmethod
    def missing(cls) -> Iterator[str]:
        """Why none of this kind can be booted here, beyond programs that are not installed."""
        raise NotImplementedError

    def _told(self, shared: Path) -> dict[str, object]:
        """What init.py must know of the kind; `shared` is the machine's folder that is to be /srv/shared."""
        raise NotImplementedError

    def _start(self, shared: Path) -> int:
        """The process that is the kernel; it ends when the kernel does."""
        raise NotImplementedError

    # State

    def pid(self) -> int | None:
        """Its process; `None` when there is none, or the number belongs to another program by now."""
        try:
            pid = int((self.folder / "pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if self.mark.encode() in words else None

    def last_words(self, lines: int = 40) -> str:
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(f"  {self.name}: {line}" for line in text.splitlines()[-lines:])

    # Power

    @contextlib.contextmanager
    def boot(self, told: Mapping[str, object], shared: Path) -> Iterator[None]:
        """Starts it; leaving the context waits until it takes commands, so kernels can boot side by side."""
        if self.pid() is not None:
            yield
            return
        self.crash()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.console.write_bytes(b"")
        net.batch(self.control, [f"tuntap add {self.name} mode tap", f"link set {self.name} master lan up"])
        with _listener(self.control) as ready:
            words = {**told, "name": self.name, "address": self.address, "ready": ready.getsockname()[1]}
            words |= {"disks": self.DISKS, "slower": self.SLOWER, **self._told(shared)}
            (self.folder / "told.json").write_text(json.dumps(words))
            pid = self._start(shared)
            (self.folder / "pid").write_text(str(pid))
            yield
            self._wait(ready, pid)

    def _words(self) -> list[str]:
        """For the kernel's command line: who is PID 1, and what it is told."""
        return [f"init={INIT}", f"dos.kernel={self.folder / 'told.json'}", "panic=-1"]

    def _disk(self, name: str) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            file.truncate(DISK)
        return path

    def _process(
        self, command: Sequence[str], *, program: str | None = None, handles: Sequence[int] = (), **environment: str
    ) -> int:
        """Starts one of its processes in the control namespace, its words on the console; it outlives us."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment}
        with self.console.open("ab") as console:
            started = subprocess.Popen(
                command, executable=program, env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                cwd="/", start_new_session=True, pass_fds=handles,
                preexec_fn=lambda: kernel.enter(str(net.NETNS / self.control)),
            )  # fmt: skip
        threading.Thread(target=started.wait, daemon=True).start()  # no zombie while we live
        return started.pid

    def _wait(self, ready: socket.socket, pid: int) -> None:
        """Until its PID 1 says that sshd listens, or it ends."""
        if process.tells(ready, pid, BOOT):
            return
        what = "ended while it booted" if self.pid() is None else f"is not up after {BOOT:.0f} s"
        raise LabError(f"{self.name} {what}:\n{self.last_words()}")

    def crash(self) -> None:
        """Ends it and whatever it runs at once; nothing of it stays but its console and the blocks of its disks."""
        process.end([*_session(self.pid()), *_helpers(self.mark)])
        with contextlib.suppress(RuntimeError):
            net.batch(self.control, [f"link del {self.name}"])
        (self.folder / "pid").unlink(missing_ok=True)


def address(index: int, number: int) -> str:
    """In 10.79/16; number 0 is the control namespace."""
    return f"10.79.{index}.{10 + number if number else 1}"


def _processes(name: str) -> Iterable[Path]:
    return Path("/proc").glob(f"[0-9]*/{name}")


def _session(leader: int | None) -> list[int]:
    """A kernel's processes on this machine, the leader first: those of its programs are its children."""
    if leader is None:
        return []
    found = []
    for path in _processes("stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(path.parent.name))
    return sorted({leader, *found}, key=lambda pid: pid != leader)


def _helpers(mark: str) -> list[int]:
    """Processes that serve a kernel, started before it: the first word of their command line is `PROGRAM@MARK`."""
    found = []
    for path in _processes("cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().partition(b"\0")[0].endswith(f"@{mark}".encode()):
                found.append(int(path.parent.name))
    return found


@contextlib.contextmanager
def _listener(control: str) -> Iterator[socket.socket]:
    """A socket in the control namespace, on a port of its own; a thread enters the namespace, we stay where we are."""
    made: list[socket.socket] = []

    def make() -> None:
        kernel.enter(str(net.NETNS / control))
        made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made:
        raise LabError(f"no socket in {control}")
    with made[0] as ready:
        ready.bind(("", 0))
        yield ready
