# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: hosts, their networks, the keys to them, and one folder that holds all of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, disk, kernel, net
from .host import Host, LabError

TREE = Path(__file__).resolve().parents[3]
FOLDERS = TREE / ".cache" / "lab"
DEFAULT = "lab"
MOST = 100  # hosts of a lab; addresses .11 to .110


def default_index(name: str) -> int:
    """Which /24 of 10.77/16 a lab of this name has. Labs cannot see each other, so two with the same only confuse people."""
    return 0 if name == DEFAULT else 1 + zlib.crc32(name.encode()) % 255


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab by name, up or not. Names are short words: they become names of namespaces and of cgroups."""

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", self.name):
            raise LabError(f"{self.name!r} cannot name a lab: up to 16 lower-case letters and digits")

    @property
    def folder(self) -> Path:
        return FOLDERS / self.name

    @property
    def index(self) -> int:
        return default_index(self.name)

    @property
    def control(self) -> str:
        return f"dos-lab-{self.name}-ctl"

    @property
    def shared(self) -> Path:
        """What every host sees as /srv/shared."""
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

    def host(self, name: str) -> Host:
        """The host of this name; raises LabError when the lab has none such."""
        found = {host.name: host for host in self.hosts()}
        if name not in found:
            raise LabError(f"lab {self.name} has no host {name}; it has {', '.join(found) or 'none'}")
        return found[name]

    def hosts(self) -> list[Host]:
        """All hosts that have a disk, in order."""
        numbers = sorted(int(path.name[1:]) for path in (self.folder / "hosts").glob("h[0-9]*"))
        return [self._host(number) for number in numbers]

    def _host(self, number: int) -> Host:
        return Host(self.name, self.index, number, self.folder / "hosts" / f"h{number}")

    # Up and down

    def up(self, count: int = 3, share: Iterable[Path] = ()) -> None:
        """Makes what is missing and boots what is off. A lab that was not there before is gone again when this fails."""
        if not 1 <= count <= MOST:
            raise LabError(f"a lab has 1 to {MOST} hosts")
        fresh = not self.folder.exists()
        if fresh and (net.NETNS / self.control).exists():
            raise LabError(f"a lab named {self.name} is up, made from another tree")
        try:
            with self._alone():
                self._make(count)
                self.share(share)
                self._boot([self._host(number) for number in range(1, count + 1)])
        except BaseException:
            if fresh:
                self.down()
            raise

    def _make(self, count: int) -> None:
        self.shared.mkdir(exist_ok=True)
        if not self.key.exists():
            keygen(self.key, f"lab {self.name}")
        if not (net.NETNS / self.control).exists():
            net.create_control(self.control, self.index)
        names = {"ctl": net.address(self.index, 0)} | {f"h{n}": net.address(self.index, n) for n in range(1, MOST + 1)}
        for number in range(1, count + 1):
            host = self._host(number)
            if not host.upper.exists():
                self._install(host, names)
        self._write_ssh()

    def _install(self, host: Host, names: dict[str, str]) -> None:
        # Under another name until it is whole: an interrupted `up` must not leave half a disk that the next one boots.
        unfinished = host.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        public = self.key.with_suffix(".pub").read_text()
        disk.prepare(unfinished, lab=self.name, host=host.name, names=names, public_key=public, tree=TREE)
        keygen(unfinished / "etc" / "ssh" / "ssh_host_ed25519_key", host.name)
        unfinished.rename(host.upper)

    def _write_ssh(self) -> None:
        lines, config = [], []
        for host in self.hosts():
            public = (host.upper / "etc" / "ssh" / "ssh_host_ed25519_key.pub").read_text().split()
            lines.append(f"{host.address},{host.name} {public[0]} {public[1]}\n")
            config.append(f"Host {host.name}\n  HostName {host.address}\n")
        common = f"Host *\n  User root\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n"
        self.known_hosts.write_text("".join(lines))
        for host in self.hosts():
            self._introduce(host, "".join(lines))
        self.ssh_config.write_text("".join(config) + common + "  StrictHostKeyChecking yes\n  ConnectTimeout 5\n")

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
        for pid in net.processes(self.control):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        net.delete(self.control)
        cgroups.remove(self.name)
        net.forget_netns()
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self._lock.unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        """The hosts of which anything is left: a namespace, a cgroup, a disk."""
        groups = [hierarchy.group(self.name) for hierarchy in cgroups.hierarchies()]
        names = [path.name for group in groups if group.is_dir() for path in group.iterdir()]
        names += [path.name for path in (self.folder / "hosts").glob("h*")]
        names += [path.name.rpartition("-")[2] for path in net.NETNS.glob(f"dos-lab-{self.name}-h*")]
        return sorted({int(name[1:]) for name in names if re.fullmatch(r"h\d+", name)})

    @property
    def _lock(self) -> Path:
        return FOLDERS / f"{self.name}.lock"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # From the control namespace

    def enter_control(self) -> None:
        """Moves the calling process to where the hosts can be reached, and nothing else."""
        if not (net.NETNS / self.control).exists():
            raise LabError(f"lab {self.name} is not up: lab.py --name {self.name} up")
        kernel.enter(str(net.NETNS / self.control))

    def ctl(self, *words: str, timeout: float = 60, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command in the control namespace, with its output; it is the caller who looks at the status."""
        return subprocess.run(
            words, cwd=cwd, preexec_fn=self.enter_control, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def ssh(self, host: str, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return self.ctl("ssh", "-F", str(self.ssh_config), host, *words, timeout=timeout)

    def collect(self, write: Callable[[str], object]) -> None:
        """What a person would want to read after a failure: consoles, libvirt's own words, and those of the guests."""
        for host in self.hosts():
            write(host.last_words(lines=80))
            for log in sorted((host.upper / "var" / "log" / "libvirt").rglob("*.log")):
                write(f"--- {host.name} {log.name}\n{log.read_text(errors='replace')[-4000:]}")


def keygen(path: Path, comment: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def names_up() -> list[str]:
    """Labs of which anything is on this machine, of whichever tree."""
    found = {path.name.split("-")[2] for path in net.NETNS.glob("dos-lab-*-*")}
    for hierarchy in cgroups.hierarchies():
        top = hierarchy.group("")
        found |= {path.name for path in top.iterdir() if path.is_dir()} if top.is_dir() else set()
    return sorted(found | {path.name for path in FOLDERS.glob("*") if path.is_dir()})
