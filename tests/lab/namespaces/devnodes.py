# SPDX-License-Identifier: GPL-3.0-or-later
"""Service of a lab host: device nodes that the kernel makes at run time.

It makes them in one place for the whole machine, and a host's /dev is its own: macvtap interfaces (/dev/tapN) and partitions
of loop devices (/dev/loopNpM) would be missing. The kernel tells every network namespace of a new device; we listen.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat

NETLINK_KOBJECT_UEVENT = 15
WANTED = {re.compile(r"tap\d+"): stat.S_IFCHR, re.compile(r"loop\d+p\d+"): stat.S_IFBLK}


def told(message: bytes) -> dict[str, str]:
    """A uevent: NUL-separated KEY=VALUE after a first line that repeats some of them."""
    return dict(part.split("=", 1) for part in message.decode(errors="replace").split("\0") if "=" in part)


def follow(event: dict[str, str]) -> None:
    name = event.get("DEVNAME", "")
    kinds = [kind for pattern, kind in WANTED.items() if pattern.fullmatch(name)]
    if kinds and event.get("ACTION") == "add":
        with contextlib.suppress(FileExistsError):
            number = os.makedev(int(event["MAJOR"]), int(event["MINOR"]))
            os.mknod(f"/dev/{name}", kinds[0] | 0o600, number)
    elif kinds and event.get("ACTION") == "remove":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/dev/{name}")


def main() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT) as events:
        events.bind((0, 1))
        while True:
            follow(told(events.recv(65536)))


if __name__ == "__main__":
    main()
