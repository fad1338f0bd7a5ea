# SPDX-License-Identifier: GPL-3.0-or-later
"""The system calls that Python 3.11 has no functions for. Each raises OSError with the kernel's reason and what it was about."""

from __future__ import annotations

import ctypes
import os
import platform

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, about: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2); `data` are the file system's own options, comma-separated."""
    words = (_bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data))
    _checked(_libc.mount(*words), f"mounting {kind or source or 'nothing'} on {target}")


def umount(target: str, flags: int = 0) -> None:
    _checked(_libc.umount2(_bytes(target), flags), f"unmounting {target}")


def unshare(flags: int) -> None:
    """New namespaces for the calling process; a new pid namespace begins with its next child."""
    _checked(_libc.unshare(flags), f"new namespaces {flags:#x}")


def enter(namespace: str) -> None:
    """Moves the calling process into the namespace whose file this is."""
    handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(handle, 0), f"entering {namespace}")
    finally:
        os.close(handle)


def sethostname(name: str) -> None:
    _checked(_libc.sethostname(_bytes(name), len(os.fsencode(name))), f"host name {name}")


def pivot_root(root: str, old: str) -> None:
    _checked(_libc.syscall(PIVOT_ROOT[platform.machine()], _bytes(root), _bytes(old)), f"{root} as the root")
