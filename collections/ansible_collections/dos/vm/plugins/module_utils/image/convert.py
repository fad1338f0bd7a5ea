# SPDX-License-Identifier: GPL-3.0-or-later
"""One disk file made of another: another format, smaller, flat, on another base. The original is there until the result is proven.

Everything is written beside its destination under a name of its own and takes its place in one step at the end, so what is
cut off leaves nothing but a draft, and the next call writes that anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import durable
from ..errors import DeclarationError, HypervisorError
from ..model.image import Convert, Rebase
from ..model.types import ByteSize
from .header import Header, objections, read_header, refuse
from .job import Report
from .program import ask, run

DRAFT = ".dos-vm-draft"
ORIGINAL = ".original"
LONGEST_CHAIN = 200
RESERVE = 64 * 2**20  # bytes that are left free


def convert(
    asked: Convert, source: str, destination: str, report: Report, environment: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Write `source` as `destination`, prove that both hold the same, and let it take its place."""
    header = chain(source, asked.source_format, flatten=asked.flatten)[0]
    draft = destination + DRAFT
    _room(asked, source, header.format, destination)
    try:
        if asked.sparsify:
            run("sparsify", _sparsify(asked, header, source, draft), report, environment)
        else:
            run("convert", _convert(asked, header, source, draft), report)
        if asked.capacity is not None:
            _grow(draft, asked.format, asked.capacity, report)
        with _written_meanwhile(draft):
            verify(source, header.format, draft, asked.format, report, same=not asked.sparsify)
        like(draft, destination if os.path.exists(destination) else source)
        before = allocated(source)
        settle(draft, destination, keep=asked.keep)
    finally:
        Path(draft).unlink(missing_ok=True)
    return {"before": before, "after": allocated(destination), "file": destination}


def _convert(asked: Convert, header: Header, source: str, draft: str) -> list[str]:
    compress = ["-c"] if asked.compress else []
    return ["qemu-img", "convert", "-p", *compress, "-f", header.format, "-O", asked.format, source, draft]


def _sparsify(asked: Convert, header: Header, source: str, draft: str) -> list[str]:
    compress = ["--compress"] if asked.compress else []
    formats = ["--format", header.format, "--convert", asked.format]
    return ["virt-sparsify", "--machine-readable", *formats, *compress, source, draft]


def _grow(draft: str, format_: str, capacity: ByteSize, report: Report) -> None:
    has = int(ask("qemu-img", "info", "--output=json", "-f", format_, draft)["virtual-size"])
    if capacity < has:
        raise HypervisorError("grow", f"has {ByteSize(has)} and cannot shrink to {capacity} (LIMIT-10)")
    run("grow", ["qemu-img", "resize", "-f", format_, draft, str(int(capacity))], report)


def rebase(asked: Rebase, file: str, base: str, report: Report) -> Mapping[str, Any]:
    """Layer `file` over `base` and keep what it holds: what differs between the bases is copied into it (qemu-img rebase)."""
    held = chain(file, None, flatten=True)[0]
    below = chain(base, asked.base_format, flatten=True)[0]
    if held.backing is None:
        raise DeclarationError.at(file, "is layered over nothing, so it cannot be moved onto another base")
    draft = file + DRAFT
    try:
        copy(file, draft, report)
        run("rebase", ["qemu-img", "rebase", "-p", "-f", held.format, "-b", base, "-F", below.format, draft], report)
        with _written_meanwhile(draft):
            verify(file, held.format, draft, held.format, report)
        like(draft, file)
        settle(draft, file, keep=asked.keep)
    finally:
        Path(draft).unlink(missing_ok=True)
    return {"file": file, "backing": base}


def chain(path: str, declared: str | None, *, flatten: bool) -> list[Header]:
    """The headers of a file and of all it is layered over. Raises `DeclarationError` for one that leads where nobody meant.

    A backing file is followed where it is asked for, and only to plain files of this host that are named from the root.
    """
    found: list[Header] = []
    seen = {path}
    while True:
        header = read_header(path)
        refuse(path, header, declared, layered=flatten)
        found.append(header)
        if header.backing is None:
            return found
        if not header.backing.startswith("/") or header.backing in seen or len(found) > LONGEST_CHAIN:
            raise DeclarationError.at(
                path, f"is layered over {header.backing!r}, which is not followed: write an absolute path"
            )
        path, declared = header.backing, None
        seen.add(path)


def verify(
    source: str, source_format: str, result: str, result_format: str, report: Report, *, same: bool = True
) -> None:
    """CONV-07: the result is whole, is what it should be, and holds the same. Raises `HypervisorError`."""
    found = list(objections(read_header(result), result_format, layered=True))
    if found:
        raise HypervisorError("verify", f"the result {'; '.join(found)}")
    if result_format in CHECKED:
        run("check", ["qemu-img", "check", "-f", result_format, result], report)
    if same:
        run("compare", ["qemu-img", "compare", "-p", "-f", source_format, "-F", result_format, source, result], report)


CHECKED = ("qcow2", "qed", "vdi", "vmdk")  # formats that qemu-img can check


def _room(asked: Convert, source: str, source_format: str, destination: str) -> None:
    """Raise `HypervisorError` where the result will not fit. What qemu-img cannot measure needs as much as its source has."""
    folder = os.path.dirname(destination)
    if asked.format in ("raw", "qcow2") and not asked.compress and not asked.sparsify:
        needed = int(
            ask("qemu-img", "measure", "--output=json", "-f", source_format, "-O", asked.format, source)["required"]
        )
    else:
        needed = allocated(source)
    enough(folder, needed, os.path.basename(destination))


def enough(folder: str, needed: int, what: str) -> None:
    """Raise `HypervisorError` where a file system has less room than is needed."""
    free = free_space(folder)
    if needed + RESERVE > free:
        text = f"{what} needs {_rough(needed)} and {folder} has {_rough(free)} free: make room, or write it elsewhere"
        raise HypervisorError("find room", text)


def free_space(folder: str) -> int:
    """Bytes that are free in the file system of a directory, or of the nearest one above that exists."""
    path = Path(folder)
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _rough(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def allocated(path: str) -> int:
    """Bytes that a file takes."""
    return os.stat(path).st_blocks * 512


def copy(source: str, draft: str, report: Report) -> None:
    """A copy that shares its blocks with the source where the file system can."""
    enough(os.path.dirname(draft), allocated(source), os.path.basename(draft))
    run("copy", ["cp", "--reflink=auto", "--sparse=always", source, draft], report)


def like(draft: str, model: str) -> None:
    """Owner and mode of another file."""
    held = os.stat(model)
    os.chown(draft, held.st_uid, held.st_gid)
    shutil.copymode(model, draft)


def settle(draft: str, destination: str, *, keep: bool = False) -> None:
    """The draft takes its place, on the disk for certain; with `keep` what was there stays beside it."""
    _write(draft)
    if keep and os.path.exists(destination):
        os.link(destination, free_name(destination + ORIGINAL))
    durable.move(draft, destination)


@contextmanager
def _written_meanwhile(path: str) -> Iterator[None]:
    """A file goes to the disk while it is read for its proof: the one waits for the disk, the other for a processor."""
    with ThreadPoolExecutor(1) as beside:
        written = beside.submit(_write, path)
        yield
        written.result()


def _write(path: str) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def free_name(path: str) -> str:
    """A name that no file has: `path`, or that with a number."""
    return next(name for name in _names(path) if not os.path.lexists(name))


def _names(path: str) -> Iterator[str]:
    yield path
    number = 1
    while True:
        number += 1
        yield f"{path}.{number}"
