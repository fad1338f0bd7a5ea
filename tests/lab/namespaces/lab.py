# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: hosts, their networks, the keys to them, and one folder that holds all of it."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from . import cgroups, disk, locks, net
from .errors import LabError
from .group import TREE, Group, keygen
from .host import Host
from .process import PATIENCE

FOLDERS = TREE / ".cache" / "lab"
DEFAULT = "lab"
MOST = 100  # hosts of a lab; addresses .11 to .110 of a /24 in 10.77/16


@dataclass(frozen=True, slots=True)
class Lab(Group):
    """A lab by name, up or not."""

    name: str = DEFAULT

    CALLED: ClassVar[str] = "lab"
    PROGRAM: ClassVar[str] = "lab.py"
    FOLDERS: ClassVar[Path] = FOLDERS
    DEFAULT: ClassVar[str] = DEFAULT

    @property
    def control(self) -> str:
        return f"dos-lab-{self.name}-ctl"

    def host(self, name: str) -> Host:
        """The host of this name; raises LabError when the lab has none such."""
        return self._named(name, self.hosts())

    def hosts(self) -> list[Host]:
        """All hosts that have a disk, in order."""
        numbers = sorted(int(path.name[1:]) for path in (self.folder / "hosts").glob("h[0-9]*"))
        return [self._host(number) for number in numbers]

    def _host(self, number: int) -> Host:
        return Host(self.name, self.index, number, self.folder / "hosts" / f"h{number}")

    # Up and down

    def up(self, count: int = 3, share: Iterable[Path] = (), lock_manager: str | None = None) -> None:
        """Makes what is missing and boots what is off. A lab that was not there before is gone again when this fails.

        Hosts that are added later have the lock manager of those that are there; another is refused.
        """
        if not 1 <= count <= MOST:
            raise LabError(f"a lab has 1 to {MOST} hosts")
        with self._made_whole():
            self._make(count, self._locked_by(lock_manager))
            self.share(share)
            self._boot([self._host(number) for number in range(1, count + 1)])

    def _locked_by(self, wanted: str | None) -> str:
        """The lock manager of this lab, which is settled once; raises LabError when it is another than the wanted."""
        settled = self.folder / "lock_manager"
        held = settled.read_text() if settled.exists() else wanted or locks.DEFAULT
        if wanted not in (None, held):
            raise LabError(f"the hosts of lab {self.name} have lock manager {held}; take it down to have {wanted}")
        for reason in locks.missing(held):
            raise LabError(reason)
        settled.write_text(held)
        return held

    def _make(self, count: int, lock_manager: str) -> None:
        self.shared.mkdir(exist_ok=True)
        if lock_manager == "sanlock":
            locks.make_lockspace(self.shared)
        if not self.key.exists():
            keygen(self.key, f"lab {self.name}")
        if not (net.NETNS / self.control).exists():
            net.create_control(self.control, self.index)
        names = {"ctl": net.address(self.index, 0)} | {f"h{n}": net.address(self.index, n) for n in range(1, MOST + 1)}
        for number in range(1, count + 1):
            host = self._host(number)
            if not host.upper.exists():
                self._install(host, names, locks.files(lock_manager, number))
        self._introduce_all()

    def _install(self, host: Host, names: dict[str, str], files: dict[str, str]) -> None:
        # Under another name until it is whole: an interrupted `up` must not leave half a disk that the next one boots.
        unfinished = host.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        public = self.key.with_suffix(".pub").read_text()
        disk.prepare(unfinished, lab=self.name, host=host.name, names=names, public_key=public, tree=TREE, files=files)
        keygen(unfinished / "etc" / "ssh" / "ssh_host_ed25519_key", host.name)
        unfinished.rename(host.upper)

    def _introduce_all(self) -> None:
        key = Path("etc", "ssh", "ssh_host_ed25519_key.pub")
        hosts = self.hosts()
        known = self._write_ssh(
            [(host.name, host.address, (host.upper / key).read_text()) for host in hosts], "  ConnectTimeout 5\n"
        )
        for host in hosts:
            self._introduce(host, known)

    def _introduce(self, host: Host, known: str) -> None:
        """libvirt on one host reaches that of another as root over ssh: what a migration wants."""
        own = host.upper / "root" / ".ssh"
        if host.pid() is None:
            disk.write(own / "id_ed25519", self.key.read_text(), 0o600)
            disk.write(own / "known_hosts", known)
        elif (own / "known_hosts").read_text() != known:  # of a disk in use the lower parts are not written
            host.run("sh", "-c", f"printf %s {shlex.quote(known)} >/root/.ssh/known_hosts")

    def _boot(self, hosts: Sequence[Host]) -> None:
        with contextlib.ExitStack() as booting:
            for host in hosts:
                booting.enter_context(host.boot())

    def boot(self, *names: str) -> None:
        """Switches hosts on again, with the disks they had."""
        with self._alone():
            self._boot([self.host(name) for name in names])

    def share(self, files: Iterable[Path]) -> None:
        """Copies files to where every host sees them as /srv/shared/images/NAME."""
        folder = self.shared / "images"
        folder.mkdir(exist_ok=True)
        for file in files:
            shutil.copy2(file, folder / file.name)

    def down(self) -> None:
        """Leaves nothing: also what a lab left that did not come up, or whose folder was deleted under it."""
        for number in self._numbers():
            self._host(number).crash()
        cgroups.remove(self.name)
        self._leave_nothing()

    def _numbers(self) -> list[int]:
        """The hosts of which anything is left: a namespace, a cgroup, a disk."""
        groups = [hierarchy.group(self.name) for hierarchy in cgroups.hierarchies()]
        names = [path.name for group in groups if group.is_dir() for path in group.iterdir()]
        names += [path.name for path in (self.folder / "hosts").glob("h*")]
        names += [path.name.rpartition("-")[2] for path in net.NETNS.glob(f"dos-lab-{self.name}-h*")]
        return sorted({int(name[1:]) for name in names if re.fullmatch(r"h\d+", name)})

    # From the control namespace

    def ctl(self, *words: str, timeout: float = PATIENCE, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command in the control namespace, with its output; it is the caller who looks at the status."""
        return subprocess.run(
            words, cwd=cwd, preexec_fn=self.enter_control, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def ssh(self, host: str, *words: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        return self.ctl("ssh", "-F", str(self.ssh_config), host, *words, timeout=timeout)

    def collect(self, write: Callable[[str], object]) -> None:
        """What a person would want to read after a failure: consoles, libvirt's own words, and those of the guests."""
        for host in self.hosts():
            write(host.last_words(lines=80))
            for log in sorted((host.upper / "var" / "log" / "libvirt").rglob("*.log")):
                write(f"--- {host.name} {log.name}\n{log.read_text(errors='replace')[-4000:]}")


def names_up() -> list[str]:
    """Labs of which anything is on this machine, of whichever tree."""
    found = {path.name.split("-")[2] for path in net.NETNS.glob("dos-lab-*-*")}
    for hierarchy in cgroups.hierarchies():
        top = hierarchy.group("")
        found |= {path.name for path in top.iterdir() if path.is_dir()} if top.is_dir() else set()
    return sorted(found | {path.name for path in FOLDERS.glob("*") if path.is_dir()})
