# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels on one bridge, the key to them, and the folder they share with this machine."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from namespaces import net, process
from namespaces.errors import LabError
from namespaces.group import TREE, Group, keygen

from .kernel import Kernel, address
from .kinds import KINDS, chosen, wanted

FOLDERS = TREE / ".cache" / "kernel"
DEFAULT = "kernel"
MOST = 20
PREFIX = "dos-kernel-"


@dataclass(frozen=True, slots=True)
class Kernels(Group):
    """A group of kernels by name, up or not, all of one kind: `of`, or what the environment wants. Groups cannot see each other,
    and nothing leads out of one."""

    name: str = DEFAULT
    of: type[Kernel] | None = None

    CALLED: ClassVar[str] = "kernel lab"
    PROGRAM: ClassVar[str] = "kernel.py"
    FOLDERS: ClassVar[Path] = FOLDERS
    DEFAULT: ClassVar[str] = DEFAULT

    @property
    def control(self) -> str:
        return f"{PREFIX}{self.name}"

    @property
    def kind(self) -> type[Kernel]:
        """That of those that are there; that which is wanted when there are none."""
        return KINDS[self._kind.read_text()] if self._kind.exists() else self.of or wanted()

    @property
    def _kind(self) -> Path:
        return self.folder / "kind"

    def kernels(self) -> list[Kernel]:
        numbers = sorted(int(path.name[1:]) for path in self.folder.glob("k[0-9]*") if path.is_dir())
        return [self._kernel(number) for number in numbers]

    def kernel(self, name: str) -> Kernel:
        return self._named(name, self.kernels())

    def _kernel(self, number: int) -> Kernel:
        return self.kind(self.name, self.index, number, self.folder / f"k{number}")

    # Up and down

    def up(self, count: int = 1) -> None:
        """Makes what is missing and boots what is off. A group that was not there before is gone again when this fails."""
        if not 1 <= count <= MOST:
            raise LabError(f"1 to {MOST} kernels, not {count}")
        if self.kind is not (self.of or KINDS.get(chosen() or "", self.kind)):
            raise LabError(f"the kernels named {self.name} are of another kind: end them, or give another --name")
        with self._made_whole():
            self._make()
            self._boot([self._kernel(number) for number in range(1, count + 1)])

    def _make(self) -> None:
        self._kind.write_text(next(name for name, kind in KINDS.items() if kind is self.kind))
        self.shared.mkdir(exist_ok=True)
        for path, comment in ((self.key, "login"), (self._host_key, "host")):
            if not path.exists():
                keygen(path, f"kernel lab {self.name} {comment}")
        if not (net.NETNS / self.control).exists():
            net.ip("netns", "add", self.control)
            bridge = f"link add lan address {net.mac(self.index, 0, 2)} type bridge"
            place = f"addr add {address(self.index, 0)}/24 dev lan"
            net.batch(self.control, ["link set lo up", bridge, place, "link set lan up"])
        # A second command over one connection takes a quarter of the time. The socket's path must be a short one.
        master = (
            f"  ConnectTimeout 10\n  ControlMaster auto\n  ControlPersist 600\n  ControlPath /run/{self.control}-%n\n"
        )
        public = self._host_key.with_suffix(".pub").read_text()
        places = [(name, place, public) for name, place in self._names().items() if name != "ctl"]
        self._write_ssh(places, master)

    @property
    def _host_key(self) -> Path:
        return self.folder / "ssh_host_ed25519_key"

    def _names(self) -> dict[str, str]:
        return {"ctl": address(self.index, 0)} | {f"k{n}": address(self.index, n) for n in range(1, MOST + 1)}

    def _boot(self, kernels: Sequence[Kernel]) -> None:
        told = {
            "lab": self.name, "controller": address(self.index, 0), "names": self._names(), "key": str(self.key),
            "host_key": str(self._host_key), "tree": str(TREE),
        }  # fmt: skip
        with contextlib.ExitStack() as booting:
            for each in kernels:
                booting.enter_context(each.boot(told, self.shared))

    def boot(self, *names: str) -> None:
        """Boots kernels that were crashed or ended by themselves, from nothing: they remember nothing."""
        with self._alone():
            self._boot([self.kernel(name) for name in names])

    def down(self) -> None:
        """Leaves nothing, also of kernels that did not come up or whose folder was deleted under them."""
        for each in self.kernels():
            each.crash()
        self._leave_nothing()
        for path in Path("/run").glob(f"{self.control}-*"):
            path.unlink(missing_ok=True)

    # Commands

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
        self, *words: str, on: str = "k1", timeout: float = process.PATIENCE, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command in a kernel, with its output; `timeout` in seconds as in the fastest kind of kernel."""
        return process.run(
            self.command(on, *words), where=on, words=words, enter=self.enter_control, timeout=timeout * self.kind.SLOWER,
            check=check,
        )  # fmt: skip

    def sh(self, script: str, *, on: str = "k1", timeout: float = process.PATIENCE) -> str:
        """The output of a shell script of which no line may fail."""
        return self.run("sh", "-euc", script, on=on, timeout=timeout).stdout

    def collect(self, write: Callable[[str], object]) -> None:
        for each in self.kernels():
            write(each.last_words(lines=80))


def names_up() -> list[str]:
    """Groups of which anything is on this machine, of whichever tree."""
    found = {path.name.removeprefix(PREFIX) for path in net.NETNS.glob(f"{PREFIX}*")}
    return sorted(found | {path.name for path in FOLDERS.glob("*") if path.is_dir()})
