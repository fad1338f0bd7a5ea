# SPDX-License-Identifier: GPL-3.0-or-later
"""Who keeps two hosts of a lab from writing to one disk, where QEMU's own locks are not to be all there is.

`lockd` is libvirt's own daemon; `sanlock` keeps leases in files of the shared directory, which a dead host loses with time
and a living one never. A host that loses its leases ought to be reset by its watchdog; hosts of a lab have none.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from .errors import LabError

#: Each with the files it brings to the disk of host number {number}.
MANAGERS: dict[str, dict[str, str]] = {
    "none": {},
    "lockd": {"etc/libvirt/qemu.conf": 'lock_manager = "lockd"\n'},
    "sanlock": {
        "etc/libvirt/qemu.conf": 'lock_manager = "sanlock"\n',
        # A timeout of a second instead of ten: a lease is given up after 8 s and free for others after 68.
        "etc/libvirt/qemu-sanlock.conf": (
            'auto_disk_leases = 1\ndisk_lease_dir = "/srv/shared/sanlock"\nhost_id = {number}\nio_timeout = 1\n'
            'user = "root"\ngroup = "root"\n'
        ),
        "etc/systemd/system/libvirtd.service.d/sanlock.conf": "[Unit]\nWants=sanlock.service\nAfter=sanlock.service\n",
    },
}
DEFAULT = "none"
#: On every host, whoever starts sanlock there: without the capability to raise limits it only starts as it does for its
#: own tests. Processes are not locked into memory then.
SANLOCK = {
    "etc/systemd/system/sanlock.service.d/lab.conf": (
        "[Unit]\nAfter=lab-shared.service\n[Service]\nEnvironment=SANLOCK_PRIVILEGED=0\n"
    ),
}
PROGRAM = "/usr/sbin/sanlock"
DRIVERS = Path("/usr/lib/x86_64-linux-gnu/libvirt/lock-driver")
#: libvirt's own name; the host that comes first would make it, and one that comes at the same moment would find it half made.
LOCKSPACE = "__LIBVIRT__DISKS__"


def missing(manager: str) -> list[str]:
    """Why this machine's hosts cannot have it; empty when they can."""
    if manager != "sanlock":
        return []
    packages = {Path(PROGRAM): "sanlock", DRIVERS / "sanlock.so": "libvirt-sanlock"}
    return [f"{path} is not installed (package {name})" for path, name in packages.items() if not path.exists()]


def files(manager: str, number: int) -> dict[str, str]:
    """What goes to the disk of a host that is being made: text by path. Files of the machine's are added to."""
    own = {path: text.format(number=number) for path, text in MANAGERS[manager].items()}
    return {path: _packaged(path) + text for path, text in own.items()} | SANLOCK


def _packaged(path: str) -> str:
    machines = Path("/", path)
    return machines.read_text() + "\n" if machines.name == "qemu.conf" else ""


def make_lockspace(shared: Path) -> None:
    """In the lab's shared directory, before any host looks for it."""
    folder = shared / "sanlock"
    folder.mkdir(mode=0o700, exist_ok=True)
    if (folder / LOCKSPACE).exists():
        return
    made = folder / "unfinished"
    made.touch(0o600)
    command = [PROGRAM, "direct", "init", "-o", "1", "-s", f"{LOCKSPACE}:0:{made}:0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"no lockspace in {folder}: {done.stderr.strip() or done.stdout.strip()}")
    made.rename(folder / LOCKSPACE)
