# SPDX-License-Identifier: GPL-3.0-or-later
"""Real guests for the tests of this folder: the image of tools/guest_image.py, and what a guest says on its serial port."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

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
