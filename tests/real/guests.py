# SPDX-License-Identifier: GPL-3.0-or-later
"""Real guests for the tests of this folder: the image of tools/guest_image.py, and what a guest says on its serial port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dosvm.apply import converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice

TOOLS = Path(__file__).parents[2] / "tools"


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


def said(log: Path, text: str, seconds: float = 90) -> str:
    """What the guest wrote so far, once `text` is in it."""
    deadline = time.monotonic() + seconds
    while True:
        told = log.read_text(errors="replace") if log.exists() else ""
        if text in told:
            return told
        assert time.monotonic() < deadline, f"the guest did not say {text!r} within {seconds} s:\n{told[-2000:]}"
        time.sleep(0.1)


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
        """Type a line, and wait until the guest has written the answer, which the line itself must not contain."""
        live = self.hypervisor.observe("test")[Address("domain", self.name)].live
        assert live is not None
        source = live.find("devices/serial/source")
        assert source is not None
        before = self.log.stat().st_size
        with open(source.get("path", ""), "wb", buffering=0) as port:
            port.write(command.encode() + b"\n")
            deadline = time.monotonic() + 60
            while answer not in self._since(before):
                assert time.monotonic() < deadline, self._since(before)
                time.sleep(0.1)

    def _since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position, os.SEEK_SET)
            return log.read().decode(errors="replace")
