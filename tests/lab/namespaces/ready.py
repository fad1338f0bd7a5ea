# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can run a lab, and if not, why, in words fit for the reason of a skipped test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from . import cgroups, kernel

#: Each with the package of tools/apt.txt that brings it.
PROGRAMS = {
    "/lib/systemd/systemd": "systemd",
    "/usr/sbin/sshd": "openssh-server",
    "/usr/sbin/libvirtd": "libvirt-daemon-system",
    "/usr/bin/bindfs": "bindfs",
    "/usr/bin/dbus-daemon": "dbus",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
CONTROLLERS = ("freezer", "cpu", "pids")
DEVICES = ("/dev/fuse", "/dev/net/tun")


@cache
def missing(folder: Path) -> tuple[str, ...]:
    """Every reason why no lab can be made whose disks are in `folder`; empty when one can."""
    return tuple(_missing(folder))


def _missing(folder: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        yield "only root may make namespaces and mounts"
        return
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            yield f"{program} is not installed (package {package})"
    for controller in CONTROLLERS:
        try:
            cgroups.control(controller, "", "")
        except LookupError as error:
            yield str(error)
    yield from (f"there is no {device}" for device in DEVICES if not Path(device).exists())
    yield from _overlay(folder)


def _overlay(folder: Path) -> Iterator[str]:
    """Tries what a host's first moments do, in a process that takes its mounts with it when it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "namespaces.ready", scratch]
        place = Path(__file__).parents[1]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"no namespaces with an overlay of / here: {done.stderr.strip().splitlines()[-1]}"


def _try(scratch: str) -> None:
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWCGROUP | kernel.CLONE_NEWPID)
    kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    for name in ("upper", "work", "root"):
        os.mkdir(f"{scratch}/{name}")
    os.mkdir(f"{scratch}/upper/root")
    os.setxattr(f"{scratch}/upper/root", "trusted.overlay.opaque", b"y")
    layers = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
    kernel.mount("overlay", f"{scratch}/root", "overlay", data=layers)


if __name__ == "__main__":
    _try(sys.argv[1])
