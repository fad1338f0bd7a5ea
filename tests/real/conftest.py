# SPDX-License-Identifier: GPL-3.0-or-later
"""A real libvirt for the tests of this folder, and names under which they leave nothing behind."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.plan.action import Action, DeleteVolume, Stop, Undefine
from dosvm.plan.plan import Observed

# The words that these tests share are beside them.
sys.path.insert(0, str(Path(__file__).parent))

UP = Path(__file__).parents[2] / "tools" / "libvirt_up.py"
# Here, and not in /run: libvirt's definitions outlive a restart of the machine too.
UNDER_WAY = Path("/var/lib/dos-vm/tests-under-way")
# The names of the tests that have no prefix of their own.
FIXED = ("ao", "bench", "bk", "ex", "fg", "im", "kd", "md", "pb", "pw", "rc", "sq", "us", "vt")
# What stands on others goes first.
ORDER = ("gateway", "domain", "network", "nwfilter", "volume", "pool", "secret")


@pytest.fixture(scope="session", autouse=True)
def hypervisor() -> Iterator[LibvirtHypervisor]:
    """This machine's libvirt, started if nothing had, for every test here; it is left running, as other tests use it too."""
    subprocess.run([sys.executable, str(UP)], check=True, stdout=subprocess.DEVNULL, timeout=300)
    with _alone(), closing(LibvirtHypervisor()) as held:
        _sweep(held)
        yield held
        if not _of(held, tuple(UNDER_WAY.read_text().split())):
            UNDER_WAY.unlink()


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once would have the same addresses and folders."""
    UNDER_WAY.parent.mkdir(parents=True, exist_ok=True)
    with UNDER_WAY.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit(
                f"another run of these tests has this machine's libvirt ({UNDER_WAY}): start again when it has ended"
            )
        yield


def _sweep(hypervisor: LibvirtHypervisor) -> None:
    """A run that was killed told its names to nobody else: what it left has the addresses of tests to come, and libvirt starts
    its networks by itself."""
    if left := UNDER_WAY.read_text().split():
        _remove(hypervisor, *left)
        for folder in UNDER_WAY.parent.glob("boot-*"):
            shutil.rmtree(folder)
    UNDER_WAY.write_text("".join(f"{name}-\n" for name in FIXED))


@pytest.fixture
def prefix(hypervisor: LibvirtHypervisor) -> Iterator[str]:
    """Names of a test begin with this; a bridge's name too, for it is short. All that bears it is removed afterwards."""
    name = f"t{uuid.uuid4().hex[:6]}"
    with UNDER_WAY.open("a") as names:
        names.write(f"{name}\n")
    yield name
    left = _remove(hypervisor, name)
    assert [str(held.address) for held in left] == []
    assert not list(Path("/sys/class/net").glob(f"{name}*"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Kernel and initramfs of the guest, where QEMU may read them."""
    import guests  # beside this file, which the path above makes known

    yield from guests.direct_boot()


def _remove(hypervisor: LibvirtHypervisor, *names: str) -> list[Observed]:
    """What bears one of the names goes; what is left of it."""
    for held in sorted(_of(hypervisor, names), key=lambda seen: ORDER.index(seen.address.kind)):
        for action in _removal(held):
            with suppress(HypervisorError):  # whatever is left shows
                hypervisor.perform(action, {})
    return _of(hypervisor, names)


def _of(hypervisor: LibvirtHypervisor, names: tuple[str, ...]) -> list[Observed]:
    """What the product makes for a machine is named after it."""
    borne = names + tuple(f"sg.{name}" for name in names)
    return [held for held in hypervisor.observe("test").values() if held.address.name.startswith(borne)]


def _removal(held: Observed) -> Iterator[Action]:
    address: Address = held.address
    if address.kind == "volume":
        yield DeleteVolume(address=address)
        return
    if held.active and address.kind in ("gateway", "domain", "network", "pool"):
        yield Stop(address=address)
    if held.persistent:
        yield Undefine(address=address)
