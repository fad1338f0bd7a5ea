# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's own guest agent for the test guest: its package and those of its libraries, as a second archive behind the initramfs.

The packages are fetched and kept like the kernel's (`tools/guest_image.py`), and the quickstart guest has none of it.
"""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[2] / "tools"))
import guest_image

AGENT = "qemu-guest-agent"
#: Of what it is linked with, all of Debian 12.
LIBRARIES = ("libc6", "libglib2.0-0", "libpcre2-8-0", "libnuma1", "libudev1", "liburing2")
LOADER = "lib64/ld-linux-x86-64.so.2"
PLACE = "lib/x86_64-linux-gnu"
#: Run in the guest: the agent on the port that libvirt names for it. There is no udev to make the usual path.
START = (
    "qemu-ga --method=virtio-serial --statedir=/run --pidfile=/run/agent.pid --daemonize "
    "--path=/dev/$(basename $(dirname $(grep -l guest_agent /sys/class/virtio-ports/*/name)))"
)


def archive() -> bytes:
    """What the kernel is to unpack over the guest's own initramfs."""
    cache = guest_image.DEFAULT_CACHE
    cache.mkdir(parents=True, exist_ok=True)
    folders = {package: guest_image.unpacked(cache, package, version) for package, version in _versions()}
    program = folders[AGENT] / "usr/sbin/qemu-ga"
    loader = folders["libc6"] / PLACE / Path(LOADER).name
    regular = stat.S_IFREG | 0o755
    entries = [guest_image.Entry("bin/qemu-ga", regular, program.read_bytes())]
    entries.append(guest_image.Entry(LOADER, regular, loader.read_bytes()))
    for name, path in _libraries(loader, program, list(folders.values())):
        entries.append(guest_image.Entry(f"{PLACE}/{name}", regular, path.read_bytes()))
    return guest_image.cpio(guest_image.with_parents(entries))


def _versions() -> Iterator[tuple[str, str]]:
    """The packages with the versions that apt would install."""
    for package in (AGENT, *LIBRARIES):
        told = subprocess.run(
            ["apt-cache", "show", "--no-all-versions", package], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r"^Version: (\S+)$", told, re.MULTILINE)
        assert found is not None, f"apt knows no {package}: run `apt-get update`"
        yield package, found[1]


def _libraries(loader: Path, program: Path, folders: list[Path]) -> Iterator[tuple[str, Path]]:
    """All it is linked with, by name; what is not in the packages above would be this machine's, and is an error."""
    paths = [str(folder / place) for folder in folders for place in (PLACE, f"usr/{PLACE}")]
    told = subprocess.run(
        [loader, "--inhibit-cache", "--library-path", ":".join(paths), "--list", program],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name, path in re.findall(r"^\s*([^/\s]\S*) => (\S+)", told, re.MULTILINE):
        assert any(Path(path).is_relative_to(folder) for folder in folders), f"no package of the list has {name}"
        yield name, Path(path)
