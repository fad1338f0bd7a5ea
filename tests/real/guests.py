# SPDX-License-Identifier: GPL-3.0-or-later
"""Real guests for the tests of this folder: the image of tools/guest_image.py, and what a guest says on its serial port."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import termios
import time
import tty
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from dosvm.apply import converge
from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.site.load import load

TOOLS = Path(__file__).parents[2] / "tools"
PATIENCE = 240.0  # seconds until a guest is up; three on an idle machine
ASKED_AGAIN = 5.0  # seconds without an answer of a guest's shell


def image() -> Path:
    """The guest's image, built if it is not there."""
    done = subprocess.run(
        [sys.executable, str(TOOLS / "guest_image.py")], check=True, stdout=subprocess.PIPE, text=True, timeout=300
    )
    return Path(done.stdout.splitlines()[-1])


def overlay(directory: Path, name: str = "root.qcow2") -> Path:
    """A disk of a guest's own over the image, where QEMU, which is another user, can read both."""
    for part in (directory, *directory.parents):
        if not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o011)
    base = directory / "base.qcow2"
    if not base.exists():
        base.write_bytes(image().read_bytes())
    disk = directory / name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(disk)], check=True)
    return disk


def said(log: Path, text: str, seconds: float = PATIENCE) -> str:
    """What the guest wrote so far, once `text` is in it."""
    deadline = time.monotonic() + seconds
    while True:
        told = log.read_text(errors="replace") if log.exists() else ""
        if text in told:
            return told
        assert time.monotonic() < deadline, f"the guest did not say {text!r} within {seconds} s:\n{told[-2000:]}"
        time.sleep(0.1)


def wait_for(what: str, ask: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Ask until the answer is yes."""
    deadline = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.2)


class Shell:
    """The shell that a guest has on its first serial port, once it answers.

    Of what is typed while the guest boots, some is lost and the rest is read as something else; so a question whose parts
    are harmless is asked until the answer is heard, and only then anything that matters is typed.
    """

    def __init__(self, path: str, seconds: float = PATIENCE) -> None:
        self._port = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._port, termios.TCSANOW)
        number, heard, deadline = time.monotonic_ns(), "", time.monotonic() + seconds
        while f"\nhere-{number}" not in heard:
            assert time.monotonic() < deadline, f"no shell answered within {seconds:.0f} s: {heard[-500:]}"
            self.type(f"echo here-$(({number}))")
            heard += self._hears(f"\nhere-{number}", ASKED_AGAIN)

    @classmethod
    def of(cls, domain: str, seconds: float = PATIENCE) -> Shell:
        """That of a running domain."""
        xml = subprocess.run(["virsh", "dumpxml", domain], capture_output=True, check=True).stdout
        return cls(etree.fromstring(xml).find("devices/serial/source").get("path"), seconds)

    def type(self, command: str) -> None:
        """Not waited for: of some commands no end is ever heard."""
        os.write(self._port, f"\n{command}\n".encode())

    def run(self, command: str, seconds: float = PATIENCE) -> str:
        """What a command printed; its end is a line of its own, so that the echo of what was typed does not count."""
        number = time.monotonic_ns()
        self.type(f"{command}; echo; echo end-$(({number}))")
        heard = self._hears(f"\nend-{number}", seconds)
        assert f"\nend-{number}" in heard, f"{command!r} did not end within {seconds:.0f} s: {heard[-500:]}"
        return heard

    def _hears(self, text: str, seconds: float) -> str:
        """What the guest says until it has said `text`, or until the time is over."""
        heard, deadline = "", time.monotonic() + seconds
        while text not in heard and (left := deadline - time.monotonic()) > 0:
            if select.select([self._port], [], [], left)[0]:
                heard += os.read(self._port, 4096).decode(errors="replace").replace("\r", "")
        return heard

    def says_yes(self, command: str) -> bool:
        """Whether a command succeeds."""
        found = re.search(r"\nrc=(\d+)", self.run(f"{command} >/dev/null 2>&1; echo rc=$?"))
        return found is not None and found[1] == "0"

    def becomes_true(self, command: str) -> None:
        """Ask until a command succeeds."""
        wait_for(repr(command), lambda: self.says_yes(command))

    def close(self) -> None:
        os.close(self._port)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ShellGuest:
    """A guest with a shell on its serial port and a disk of its own to write to."""

    def __init__(self, hypervisor: LibvirtHypervisor, name: str, directory: Path) -> None:
        self.hypervisor, self.name, self.log = hypervisor, name, directory / "serial.log"
        root, data = overlay(directory), directory / "data.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(data), "4M"], check=True)
        disks = [{"file": str(path), "format": "qcow2"} for path in (root, data)]
        self.domain: dict[str, Any] = {
            "name": name, "mark": {"site": "test"}, "virt_type": "qemu", "memory": "128 MiB", "stop_timeout": 0,
            "serial": {"log": str(self.log)}, "disks": disks,
        }  # fmt: skip

    def declare(self) -> None:
        held = decode(Slice, {"site": "test", "domains": [self.domain]})
        assert converge(held, self.hypervisor, permission=Permission()).failures == ()

    def shell(self, command: str, answer: str) -> None:
        """Type a line, whose output must have the answer, which the line itself must not contain."""
        with Shell.of(self.name) as port:
            heard = port.run(command)
        assert answer in heard, heard


def direct_boot() -> Iterator[Path]:
    """A folder with the guest's kernel and initramfs, where QEMU may read them; gone when the test is over."""
    held = Path("/var/lib/dos-vm") / f"boot-{uuid.uuid4().hex[:8]}"
    held.mkdir(parents=True)
    builder = [sys.executable, TOOLS / "guest_image.py", "--kernel-out", held]
    subprocess.run(builder, check=True, stdout=subprocess.DEVNULL, timeout=300)
    for path in (held, *held.iterdir()):
        path.chmod(0o755)
    yield held
    shutil.rmtree(held)


class Cloud:
    """A site of one host, converged as often as it changes. `declared` are its variables."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
        self._hypervisor, self.prefix, self._folder = hypervisor, prefix, folder
        self.declared: dict[str, Any] = {"dos_site": "test", "dos_projects": {"p": {}}}

    def machine(self, name: str, *cards: dict[str, Any], **more: Any) -> dict[str, Any]:
        """An instance of one machine, booted from the kernel in the folder."""
        return {
            "project": "p",
            "memory": "96 MiB",
            "kernel": str(self._folder / "vmlinuz"),
            "initrd": str(self._folder / "initrd"),
            "cmdline": (self._folder / "cmdline").read_text().strip(),
            "boot": ["network"],
            "interfaces": [{"boot_rom": False, **card} for card in cards],
            "serial": {},
            "vms": {f"{self.prefix}{name}": {}},
            **more,
        }

    def converge(self, **changed: Any) -> list[str]:
        """What has been done, in words."""
        site = load({**self.declared, **changed}, hosts=["here"])
        states = {"here": HostState(facts=self._hypervisor.facts())}
        slice_ = compile_site(site, states, now=time.time()).slices["here"]
        outcome = converge(slice_, self._hypervisor, permission=Permission())
        assert not outcome.failures, [str(failure) for failure in outcome.failures]
        return [str(sentence) for sentence in outcome.performed]

    def shell(self, name: str) -> Shell:
        return Shell.of(f"{self.prefix}{name}")
