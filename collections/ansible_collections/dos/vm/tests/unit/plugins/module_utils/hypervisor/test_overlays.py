# SPDX-License-Identifier: GPL-3.0-or-later
"""Links for overlays are made where they are missing, and what a crash left is removed before a start."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor import overlays
from dosvm.model.domain import Disk, Domain
from dosvm.model.overlay import link, overlay_of
from dosvm.model.types import AbsolutePath, ByteSize, Name
from dosvm.xml.domain import render


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "base.raw"
    path.parent.mkdir()
    path.write_bytes(bytes(4096))
    return path


def domain(image: Path, directory: Path | None, disks: int = 1) -> Any:
    held = AbsolutePath(str(directory)) if directory else None
    disk = Disk(file=AbsolutePath(str(image)), format="raw", transient=True, overlays=held)
    return render(Domain(name=Name("web-1"), memory=ByteSize("32 MiB"), virt_type="qemu", disks=(disk,) * disks))


def links(directory: Path, image: Path, *targets: str) -> list[Path]:
    return [Path(link(str(directory), "web-1", target, str(image))) for target in targets]


def test_each_disk_has_a_link_of_its_own(tmp_path: Path, image: Path) -> None:
    directory = tmp_path / "overlays"
    overlays.prepare(domain(image, directory, disks=2))
    for made in links(directory, image, "vda", "vdb"):
        assert os.readlink(made) == str(image)
        assert all(folder.stat().st_mode & 0o001 for folder in made.parents if directory in folder.parents)
    overlays.prepare(domain(image, directory, disks=2))


def test_a_link_that_leads_elsewhere_is_made_right(tmp_path: Path, image: Path) -> None:
    [made] = links(tmp_path / "overlays", image, "vda")
    made.parent.mkdir(parents=True)
    made.symlink_to("/etc/passwd")
    overlays.prepare(domain(image, tmp_path / "overlays"))
    assert os.readlink(made) == str(image)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, image: Path) -> None:
    (tmp_path / "overlays").write_text("a file")
    with pytest.raises(HypervisorError, match=r"make the overlay directory of domain web-1: .*/overlays"):
        overlays.prepare(domain(image, tmp_path / "overlays"))


@pytest.mark.parametrize("declared", [True, False])
def test_what_a_crash_left_is_removed(tmp_path: Path, image: Path, declared: bool) -> None:
    held = domain(image, tmp_path / "overlays" if declared else None)
    overlays.prepare(held)
    path = links(tmp_path / "overlays", image, "vda")[0] if declared else image
    left = Path(overlay_of(str(path), "web-1"))
    left.write_text("what was written before the power went")
    overlays.clear(held)
    assert not left.exists()
    assert image.stat().st_size == 4096


def test_a_machine_that_is_no_more_leaves_nothing_and_the_image_stays(tmp_path: Path, image: Path) -> None:
    directory = tmp_path / "overlays"
    overlays.prepare(domain(image, directory))
    overlays.forget(domain(image, directory))
    assert list((directory / "dosvm-overlays").iterdir()) == []
    assert image.exists()


def test_overlays_of_one_machine_share_what_is_free(tmp_path: Path, image: Path, monkeypatch: Any) -> None:
    free = SimpleNamespace(f_bavail=3 * 2**20, f_frsize=1)
    monkeypatch.setattr(overlays.os, "statvfs", lambda _path: free)
    held = [domain(image, tmp_path / "overlays", disks=disks) for disks in (3, 4)]
    for each in held:
        overlays.prepare(each)
    assert list(overlays.cramped(held[0])) == []
    [told] = overlays.cramped(held[1])
    assert told.startswith(f"{tmp_path}/overlays has 3 MiB free, too little for a temporary overlay (DMN-04)")
