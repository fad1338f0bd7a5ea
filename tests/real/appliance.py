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
