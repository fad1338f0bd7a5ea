# SPDX-License-Identifier: GPL-3.0-or-later
"""A read-only image under a real guest that writes: overlays in the declared directory, gone at the stop (IMG-04, DMN-04)."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from guests import ShellGuest, said

from dosvm.apply import converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.overlay import FOLDER, link
from dosvm.model.slice import Permission, Slice

pytestmark = pytest.mark.libvirt


class Forgetful(ShellGuest):
    """A guest whose second disk is an image that it may write to and that forgets; `directory` has the overlays."""

    def __init__(self, hypervisor: LibvirtHypervisor, name: str, tmp: Path, directory: Path) -> None:
        super().__init__(hypervisor, name, tmp)
        self.image, self.directory = tmp / "data.qcow2", directory
        self.image.chmod(0o444)
        self.domain["disks"][1] |= {"transient": True, "overlays": str(directory)}

    @property
    def overlays(self) -> list[Path]:
        return [path for path in self.directory.rglob("*.TRANSIENT-*") if path.is_file()]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.image.read_bytes()).hexdigest()

    def power(self, on: bool) -> Any:
        self.domain["active"] = on
        held = decode(Slice, {"site": "test", "domains": [self.domain]})
        return converge(held, self.hypervisor, permission=Permission())

    def booted(self) -> None:
        self.log.unlink(missing_ok=True)
        assert self.power(True).failures == ()
        said(self.log, "is up")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own for overlays, as small as a test needs it."""
    path = tmp_path / "overlays"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=711", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_what_a_guest_writes_lives_in_the_declared_directory_until_it_stops(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, room: Path
) -> None:
    """IMG-01, DISK-04, VM-19."""
    guest = Forgetful(hypervisor, prefix, tmp_path, room)
    before = guest.digest
    guest.booted()
    guest.shell("n=$((40 + 2)); echo kept-$n | dd of=/dev/vdb conv=fsync 2>/dev/null; echo wrote $n", "wrote 42")
    guest.shell("echo found $(head -c 7 /dev/vdb)", "found kept-42")
    assert [path.is_relative_to(room / FOLDER / prefix / "vdb") for path in guest.overlays] == [True]
    assert guest.power(True).changed is False  # as declared, while libvirt shows the overlay and its link
    assert guest.power(False).failures == ()
    assert guest.overlays == []
    assert guest.digest == before
    guest.booted()
    guest.shell("n=$((3 + 4)); echo found $n $(head -c 4 /dev/vdb | tr '\\0' z)", "found 7 zzzz")
    assert [path.parent for path in tmp_path.glob("*.TRANSIENT-*")] == []


def test_an_overlay_that_a_crash_left_is_removed_and_a_lost_link_is_made_again(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, room: Path
) -> None:
    guest = Forgetful(hypervisor, prefix, tmp_path, room)
    assert guest.power(False).failures == ()
    made = Path(link(str(room), prefix, "vdb", str(guest.image)))
    made.unlink()
    Path(f"{made}.TRANSIENT-{prefix}").write_text("from before the power went")
    assert guest.power(True).failures == ()
    assert guest.power(False).failures == ()
    assert guest.overlays == []


def test_a_start_is_refused_where_an_overlay_has_no_room_and_done_when_there_is(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, room: Path
) -> None:
    guest = Forgetful(hypervisor, prefix, tmp_path, room)
    with (room / "filler").open("wb") as filler, suppress(OSError):
        while True:
            filler.write(bytes(2**20))
    [failure] = guest.power(True).failures
    assert f"{room} has 0 B free, too little for a temporary overlay (DMN-04)" in str(failure)
    assert not hypervisor.observe("test")[Address("domain", prefix)].active
    (room / "filler").unlink()
    assert guest.power(True).failures == ()
    assert len(guest.overlays) == 1
