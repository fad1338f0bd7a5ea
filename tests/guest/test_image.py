# SPDX-License-Identifier: GPL-3.0-or-later
"""The quickstart guest, for real: built from packages, booted by the emulator alone, asked for its page, switched off.

No libvirt here and no network but a forwarded port on the loopback address; what libvirt adds is tested elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "guest"
T = TypeVar("T")
PATIENCE = 300.0  # seconds; a boot takes three on an idle machine

needs = [name for name in ("qemu-system-x86_64", "qemu-img", "syslinux", "mformat") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(needs), reason=f"not installed (tools/apt.txt has them): {', '.join(needs)}")


def wait_for(what: str, ask: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {PATIENCE:.0f} s")


@dataclass
class Guest:
    """A running emulator: its page is at 127.0.0.1:`port`, its monitor and its serial log are in `folder`."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    def page(self) -> str | None:
        assert self.process.poll() is None, f"the emulator ended:\n{self.log()}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1) as reply:
                return str(reply.read().decode())
        except (urllib.error.URLError, OSError):
            return None

    def log(self) -> str:
        return (self.folder / "serial.log").read_text(errors="replace") + (self.folder / "qemu.log").read_text()

    def monitor(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.folder / "qmp"))
            stream = connection.makefile("rw")
            for name in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": name}) + "\n")
                stream.flush()
            # A greeting, then one `return` a command; events may come in between.
            replies = 0
            while replies < 2:
                replies += "return" in json.loads(stream.readline())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def booted(folder: Path, *options: str, network: str = "") -> Iterator[Guest]:
    port = free_port()
    command = [
        "qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "96", "-nodefaults",
        "-display", "none", "-no-reboot", "-serial", f"file:{folder / 'serial.log'}",
        "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off",
        "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:80{network}",
        "-device", "virtio-net-pci,netdev=net,romfile=", *options,
    ]  # fmt: skip
    with (folder / "qemu.log").open("wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    try:
        yield Guest(process, folder, port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def image() -> Path:
    subprocess.run([sys.executable, ROOT / "tools" / "guest_image.py", "--cache", CACHE], check=True)
    return CACHE / "busybox.qcow2"


def assert_powers_off(guest: Guest) -> None:
    guest.monitor("system_powerdown")
    assert guest.process.wait(PATIENCE) == 0
    assert "is going down: power button" in guest.log()


def test_a_copy_on_write_disk_boots_and_takes_its_name_from_the_lease(image: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, overlay], check=True)
    disk = f"file={overlay},if=none,id=disk,format=qcow2"
    with booted(tmp_path, "-drive", disk, "-device", "virtio-blk-pci,drive=disk", network=",hostname=web1") as guest:
        page = wait_for("the web page", guest.page)
        assert "<h1>web1</h1>" in page
        assert "address: 10.0.2.15/24 on eth0" in page
        assert "uptime: " in page
        assert "dos.vm guest web1 is up" in guest.log()
        assert_powers_off(guest)


def test_a_name_in_the_firmware_configuration_comes_before_the_lease(image: Path, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    subprocess.run(
        [sys.executable, ROOT / "tools" / "guest_image.py", "--cache", image.parent, "--kernel-out", kernel], check=True
    )
    cmdline = (kernel / "cmdline").read_text().strip()
    direct = ("-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd"), "-append", cmdline)
    name = ("-fw_cfg", "name=opt/dos.vm/name,string=db1")
    with booted(tmp_path, *direct, *name, network=",hostname=other") as guest:
        assert "<h1>db1</h1>" in wait_for("the web page", guest.page)
        assert_powers_off(guest)
