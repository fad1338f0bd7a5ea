# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk is layered over is read from the files, as QEMU writes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dosvm.chain import chain


@pytest.fixture
def make(tmp_path: Path):  # type: ignore[no-untyped-def]  # a function of a layer's name, its base and more options
    """Makes a layer by name, over a base that need not be there."""

    def made(name: str, below: str | None = None, form: str = "qcow2", *more: str) -> str:
        over = ["-u", "-b", below, "-F", form] if below else []
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, *over, name, "8M"], cwd=tmp_path, check=True)
        return str(tmp_path / name)

    return made


def test_a_chain_is_followed_to_its_end(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    base, middle, top = make("base"), make("middle", "base", "qcow2", "-o", "compat=0.10"), make("top", "middle")
    assert chain(top) == (top, middle, base)
    assert chain(base) == (base,)
    (tmp_path / "link").symlink_to(top)
    assert chain(str(tmp_path / "link")) == (top, middle, base)


def test_a_base_that_is_called_raw_is_not_read(make) -> None:  # type: ignore[no-untyped-def]
    """Its guest may have written a header into it."""
    make("other")
    fooled = make("fooled", "other")
    top = make("top", "fooled", "raw")
    assert chain(top) == (top, fooled)


def test_a_base_that_is_missing_is_named_and_a_circle_ends(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    top = make("top", "/nowhere/base")
    assert chain(top) == (top, "/nowhere/base")
    one, other = make("one", "other"), make("other", "one")
    assert chain(one) == (one, other)


def test_what_is_no_file_is_named_as_it_is(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    top = make("top", "nbd://10.0.0.1/disk", "raw")
    assert chain(top) == (top, "nbd://10.0.0.1/disk")
    (tmp_path / "text").write_text("QFI\xfb", encoding="latin-1")
    assert chain(str(tmp_path / "text")) == (str(tmp_path / "text"),)
