# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can boot a kernel as a process, and if not, why, in words fit for the reason of a skipped test."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .machine import PROGRAM

#: Each with the package of tools/apt.txt that brings it.
PROGRAMS = {
    PROGRAM: "user-mode-linux",
    "/lib/systemd/systemd-udevd": "udev",
    "/usr/sbin/sshd": "openssh-server",
    "/usr/sbin/ipvsadm": "ipvsadm",
    "/usr/sbin/ovs-vswitchd": "openvswitch-switch",
    "/usr/sbin/tgtd": "tgt",
    "/sbin/iscsid": "open-iscsi",
    "/sbin/lvm": "lvm2",
    "/sbin/parted": "parted",
    "/usr/sbin/rpc.nfsd": "nfs-kernel-server",
    "ssh": "openssh-client",
    "ip": "iproute2",
}


@cache
def missing() -> tuple[str, ...]:
    """Every reason why no kernel can be booted here; empty when one can."""
    return tuple(_missing())


def _missing() -> Iterator[str]:
    if os.geteuid() != 0:
        yield "only root may make network namespaces"
    if platform.machine() != "x86_64":
        yield f"user-mode Linux runs on x86_64, this is {platform.machine()}"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            yield f"{program} is not installed (package {package})"
    if not Path("/dev/net/tun").exists():
        yield "there is no /dev/net/tun"
