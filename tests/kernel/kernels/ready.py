# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can boot a kernel of a kind, and if not, why, in words fit for the reason of a skipped test."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .kernel import Kernel

#: What runs in a kernel of any kind, each with the package of tools/apt.txt that brings it.
PROGRAMS = {
    "/lib/systemd/systemd-udevd": "udev",
    "/usr/sbin/sshd": "openssh-server",
    "/usr/sbin/ipvsadm": "ipvsadm",
    "/usr/sbin/ovs-vswitchd": "openvswitch-switch",
    "/usr/sbin/tgtd": "tgt",
    "/sbin/iscsid": "open-iscsi",
    "/sbin/lvm": "lvm2",
    "/sbin/parted": "parted",
    "/usr/sbin/rpc.nfsd": "nfs-kernel-server",
    "/usr/sbin/smbd": "samba",
    "/sbin/mount.cifs": "cifs-utils",
    "/usr/sbin/glusterd": "glusterfs-server",
    "ssh": "openssh-client",
    "ip": "iproute2",
}


@cache
def missing(kind: type[Kernel]) -> tuple[str, ...]:
    """Every reason why no kernel of this kind can be booted here; empty when one can."""
    return tuple(_common(kind)) or tuple(kind.missing())


def _common(kind: type[Kernel]) -> Iterator[str]:
    if os.geteuid() != 0:
        yield "only root may make network namespaces"
    if platform.machine() != "x86_64":
        yield f"the kernels are built for x86_64, this is {platform.machine()}"
    for program, package in {**kind.PROGRAMS, **PROGRAMS}.items():
        if shutil.which(program) is None:
            yield f"{program} is not installed (package {package})"
    if not Path("/dev/net/tun").exists():
        yield "there is no /dev/net/tun"
