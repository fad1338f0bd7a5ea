# SPDX-License-Identifier: GPL-3.0-or-later
"""libguestfs on a machine that has no kernel of its own in /boot: its appliance gets the one that our guests boot from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dosvm.hypervisor.capabilities import kvm_works

TOP = Path(__file__).resolve().parents[2]
CACHE = TOP / ".cache" / "guest"


def environment() -> dict[str, str]:
    """What libguestfs must be told here. The appliance is kept from run to run: to build it takes longer than to boot it."""
    emulated = {} if kvm_works(os.uname().machine) else {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    if list(Path("/boot").glob("vmlinuz-*")):
        return emulated
    subprocess.run([sys.executable, TOP / "tools" / "guest_image.py"], check=True, capture_output=True)
    (package,) = CACHE.glob("linux-image-*")
    (kernel,) = (package / "boot").glob("vmlinuz-*")
    version = kernel.name.removeprefix("vmlinuz-")
    modules = CACHE.parent / "appliance" / "lib" / "modules" / version
    if not (modules / "modules.dep").exists():
        shutil.copytree(package / "lib" / "modules" / version, modules, dirs_exist_ok=True)
        subprocess.run(["depmod", "-b", CACHE.parent / "appliance", version], check=True)
    os.makedirs(
        "/lib/modules", exist_ok=True
    )  # supermin looks there first, and fails where there is nothing to look at
    return {
        **emulated,
        "SUPERMIN_KERNEL": str(kernel),
        "SUPERMIN_KERNEL_VERSION": version,
        "SUPERMIN_MODULES": str(modules),
        "LIBGUESTFS_CACHEDIR": str(CACHE.parent / "appliance"),
        "LIBGUESTFS_MEMSIZE": "512",
    }


def system(folder: Path) -> Path:
    """A disk with enough of a Debian on it to be known as one, made without mounting anything."""
    tree, disk = folder / "tree", folder / "golden.raw"
    files = {
        "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian"\n',
        "etc/debian_version": "12.0\n",
        "etc/fstab": "/dev/sda / ext4 defaults 0 1\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/ssh/ssh_host_ed25519_key": "not for everybody\n",
        "etc/udev/rules.d/70-persistent-net.rules": 'SUBSYSTEM=="net", NAME="eth7"\n',
        "etc/hostname": "golden\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/shadow": "root:!:19000:0:99999:7:::\n",
        "var/lib/cloud/instances/i-1/sem": "done\n",
        "var/lib/dpkg/status": "",
        "home/somebody/data": "keep me\n",
    }
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("bin", "boot", "dev", "lib", "proc", "root", "sbin", "sys", "tmp", "usr/bin", "var/log"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "bin" / "sh").write_bytes(Path("/bin/busybox").read_bytes())
    (tree / "bin" / "sh").chmod(0o755)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, "32M"], check=True)
    return disk
