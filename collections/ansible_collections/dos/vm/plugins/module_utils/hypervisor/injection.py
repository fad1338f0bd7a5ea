# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing into a guest's disk before its first start: by guestfish, whose appliance is the one that opens the file systems.

Nothing of the disk is mounted on the host, and neither arguments nor what the appliance logs hold a secret: contents go through
files that only we can read, in a directory that is removed. What is in the disk already is read first, in the same boot of
the appliance. See https://libguestfs.org/guestfish.1.html.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import HypervisorError, Unanswered
from ..model.injection import MARKER, Injection
from .capabilities import kvm_works
from .seeds import hashed, resolved

PATIENCE = 600.0  # seconds; an emulated appliance on a busy host boots in a minute
FAREWELL = 20.0  # seconds that the appliance gets to end
STEP = 0.05
LOUD = "libguestfs: error: "  # begins what a command says that fails
SAYING = "dos.vm-item-"  # and a number, before what is tried and may fail; a path would be words for a shell
KEYS, SHADOW, NETWORK, METADATA = "/root/.ssh/authorized_keys", "/etc/shadow", "/etc/network/interfaces", "/meta.js"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the guest. What is not `needed` only warns where it cannot be written (INJ-04)."""

    path: str
    text: str
    mode: str
    needed: bool = True


def write(what: str, disk: str, format_: str, held: Injection, values: Mapping[str, bytes]) -> None:
    """Write into a disk, unless that was done before.

    Raises `HypervisorError` where a file could not be written, and `Unanswered` where something else could not be: then all
    the rest was.
    """
    if shutil.which("guestfish") is None:
        raise HypervisorError(what, "guestfish is not on the host: install libguestfs-tools")
    with (
        tempfile.TemporaryDirectory(prefix="dos-vm-inject-") as folder,
        _Fish(what, disk, format_, held, folder) as fish,
    ):
        found = fish.read((MARKER, SHADOW, KEYS, *(held.append or {})))
        if MARKER in found:
            return
        items, notes = list(_items(held, found, values)), []
        if held.password and not any(item.path == SHADOW for item in items):
            notes.append(f"there is no root in {SHADOW}, whose password could be set")
        fish.write(items)
        notes += fish.close()
    if notes:
        raise Unanswered(what, f"{'; '.join(notes)}; the rest was written")


def _items(held: Injection, found: Mapping[str, str], values: Mapping[str, bytes]) -> Iterator[Item]:
    for path, text in (held.files or {}).items():
        yield Item(path, resolved(text, values), "0644")
    for path, text in (held.append or {}).items():
        added, before = resolved(text, values), found.get(path, "")
        if added not in before:
            yield Item(path, _joined(before, added), "")
    missing = [key.strip() for key in held.keys if key.strip() not in found.get(KEYS, "").splitlines()]
    if missing:
        yield Item(KEYS, _joined(found.get(KEYS, ""), "\n".join(missing) + "\n"), "0600", needed=False)
    if held.network is not None:
        yield Item(NETWORK, held.network, "0744", needed=False)
    if held.metadata is not None:
        yield Item(METADATA, held.metadata, "0644", needed=False)
    if held.password is not None and (shadow := _shadow(found.get(SHADOW, ""), _hash(held.password, values))):
        yield Item(SHADOW, shadow, "", needed=False)


def _joined(before: str, added: str) -> str:
    return before + ("\n" if before and not before.endswith("\n") else "") + added


def _hash(name: str, values: Mapping[str, bytes]) -> str:
    if name not in values:
        raise HypervisorError("set a password", f"secret {name} has no value in this run: give it, from a vault")
    return hashed(values[name].decode())


def _shadow(text: str, password: str) -> str:
    """The file with root's password; empty where there is no root."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == "root" and len(fields) > 2:
            lines[at] = ":".join(("root", password, str(int(time.time()) // 86400), *fields[3:]))
            return "\n".join(lines) + "\n"
    return ""


class _Fish:
    """A session of guestfish: asked, then told, in one boot of its appliance, which ends with it whatever happens."""

    def __init__(self, what: str, disk: str, format_: str, held: Injection, folder: str) -> None:
        self._what, self._folder = what, Path(folder)
        where = ["-i"] if held.partition is None else ["-m", f"/dev/sda{held.partition or ''}"]
        command = ["guestfish", "--rw", "--no-progress-bars", f"--format={format_}", "-a", disk, *where]
        settings = {} if kvm_works(os.uname().machine) else {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
        self._said = self._folder / "said"
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # so that its appliance can be ended with it
                env={**os.environ, "LC_ALL": "C", "LIBGUESTFS_BACKEND": "direct", **settings},
            )
        self._deadline = time.monotonic() + PATIENCE
        self._items: list[Item] = []

    def __enter__(self) -> _Fish:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            # It ends its appliance first. Killed, it would leave that one to hold the disk when the guest is to start.
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def read(self, paths: tuple[str, ...]) -> dict[str, str]:
        """Those of these files that are there, as text."""
        read = self._folder / "read"
        read.mkdir()
        for number, path in enumerate(dict.fromkeys(paths)):
            self._tell(f"-download {_quoted(path)} {_quoted(read / str(number))}")
        self._tell(f"!touch {shlex.quote(str(read / 'all'))}")
        self._wait(lambda: (read / "all").exists())
        self._said.write_bytes(b"")  # files that are not there are no errors
        return {
            path: (read / str(number)).read_text(encoding="utf-8", errors="surrogateescape")
            for number, path in enumerate(dict.fromkeys(paths))
            if (read / str(number)).exists() and (read / str(number)).stat().st_size
        }

    def write(self, items: list[Item]) -> None:
        """Give the orders to write; `close` waits until it was done."""
        given = self._folder / "given"
        given.mkdir()
        self._items = items
        for number, item in enumerate(items):
            source = given / str(number)
            source.touch(mode=0o600)
            source.write_text(item.text, encoding="utf-8", errors="surrogateescape")
            may = "" if item.needed else "-"
            self._tell(f"!echo {SAYING}{number}")
            self._tell(f"{may}mkdir-p {_quoted(os.path.dirname(item.path))}")
            self._tell(f"{may}upload {_quoted(source)} {_quoted(item.path)}")
            self._tell(f"!echo {SAYING}")  # FAT knows neither modes nor owners, and that is no news
            if item.path == KEYS:
                self._tell(f"-chmod 0700 {_quoted(os.path.dirname(KEYS))}")
            if item.mode:
                self._tell(f"-chmod {item.mode} {_quoted(item.path)}")
        marker = given / "marker"
        marker.write_text("Written by dos.vm before the first start.\n")
        self._tell(f"mkdir-p {_quoted(os.path.dirname(MARKER))}")
        self._tell(f"upload {_quoted(marker)} {_quoted(MARKER)}")
        self._tell("umount-all")

    def close(self) -> list[str]:
        """Wait for the end; what could not be written and need not be. Raises `HypervisorError` for what must."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._wait(lambda: self._process.poll() is not None)
        if self._process.returncode:
            raise HypervisorError(self._what, self._last_words())
        return list(self._failed())

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait()
            raise HypervisorError(self._what, self._last_words()) from None

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self._process.poll() is not None and not ready():
                raise HypervisorError(self._what, self._last_words())
            if time.monotonic() > self._deadline:
                raise HypervisorError(self._what, f"libguestfs is not done after {PATIENCE:.0f} s")
            time.sleep(STEP)

    def _failed(self) -> Iterator[str]:
        """What failed after each announcement of a path."""
        path = ""
        for line in self._said.read_text(errors="replace").splitlines():
            if line.startswith(SAYING):
                number = line.removeprefix(SAYING).strip()
                path = self._items[int(number)].path if number else ""
            elif line.startswith(LOUD) and path:
                yield f"{path}: {line.removeprefix(LOUD)}"

    def _last_words(self) -> str:
        said = self._said.read_text(errors="replace").splitlines()
        lines = [line for line in said if not line.startswith(SAYING)]
        return "\n".join(line.removeprefix(LOUD).strip() for line in lines[-5:]) or "guestfish ended without a word"


def _quoted(text: object) -> str:
    """As guestfish reads a word. The paths were checked: no character that is not printed."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
