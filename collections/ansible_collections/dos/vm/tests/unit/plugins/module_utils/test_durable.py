# SPDX-License-Identifier: GPL-3.0-or-later
"""What law 8 and the safety of data rest on outlives a power cut: content before name, name before the call returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dosvm import durable
from dosvm.hypervisor import backups, credentials, kept, maintenance, saved
from dosvm.hypervisor.bridges import BRIDGES
from dosvm.hypervisor.fences import raise_fences
from dosvm.hypervisor.known_volumes import note_volumes
from dosvm.hypervisor.store_notes import note_store
from dosvm.image.convert import settle
from dosvm.model.certificate import Installed
from dosvm.model.host import StoreState
from dosvm.pki import authority
from dosvm.pki.files import install


class Disk:
    """A disk that loses its power: which content and which names in folders it has for certain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.contents: set[int] = set()  # inodes whose content was written
        self.names: set[tuple[str, int]] = set()  # paths with the inode that they certainly name
        self.early: list[str] = []  # renamed before their content was there
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)

    def fsync(self, handle: int) -> None:
        self._fsync(handle)
        path = os.readlink(f"/proc/self/fd/{handle}")
        if not os.path.isdir(path):
            self.contents.add(os.fstat(handle).st_ino)
            return
        self.names |= {(f"{path}/{name}", os.lstat(f"{path}/{name}").st_ino) for name in os.listdir(path)}

    def replace(self, source: str | Path, target: str | Path) -> None:
        if os.stat(source).st_ino not in self.contents:
            self.early.append(str(target))
        self._replace(source, target)

    def keeps(self, path: Path) -> bool:
        status = path.lstat()
        known = path.is_symlink() or path.is_dir() or status.st_ino in self.contents
        return known and (str(path), status.st_ino) in self.names


def _fence(folder: Path) -> Path:
    raise_fences({"web-1": 4}, folder / "new" / "fences.json")
    return folder / "new" / "fences.json"


def _store(folder: Path) -> Path:
    note_store("lab", StoreState(id="x", generation=4), folder / "new" / "stores.json")
    return folder / "new" / "stores.json"


def _volumes(folder: Path) -> Path:
    note_volumes(["pool/web-1-vda"], {"pool": str(folder)}, noted=folder / "new" / "volumes.json")
    return folder / "new" / "volumes.json"


def _maintenance(folder: Path) -> Path:
    maintenance.write({"reason": "disk"}, folder / "new" / "maintenance.json")
    return folder / "new" / "maintenance.json"


def _bridge(folder: Path) -> Path:
    kept.define(BRIDGES, "br7", "<bridge><name>br7</name></bridge>")
    assert (folder / "units" / kept.WANTED_BY / "dos-vm-bridge@br7.service").is_symlink()
    return folder / "etc" / "bridges" / "br7.xml"


def _credential(folder: Path) -> Path:
    credentials.write("share", b"word")
    return folder / "credentials" / "share"


def _backup(folder: Path) -> Path:
    backups._write(folder, ())
    return folder / backups.LIST


def _key(folder: Path) -> Path:
    authority._write(folder / "ca" / "cakey.pem", b"key", 0o600)
    return folder / "ca" / "cakey.pem"


def _certificate(folder: Path) -> Path:
    (folder / "key.pem.new").write_text("key")
    install(Installed(path=str(folder / "cert.pem"), text="certificate", key=str(folder / "key.pem")))
    return folder / "cert.pem"


def _image(folder: Path) -> Path:
    (folder / "draft").write_bytes(b"image")
    settle(str(folder / "draft"), str(folder / "image"))
    return folder / "image"


WRITERS = (_fence, _store, _volumes, _maintenance, _bridge, _credential, _backup, _key, _certificate, _image)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(kept, "ETC", tmp_path / "etc")
    monkeypatch.setattr(kept, "UNITS", tmp_path / "units")
    monkeypatch.setattr(credentials, "FOLDER", tmp_path / "credentials")
    return Disk(monkeypatch)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_file_is_whole_and_there_after_a_power_cut(write: Callable[[Path], Path], disk: Disk, tmp_path: Path) -> None:
    path = write(tmp_path)
    assert disk.early == []
    made = [held for held in (path, *path.parents) if tmp_path in held.parents]
    assert [held for held in made if not disk.keeps(held)] == []
    others = [held for held in path.parent.iterdir() if not disk.keeps(held)]
    assert others == [], "what was written beside it is lost"


def test_saved_memory_that_is_put_aside_has_its_new_name(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "web.save").write_text("memory")
    here = SimpleNamespace(getURI=lambda: "qemu:///system")
    name = saved.keep_saved(here, "web", 0.0, tmp_path)
    assert (name, Path(name).stat().st_ino) in disk.names


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    durable.write(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", lambda handle: _full())
    with pytest.raises(OSError, match="No space"):
        durable.write(tmp_path / "file", "new")
    assert [(held.name, held.read_text()) for held in tmp_path.iterdir()] == [("file", "old")]


def _full() -> None:
    raise OSError(28, "No space left on device")
