# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's cloud kernel from its package, and the initrd from which it gets to the machine's own root file system.

The package is the one that the quickstart guest is made of (tools/guest_image.py), unpacked in the same cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from namespaces.errors import LabError
from namespaces.group import TREE

sys.path.append(str(TREE / "tools"))
import guest_image
from guest_image import Entry

CACHE = guest_image.DEFAULT_CACHE
SCRIPT = Path(__file__).with_name("initrd.sh")
#: What the way to the root needs; the rest is loaded from there.
MODULES = {"root": ("virtio_pci", "virtiofs", "overlay", "virtio_blk", "virtio_net")}


@dataclass(frozen=True, slots=True)
class Cloud:
    """The unpacked packages."""

    kernel: Path
    busybox: Path

    @property
    def vmlinuz(self) -> Path:
        (found,) = self.kernel.glob("boot/vmlinuz-*")
        return found

    @property
    def modules(self) -> Path:
        """A folder with one folder in it, of the kernel's release."""
        return self.kernel / "lib" / "modules"


@cache
def ensure() -> Cloud:
    """Fetches what the cache has not; raises LabError when apt does not know the packages or cannot get them."""
    try:
        return _fetched()
    except guest_image.BuildError as error:
        raise LabError(f"no kernel for an emulated machine: {error}") from None


def _fetched() -> Cloud:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock, contextlib.redirect_stdout(sys.stderr):
        fcntl.flock(lock, fcntl.LOCK_EX)
        cached = guest_image.read_fingerprint(CACHE / "fingerprint.json")
        packages = guest_image.wanted_fingerprint(cached).packages
        found = Cloud(
            guest_image.unpacked(CACHE, packages.kernel, packages.kernel_version),
            guest_image.unpacked(CACHE, guest_image.BUSYBOX_PACKAGE, packages.busybox_version),
        )
        _index(found)
    return found


def _index(found: Cloud) -> None:
    """The lists that modprobe reads, which the package would have made when it was installed."""
    (release,) = found.modules.iterdir()
    done = release / "indexed"
    if not done.exists():
        guest_image.run("depmod", "--basedir", str(found.kernel), release.name)
        done.touch()


def initrd(found: Cloud) -> bytes:
    return guest_image.cpio(guest_image.with_parents([*_entries(found)]))


def _entries(found: Cloud) -> Iterator[Entry]:
    yield from guest_image.module_entries(found.kernel, MODULES)
    yield from guest_image.busybox_entries(found.busybox)
    yield Entry("init", stat.S_IFREG | 0o755, SCRIPT.read_bytes())
