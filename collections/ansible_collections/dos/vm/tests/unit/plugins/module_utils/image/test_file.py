# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of an image's file before anything is sent or deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosvm.errors import ConflictError, DeclarationError
from dosvm.image.file import look, remove
from dosvm.model.image import ImageFile
from dosvm.model.types import AbsolutePath, ByteSize


def asked(path: Path, **more: object) -> ImageFile:
    return ImageFile(file=AbsolutePath(str(path)), format="raw", **more)  # type: ignore[arg-type]  # fields by name


def test_a_file_that_is_larger_than_its_quota_was_reckoned_with_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    path.write_bytes(bytes(4096))
    assert look(asked(path, at_most=ByteSize(4096)), None, 0.0)["present"]
    with pytest.raises(DeclarationError, match="has 4096 bytes and is declared with 1 KiB: declare its size"):
        look(asked(path, at_most=ByteSize(1024)), None, 0.0)


def test_a_larger_one_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="has 8192 bytes and is declared with 4 KiB"):
        look(asked(tmp_path / "folder" / "image.raw", at_most=ByteSize(4096)), 8192, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_file_goes_when_nobody_has_it(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    path.write_bytes(b"x")
    with pytest.raises(ConflictError, match=r"is used by domain web: take it from them first \(IMG-08\)"):
        remove(asked(path), ["domain web"], dry_run=False)
    assert remove(asked(path), [], dry_run=True)
    assert path.exists()
    assert remove(asked(path), [], dry_run=False)
    assert not remove(asked(path), [], dry_run=False)
