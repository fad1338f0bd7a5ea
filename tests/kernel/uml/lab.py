# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels on one bridge, the key to them, and the folder they share with this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from namespaces import kernel, net
from namespaces.host import LabError
from namespaces.lab import TREE, default_index, keygen

from .machine import Kernel, address

FOLDERS = TREE / ".cache" / "kernel"
DEFAULT = "kernel"
MOST = 20
PREFIX = "dos-kernel-"


@dataclass(frozen=True, slots=True)
class Kernels:
    """A group of kernels by name, up or not. Groups cannot see each other, and nothing leads out of one."""

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", self.name):
            raise LabError(f"{self.name!r} cannot name a group of kernels: up to 16 lower-case letters and digits")

    @property
    def folder(self) -> Path:
        return FOLDERS / self.name

    @property
    def index(self) -> int:
        return default_index(self.name)

    @property
    def control(self) -> str:
        return f"{PREFIX}{self.name}"

    @property
    def shared(self) -> Path:
        """What every kernel sees as /srv/shared: the way in for what a test needs and the way out for what it made."""
        return self.folder / "shared"

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def kernels(self) -> list[Kernel]:
        numbers = sorted(int(path.name[1:]) for path in self.folder.glob("k[0-9]*") if path.is_dir())
        return [self._kernel(number) for number in numbers]

    def kernel(self, name: str) -> Kernel:
        found = {each.name: each for each in self.kernels()}
        if name not in found:
            raise LabError(f"{self.name} has no kernel {name}; it has {', '.join(found) or 'none'}")
        return found[name]

    def _kernel(self, number: int) -> Kernel:
        return Kernel(self.name, self.index, number, self.folder / f"k{number}")

    # Up and down

    def up(self, count: int = 1) -> None:
        """Makes what is missing and boots what is off. A group that was not there before is gone again when this fails."""
        if not 1 <= count <= MOST:
            raise LabError(f"1 to {MOST} kernels, not {count}")
        fresh = not self.folder.exists()
        if fresh and (net.NETNS / self.control).exists():
            raise LabError(f"kernels named {self.name} are up, made from another tree")
        try:
            with self._alone():
                self._make()
                self._boot([self._kernel(number) for number in range(1, count + 1)])
        except BaseException:
            if fresh:
                self.down()
            raise

    def _make(self) -> None:
        self.shared.mkdir(exist_ok=True)
        for path, comment in ((self.key, "login"), (self._host_key, "host")):
            if not path.exists():
                keygen(path, f"kernel lab {self.name} {comment}")
        if not (net.NETNS / self.control).exists():
            net.ip("netns", "add", self.control)
            bridge = f"link add lan address {net.mac(self.index, 0, 2)} type bridge"
            place = f"addr add {address(self.index, 0)}/24 dev lan"
            net.batch(self.control, ["link set lo up", bridge, place, "link set lan up"])
        self._write_ssh()

    @property
    def _host_key(self) -> Path:
        return self.folder / "ssh_host_ed25519_key"

    def _names(self) -> dict[str, str]:
        return {"ctl": address(self.index, 0)} | {f"k{n}": address(self.index, n) for n in range(1, MOST + 1)}

    def _write_ssh(self) -> None:
        public = self._host_key.with_suffix(".pub").read_text().split()[:2]
        names = {name: place for name, place in self._names().items() if name != "ctl"}
        known = self.folder / "known_hosts"
        known.write_text("".join(f"{place},{name} {' '.join(public)}\n" for name, place in names.items()))
        each = "".join(f"Host {name}\n  HostName {place}\n" for name, place in names.items())
        # A second command over one connection takes a quarter of the time. The socket's path must be a short one.
        self.ssh_config.write_text(
            f"{each}Host *\n  User root\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
            f"  StrictHostKeyChecking yes\n  ConnectTimeout 10\n"
            f"  ControlMaster auto\n  ControlPersist 600\n  ControlPath {self._sockets}-%n\n"
        )

    @property
    def _sockets(self) -> str:
        return f"/run/{self.control}"

    def _boot(self, kernels: Sequence[Kernel]) -> None:
        told = {
            "lab": self.name, "controller": address(self.index, 0), "names": self._names(), "key": str(self.key),
            "host_key": str(self._host_key), "shared": str(self.shared), "tree": str(TREE),
        }  # fmt: skip
        with contextlib.ExitStack() as booting:
            for each in kernels:
                booting.enter_context(each.boot(told))

    def boot(self, *names: str) -> None:
        """Boots kernels that were crashed or ended by themselves, from nothing: they remember nothing."""
        with self._alone():
            self._boot([self.kernel(name) for name in names])

    def down(self) -> None:
        """Leaves nothing, also of kernels that did not come up or whose folder was deleted under them."""
        for each in self.kernels():
            each.crash()
        for pid in net.processes(self.control):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        net.delete(self.control)
        net.forget_netns()
        for path in Path("/run").glob(f"{self.control}-*"):
            path.unlink(missing_ok=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._lock.unlink(missing_ok=True)

    @property
    def _lock(self) -> Path:
        return FOLDERS / f"{self.name}.lock"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # Commands

    def enter_control(self) -> None:
        """Moves the calling process to where the kernels can be reached."""
        if not (net.NETNS / self.control).exists():
            raise LabError(f"{self.name} is not up: kernel.py --name {self.name} up")
        kernel.enter(str(net.NETNS / self.control))

    def command(self, name: str, *words: str, tty: bool = False) -> list[str]:
        """The ssh command line, for a process that has entered the control namespace; without words, a shell.

        What runs there starts in the tree, and finds the programs of its virtual environment first.
        """
        path = f"{TREE / '.venv' / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        what = shlex.join(words) if words else "bash -i"
        inside = (
            f"cd {shlex.quote(str(TREE))} && export PATH={shlex.quote(path)} PYTHONDONTWRITEBYTECODE=1 && exec {what}"
        )
        return ["ssh", *(["-t"] if tty else []), "-F", str(self.ssh_config), name, inside]

    def run(
        self, *words: str, on: str = "k1", timeout: float = 120, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command in a kernel, with its output; raises LabError with its own words when it fails, unless told not to."""
        done = subprocess.run(
            self.command(on, *words), preexec_fn=self.enter_control, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise LabError(f"{on}: {shlex.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def sh(self, script: str, *, on: str = "k1", timeout: float = 120) -> str:
        """The output of a shell script of which no line may fail."""
        return self.run("sh", "-euc", script, on=on, timeout=timeout).stdout

    def collect(self, write: Callable[[str], object]) -> None:
        for each in self.kernels():
            write(each.last_words(lines=80))


def names_up() -> list[str]:
    """Groups of which anything is on this machine, of whichever tree."""
    found = {path.name.removeprefix(PREFIX) for path in net.NETNS.glob(f"{PREFIX}*")}
    return sorted(found | {path.name for path in FOLDERS.glob("*") if path.is_dir()})
