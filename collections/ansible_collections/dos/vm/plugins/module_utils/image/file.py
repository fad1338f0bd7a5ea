# SPDX-License-Identifier: GPL-3.0-or-later
"""An image as a file of a host: there or not, what it must be, and how it comes together from the pieces of an upload.

To hash a file takes as long as to read it. So what was found is noted beside our own data, with the size and the time of the
file it was found for: a file that is the same to the nanosecond is not read again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConflictError, DeclarationError
from ..model.image import ImageFile
from ..model.types import ByteSize
from .convert import enough, settle
from .digest import digest
from .header import read_header, refuse, shown
from .job import Job, Report
from .receive import receive

NOTES = Path("/var/lib/dos-vm/digests")
PIECE = 4 * 2**20
MODE = 0o644


def upload_name(asked: ImageFile) -> str:
    """Where the pieces come together: named for what they will be, so that two versions never mix."""
    folder, name = os.path.split(asked.file)
    return os.path.join(folder, f".{name}.{str(asked.checksum)[7:23]}.dos-vm-upload")


def look(asked: ImageFile, size: int | None, seconds: float) -> Mapping[str, Any]:
    """What there is of an image: `present`, or how many bytes of an upload (`offset`). `size` is that of the whole.

    `running` and `percent` while its content is still being read. Raises `DeclarationError` for a file that is another than
    was declared, and `HypervisorError` where the whole would not fit.
    """
    is_there = os.path.exists(asked.file)
    _within(asked, os.path.getsize(asked.file) if is_there else size)
    if is_there:
        refuse(asked.file, read_header(asked.file), asked.format)
        digest = noted(asked.file)
        if asked.checksum and digest is None:
            told = Job({"digest": asked.file}).advance(lambda report: _digest(asked.file, report), seconds)
            if told["state"] == "running":
                return {"running": True, "step": "read", "percent": told["percent"]}
            digest = str(told["digest"])
        if asked.checksum and digest != asked.checksum:
            text = (
                f"has {digest} and is declared {asked.checksum}: bring the right file, or delete this one and run again"
            )
            raise DeclarationError.at(asked.file, text)
        return {"present": True, "checksum": digest, **shown(read_header(asked.file))}
    if size is None:
        raise DeclarationError.at(
            asked.file, "is not on the host: put it there, or write the source it is brought from"
        )
    part = Path(upload_name(asked))
    offset = min(part.stat().st_size // PIECE * PIECE, size) if part.exists() else 0
    part.parent.mkdir(parents=True, exist_ok=True)
    enough(str(part.parent), size - offset, os.path.basename(asked.file))
    return {"present": False, "offset": offset, "part": str(part)}


def _within(asked: ImageFile, size: int | None) -> None:
    """IMG-10: what a quota was reckoned with is what there is."""
    if asked.at_most is not None and size is not None and size > asked.at_most:
        text = f"has {size} bytes and is declared with {asked.at_most}: declare its size, which counts for the quota"
        raise DeclarationError.at(asked.file, text)


def finish(asked: ImageFile, seconds: float) -> Mapping[str, Any]:
    """Prove that what came together is what was declared, and let it take its place. A wrong one is thrown away."""
    part = upload_name(asked)
    told = Job({"digest": part}).advance(lambda report: _digest(part, report), seconds)
    if told["state"] == "running":
        return {"running": True, "step": "verify", "percent": told["percent"]}
    try:
        if told["digest"] != asked.checksum:
            text = f"what arrived has {told['digest']} and is declared {asked.checksum}: it was thrown away, run again"
            raise DeclarationError.at(asked.file, text)
    except DeclarationError:
        Path(part).unlink()
        raise
    return _take_place(asked, str(told["digest"]))


def _take_place(asked: ImageFile, digest: str) -> Mapping[str, Any]:
    """What is proven by its content becomes the image, if its header allows. A wrong one is thrown away."""
    part = upload_name(asked)
    try:
        refuse(asked.file, read_header(part), asked.format)
    except DeclarationError:
        Path(part).unlink()
        raise
    os.chmod(part, MODE)
    settle(part, asked.file)
    _note(asked.file, digest)
    return {"present": True, "checksum": digest, **shown(read_header(asked.file))}


def bring(asked: ImageFile, seconds: float) -> Mapping[str, Any]:
    """Copy the source, which is a file of this very machine, and prove it on the way."""
    part, source = upload_name(asked), str(asked.source)
    told = Job({"receive": part, "source": source}).advance(lambda report: receive(source, part, report), seconds)
    if told["state"] == "running":
        return {"running": True, "step": told.get("step", "copy"), "percent": told["percent"]}
    if told["digest"] != asked.checksum:
        Path(part).unlink()
        text = f"{source} has {told['digest']} and is declared {asked.checksum}"
        raise DeclarationError.at("source", f"{text}: bring the right file, or declare what it is; nothing was kept")
    return _take_place(asked, str(told["digest"]))


def declaration(path: str, report: Report) -> Mapping[str, Any]:
    """What an entry of `dos_images` says of a file: with it the file is registered (VOL-12)."""
    found = _digest(path, report)
    return {
        "file": path,
        "format": read_header(path).format,
        "size": str(ByteSize(os.path.getsize(path))),
        "checksum": found["digest"],
    }


def remove(asked: ImageFile, users: list[str], *, dry_run: bool) -> bool:
    """Delete the file, unless somebody needs it (IMG-08). Whether there was one."""
    if not os.path.exists(asked.file):
        return False
    if users:
        raise ConflictError(f"{asked.file} is used by {', '.join(users[:5])}: take it from them first (IMG-08)")
    if not dry_run:
        os.unlink(asked.file)
        _notes_of(asked.file).unlink(missing_ok=True)
    return True


def _digest(path: str, report: Report) -> Mapping[str, Any]:
    """What is in a file, noted for it if it was not changed meanwhile."""
    before = _seal(os.stat(path))
    found = digest(path, "read", report)
    if _seal(os.stat(path)) == before:
        _note(path, found)
    return {"digest": found}


def noted(path: str) -> str | None:
    """The checksum that was found for exactly this file."""
    try:
        told = json.loads(_notes_of(path).read_text())
    except (OSError, ValueError):
        return None
    return str(told["checksum"]) if told.get("seal") == _seal(os.stat(path)) else None


def _note(path: str, checksum: str) -> None:
    NOTES.mkdir(parents=True, exist_ok=True, mode=0o700)
    _notes_of(path).write_text(json.dumps({"file": path, "seal": _seal(os.stat(path)), "checksum": checksum}))


def _notes_of(path: str) -> Path:
    return NOTES / f"{hashlib.sha256(path.encode()).hexdigest()[:24]}.json"


def _seal(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_mtime_ns, found.st_ino]
