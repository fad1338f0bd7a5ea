# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a host is one for all who reach its libvirtd: by any URI, as any user that the socket lets in."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor import lock
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.lock import file_of, lock_file
from dosvm.hypervisor.reached import reached

SYSTEM, OTHER_SPELLING = "qemu:///system", "qemu+unix:///system?socket=/run/libvirt/libvirt-sock"
NOBODY = 65534  # in a group of that number
STRANGER = 1  # daemon, who is in no group but its own
HOLDS = """
import os, sys, time
sys.path[:0] = {path!r}
from functools import partial
from pathlib import Path
from dosvm.errors import HypervisorError
from dosvm.hypervisor import lock
os.setgroups([]); os.setgid({user}); os.setuid({user})
lock.FOLDERS, lock.reached = (Path({folder!r}),), partial(lock.reached, run=Path({run!r}))
try:
    with lock.lock_file({uri!r}) as held:
        lock.wait_for(held, time.monotonic() + 0.2, 0.05)
        with lock.noted(held):
            print("has the lock", flush=True)
            sys.stdin.read()
except HypervisorError as refused:
    print(refused, flush=True)
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The lock of a libvirt, in a folder like /run/lock, whose socket is for root and for nobody's group."""
    with tempfile.TemporaryDirectory() as name:
        folder, run = Path(name, "lock"), Path(name, "run")
        for made, mode in ((Path(name), 0o755), (folder, 0o1777), (run, 0o755)):
            made.mkdir(exist_ok=True)
            made.chmod(mode)
        (run / "libvirt-sock").touch()
        os.chown(run / "libvirt-sock", 0, NOBODY)
        (run / "libvirt-sock").chmod(0o770)
        monkeypatch.setattr(lock, "FOLDERS", (folder,))
        monkeypatch.setattr(lock, "reached", partial(reached, run=run))
        yield file_of(reached(SYSTEM, run=run))


@contextmanager
def run_of(user: int, uri: str, place: Path) -> Iterator[str]:
    """A run as a user; yields what became of it, and it keeps the lock meanwhile."""
    run = place.parents[1] / "run"
    code = HOLDS.format(path=sys.path, user=user, uri=uri, folder=str(place.parent), run=str(run))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout is not None
        yield held.stdout.readline().strip()
        held.communicate()


@pytest.mark.parametrize(("first", "second"), [(0, NOBODY), (NOBODY, 0), (NOBODY, NOBODY)])
def test_two_spellings_and_two_users_have_one_lock(place: Path, first: int, second: int) -> None:
    other_spelling = f"qemu+unix:///system?socket={place.parents[1]}/run/libvirt-sock"
    with run_of(first, SYSTEM, place) as holder:
        assert holder == "has the lock"
        with run_of(second, other_spelling, place) as other:
            assert "another run of dos.vm holds it (process" in other
            assert f"of {'nobody' if first else 'root'}" in other
    with run_of(second, other_spelling, place) as other:
        assert other == "has the lock"


def test_two_spellings_of_this_machine_have_one_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LibvirtHypervisor, "patience", 0.2)
    with closing(LibvirtHypervisor(SYSTEM)) as one, closing(LibvirtHypervisor(OTHER_SPELLING)) as other:
        with one.lock(), pytest.raises(HypervisorError, match=f"process {os.getpid()} of root"), other.lock():
            pytest.fail("two runs have the lock")
        with other.lock():
            pass


def test_a_user_who_may_not_use_the_socket_cannot_have_the_lock(place: Path) -> None:
    with lock_file(SYSTEM):
        pass
    with run_of(STRANGER, SYSTEM, place) as stranger:
        assert "is not for this user: run as root" in stranger


def test_the_lock_asks_a_libvirtd_of_this_machine_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(LibvirtHypervisor(SYSTEM)) as held:
        for call in ("getCapabilities", "getHostname", "getInfo"):
            monkeypatch.setattr(held._connection, call, lambda: pytest.fail("a round trip more"), raising=True)
        with held.lock():
            pass


# What somebody who may not use the libvirtd puts in the place of its lock. Root removes it; others name its owner.


def test_the_lock_is_for_the_users_of_the_socket(place: Path) -> None:
    with lock_file(SYSTEM):
        pass
    status = place.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, NOBODY, 0o660)


@pytest.mark.parametrize("what", ["file", "link", "pipe", "hard link"])
def test_root_removes_what_is_no_lock(place: Path, tmp_path: Path, what: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    precious.chmod(0o644)
    match what:
        case "file":
            place.write_text("1")
            os.chown(place, STRANGER, STRANGER)
        case "link":
            place.symlink_to(precious)
        case "pipe":
            os.mkfifo(place)
        case _:
            os.link(precious, place)
    with lock_file(SYSTEM) as held:
        assert os.fstat(held.fileno()).st_uid == 0
        assert place.is_file()
        assert not place.is_symlink()
    assert (precious.read_text(), precious.stat().st_mode & 0o777) == ("kept", 0o644)


def test_a_user_is_told_whose_file_is_in_the_place_of_the_lock(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.touch()
    os.chown(place, STRANGER, STRANGER)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with (
        pytest.raises(HypervisorError, match=r"is a file of daemon, who may not use this libvirtd: remove it as root"),
        lock_file(SYSTEM),
    ):
        pytest.fail("it was locked")
