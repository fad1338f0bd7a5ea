# SPDX-License-Identifier: GPL-3.0-or-later
"""One kernel: booted as a process of this machine, asked to run commands, and killed. Its neighbours are in lab.py.

https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html is the manual.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from namespaces import kernel, net
from namespaces.host import LabError

PROGRAM = "/usr/bin/linux.uml"
INIT = Path(__file__).parent / "init.py"
BOOT = 180.0  # seconds; a boot takes seven, several at once on a busy machine take their time
MEMORY = 2048  # MiB, of which the machine gives only what is touched
#: Blank disks, /dev/ubda and on, sparse on the machine: what tests partition, and make volume groups of.
DISKS = {"ubda": 1 << 30, "ubdb": 1 << 30}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of a lab, whether it runs or not. `folder` holds its console and its disks."""

    lab: str
    index: int
    number: int
    folder: Path

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

    # State

    def pid(self) -> int | None:
        """Its process; `None` when there is none, or the number belongs to another program by now."""
        try:
            pid = int((self.folder / "pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if f"umid={self.control}-{self.name}".encode() in words else None

    def last_words(self, lines: int = 40) -> str:
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(f"  {self.name}: {line}" for line in text.splitlines()[-lines:])

    # Power

    @contextlib.contextmanager
    def boot(self, told: Mapping[str, object]) -> Iterator[None]:
        """Starts it; leaving the context waits until it takes commands, so kernels can boot side by side."""
        if self.pid() is not None:
            yield
            return
        self.crash()
        self.folder.mkdir(parents=True, exist_ok=True)
        _plug(self.control, self.name)
        with _listener(self.control) as ready:
            words = {**told, "name": self.name, "address": self.address, "ready": ready.getsockname()[1]}
            (self.folder / "told.json").write_text(json.dumps(words))
            pid = self._start()
            yield
            self._wait(ready, pid)

    def _command(self) -> list[str]:
        disks = [f"ubd{number}={self._disk(name)}" for number, name in enumerate(DISKS)]
        return [
            PROGRAM, f"mem={MEMORY}M", f"umid={self.control}-{self.name}", f"uml_dir={self.folder}/",
            "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={INIT}", f"dos.kernel={self.folder / 'told.json'}",
            *disks, f"vec0:transport=tap,ifname={self.name},depth=128,gro=1,mac={net.mac(self.index, self.number, 2)}",
            "con=null", "ssl=null", "con0=fd:0,fd:1", "noreboot", "panic=-1", "quiet",
        ]  # fmt: skip

    def _disk(self, name: str) -> Path:
        path = self.folder / name
        with path.open("wb") as file:
            file.truncate(DISKS[name])
        return path

    def _start(self) -> int:
        # Its memory is a file that is deleted at once; on a disk the machine would write it back all the time.
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": "/dev/shm"}
        with self.console.open("wb") as console:
            process = subprocess.Popen(
                self._command(), env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console, cwd="/",
                start_new_session=True, preexec_fn=lambda: kernel.enter(str(net.NETNS / self.control)),
            )  # fmt: skip
        threading.Thread(target=process.wait, daemon=True).start()  # no zombie while we live
        (self.folder / "pid").write_text(str(process.pid))
        return process.pid

    def _wait(self, ready: socket.socket, pid: int) -> None:
        """Until its PID 1 says that sshd listens, or it ends."""
        deadline = time.monotonic() + BOOT
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            try:
                while (left := deadline - time.monotonic()) > 0:
                    readable, _, _ = select.select([ready, process], [], [], left)
                    if ready in readable:
                        return
                    if process in readable:
                        break
            finally:
                os.close(process)
        what = "ended while it booted" if self.pid() is None else f"is not up after {BOOT:.0f} s"
        raise LabError(f"{self.name} {what}:\n{self.last_words()}")

    def crash(self) -> None:
        """Ends it and whatever it runs at once; nothing of it stays but its console and the blocks of its disks."""
        for pid in _session(self.pid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        with contextlib.suppress(RuntimeError):
            net.batch(self.control, [f"link del {self.name}"])
        (self.folder / "pid").unlink(missing_ok=True)


def address(index: int, number: int) -> str:
    """In 10.79/16; number 0 is the control namespace."""
    return f"10.79.{index}.{10 + number if number else 1}"


def _session(leader: int | None) -> list[int]:
    """A kernel's processes on this machine, the leader first: those of its programs are its children."""
    if leader is None:
        return []
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(path.parent.name))
    return sorted({leader, *found}, key=lambda pid: pid != leader)


def _plug(control: str, name: str) -> None:
    net.batch(control, [f"tuntap add {name} mode tap", f"link set {name} master lan up"])


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
