# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds as files of the host: written whole or not at all, found again, and removed with their machine.

The disc is made by genisoimage or its successors and by mtools, the tools that distributions keep; nothing is mounted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HypervisorError
from ..model.seed import REFERENCE, ROOT
from ..plan.action import WriteSeed

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

MAKERS = ("genisoimage", "mkisofs", "xorrisofs")
SECTOR = 512
# FAT32 from 33 MiB on, and nothing below is worth saving: the file is sparse.
SMALLEST = 2 * 2**20


def seed_of(domain: Element) -> str | None:
    """The path of the seed that a machine is defined with."""
    for source in domain.iterfind("devices/disk/source[@file]"):
        path = source.get("file", "")
        if path.startswith(f"{ROOT}/"):
            return path
    return None


def seen(domain: Element) -> dict[str, str]:
    """What `Observed.info` says of a seed: its path, if the file is there."""
    path = seed_of(domain)
    return {"seed": path} if path is not None and os.path.exists(path) else {}


def write(action: WriteSeed, values: Mapping[str, bytes], in_use: set[str]) -> None:
    """Make the disc at `action.path`; `in_use` are those of the machine that stay. Raises `HypervisorError`."""
    target = Path(action.path)
    target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    for folder in (Path(ROOT).parent, Path(ROOT), target.parent):
        folder.chmod(0o711)  # QEMU is another user, and need not see what else there is
    with tempfile.TemporaryDirectory(prefix="cd_gen_", dir=target.parent) as name:
        tree, made = Path(name, "tree"), Path(name, "disc")
        tree.mkdir()
        for path, text in action.files.items():
            Path(tree, path).parent.mkdir(parents=True, exist_ok=True)
            Path(tree, path).write_text(resolved(text, values), encoding="utf-8")
        _iso(action, tree, made) if target.suffix == ".iso" else _fat(action, tree, made)
        made.chmod(0o600)  # libvirt gives it to QEMU while the machine runs
        made.replace(target)
    for left in target.parent.iterdir():
        if left.is_file() and str(left) not in in_use | {action.path}:
            left.unlink()


def forget(machine: str) -> None:
    """Remove the seeds of a machine that is no more."""
    shutil.rmtree(Path(ROOT, machine), ignore_errors=True)


def resolved(text: str, values: Mapping[str, bytes]) -> str:
    """The text with its secrets. What is missing is a `HypervisorError` that names it."""

    def value(kind: str, name: str) -> str:
        if name not in values:
            raise HypervisorError("write a seed", f"secret {name} has no value in this run: give it, from a vault")
        told = values[name].decode()
        return hashed(told) if kind == "hash" else told

    return REFERENCE.sub(lambda found: value(found[1], found[2]), text)


def hashed(password: str) -> str:
    """The password as `/etc/shadow` has it, SHA-512 with a salt of its own. It passes through a pipe, never an argument."""
    return _run("openssl", "passwd", "-6", "-stdin", given=password + "\n").strip()


def _iso(action: WriteSeed, tree: Path, made: Path) -> None:
    maker = next((name for name in MAKERS if shutil.which(name)), None)
    if maker is None:
        raise HypervisorError(
            f"write the seed of {action.address}", "there is no genisoimage, mkisofs or xorrisofs: install one"
        )
    # Joliet and Rock Ridge, names as they are: what guests of every kind read (CFGD-03).
    how = ("-quiet", "-J", "-r", "-l", "-ldots", "-allow-lowercase", "-allow-multidot")
    told = how if maker != "xorrisofs" else ("-quiet", "-J", "-r", "-l")
    _run(maker, *told, "-publisher", "dos.vm", "-V", action.label, "-o", str(made), str(tree))


def _fat(action: WriteSeed, tree: Path, made: Path) -> None:
    content = sum(held.stat().st_size + SECTOR for held in tree.rglob("*"))
    size = max(SMALLEST, -(-2 * content // 2**20) * 2**20)
    with made.open("wb") as disk:
        disk.truncate(size)
    heads, sectors = 16, 32
    _run(
        "mformat",
        "-i",
        str(made),
        "-T",
        str(size // SECTOR),
        "-h",
        str(heads),
        "-s",
        str(sectors),
        "-v",
        action.label,
        "::",
    )
    _run("mcopy", "-i", str(made), "-s", *(str(held) for held in sorted(tree.iterdir())), "::")


def _run(*command: str, given: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HypervisorError("write a seed", f"there is no {command[0]}: install it") from None
    if done.returncode:
        raise HypervisorError("write a seed", f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
