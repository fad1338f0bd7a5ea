# SPDX-License-Identifier: GPL-3.0-or-later
"""A real libvirt for the tests of this folder, and names under which they leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
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
# What stands on others goes first.
ORDER = ("gateway", "domain", "network", "nwfilter", "volume", "pool", "secret")


@pytest.fixture(scope="session")
def hypervisor() -> Iterator[LibvirtHypervisor]:
    """This machine's libvirt, started if nothing had; it is left running, as other tests use it too."""
    subprocess.run([sys.executable, str(UP)], check=True, stdout=subprocess.DEVNULL, timeout=120)
    with closing(LibvirtHypervisor()) as held:
        yield held


@pytest.fixture
def prefix(hypervisor: LibvirtHypervisor) -> Iterator[str]:
    """Names of a test begin with this; a bridge's name too, for it is short. All that bears it is removed afterwards."""
    name = f"t{uuid.uuid4().hex[:6]}"
    yield name
    for held in sorted(_of(hypervisor, name), key=lambda seen: ORDER.index(seen.address.kind)):
        for action in _removal(held):
            with suppress(HypervisorError):  # whatever is left shows below
                hypervisor.perform(action, {})
    assert [str(held.address) for held in _of(hypervisor, name)] == []
    assert not list(Path("/sys/class/net").glob(f"{name}*"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Kernel and initramfs of the guest, where QEMU may read them."""
    import guests  # beside this file, which the path above makes known

    yield from guests.direct_boot()


def _of(hypervisor: LibvirtHypervisor, prefix: str) -> list[Observed]:
    return [held for held in hypervisor.observe("test").values() if held.address.name.startswith(prefix)]


def _removal(held: Observed) -> Iterator[Action]:
    address: Address = held.address
    if address.kind == "volume":
        yield DeleteVolume(address=address)
        return
    if held.active and address.kind in ("gateway", "domain", "network", "pool"):
        yield Stop(address=address)
    if held.persistent:
        yield Undefine(address=address)
