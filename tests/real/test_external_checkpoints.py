# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints in files of their own: a guest that writes goes back, goes another way, and ends on its own disks again (CKPT-01 to
CKPT-04, CKPT-09, CKPT-T1.3, CKPT-T1.4, CKPT-T1.6)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from guests import ShellGuest, said, wait_for

from dosvm.apply import converge, remove
from dosvm.errors import ConflictError, DosVmError, HypervisorError, PermissionNeeded
from dosvm.hypervisor.checkpoints import Told, carry_out
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.model.checkpoint import Checkpointing
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice

pytestmark = pytest.mark.libvirt


class Guest(ShellGuest):
    """A guest whose moments are kept in a folder; its second disk is a volume, and raw, which nothing could be kept inside of."""

    def __init__(self, hypervisor: LibvirtHypervisor, name: str, directory: Path) -> None:
        super().__init__(hypervisor, name, directory)
        self.raw, self.kept = directory / "pool" / "data.raw", directory / "kept"
        self.domain["disks"][1] = {"pool": name, "volume": "data.raw", "format": "raw"}
        volume = {"pool": name, "name": "data.raw", "format": "raw", "capacity": "4 MiB"}
        pool = {"name": name, "path": str(self.raw.parent), "autostart": False}
        self.slice = {"site": "test", "domains": [self.domain], "pools": [pool], "volumes": [volume]}

    def declare(self) -> None:
        assert converge(decode(Slice, self.slice), self.hypervisor, permission=Permission()).failures == ()

    def checkpoint(self, order: str, name: str | None = None, **more: Any) -> Told:
        if order == "create":
            more = {"stored": "external", "directory": str(self.kept), **more}
        asked = {"vm": self.name, "site": "test", "order": order, "name": name, **more}
        wanted = decode(Checkpointing, {key: value for key, value in asked.items() if value is not None})
        return carry_out(wanted, self.hypervisor, dry_run=False)

    def write(self, text: str) -> None:
        """Kept in memory and on disk; the file is checked by what the guest reads back past its cache."""
        self.shell(
            f"word={text}; echo $word | dd of=/dev/vdb conv=fsync 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches; "
            f"echo wrote-$(head -c {len(text)} /dev/vdb)",
            f"wrote-{text}",
        )

    def reads(self, text: str) -> None:
        self.shell(
            f"echo 3 > /proc/sys/vm/drop_caches; echo now-$word-$(head -c {len(text)} /dev/vdb)", f"now-{text}-{text}"
        )

    def is_as_declared(self) -> None:
        outcome = converge(decode(Slice, self.slice), self.hypervisor, permission=Permission(), dry_run=True)
        own = [plan for plan in outcome.plans if plan.address.name.startswith(self.name)]
        assert len(own) == 3
        told = [str(held) for plan in own for held in (*plan.changes, *plan.actions, *plan.pending)]
        assert told == [], told

    def files(self) -> list[str]:
        """What lies in the folder, by checkpoint."""
        if not self.kept.exists():
            return []
        return sorted({path.relative_to(self.kept).parts[2] for path in self.kept.rglob("*") if path.is_file()})

    def sources(self) -> set[str]:
        done = subprocess.run(["virsh", "domblklist", self.name], capture_output=True, text=True, check=True).stdout
        # A running disk that was merged has its path, and the name of its volume only from the next start on.
        return {line.split()[1].replace(str(self.raw), self.raw.name) for line in done.splitlines()[2:] if line.strip()}


def test_a_guest_goes_back_another_way_and_home(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> None:
    guest = Guest(hypervisor, prefix, tmp_path)
    guest.declare()
    said(guest.log, "is up")
    guest.write("first")
    own = guest.sources()
    (one,) = guest.checkpoint("create", "one", label="the first").tree
    assert (one.stored, one.memory, one.disks, one.current) == ("external", True, ("vda", "vdb"), True)
    guest.is_as_declared()
    guest.write("second")
    guest.checkpoint("create", "two")
    guest.write("third")
    assert b"first" in guest.raw.read_bytes()[:64], "what a checkpoint froze is not written"

    with pytest.raises(PermissionNeeded, match="what the machine did since then is lost"):
        guest.checkpoint("rollback", "one")
    guest.checkpoint("rollback", "one", confirm=True)
    guest.reads("first")
    guest.is_as_declared()
    guest.write("other")
    guest.checkpoint("create", "three")
    tree = {held.name: (held.parent, held.current) for held in guest.checkpoint("list").tree}
    assert tree == {"one": (None, False), "two": ("one", False), "three": ("one", True)}

    guest.checkpoint("rollback", "two", confirm=True)
    guest.reads("second")
    assert guest.log.read_text(errors="replace").count("is up") == 1, "it did not boot again"

    # What nobody goes on from goes with its files, and the machine feels nothing.
    guest.checkpoint("delete", "three")
    assert not [name for name in guest.files() if name.startswith("three")]
    guest.reads("second")
    with pytest.raises(PermissionNeeded, match="two below it"):
        guest.checkpoint("delete", "one")
    guest.is_as_declared()

    # The leaf that it runs on is merged while it runs; then all, and it runs on its own disks.
    guest.write("fourth")
    guest.checkpoint("delete", "two")
    guest.reads("fourth")
    assert [held.name for held in guest.checkpoint("list").tree if held.current] == ["one"]
    guest.checkpoint("delete", "one", confirm=True)
    guest.reads("fourth")
    assert guest.sources() == own
    assert guest.files() == []
    assert b"fourth" in guest.raw.read_bytes()[:64]
    guest.is_as_declared()
    guest.declare()


def test_one_without_memory_boots_from_it_and_merges_while_off(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path
) -> None:
    guest = Guest(hypervisor, prefix, tmp_path)
    guest.declare()
    said(guest.log, "is up")
    guest.write("first")
    with pytest.raises(HypervisorError, match=r"(?i)agent"):
        guest.checkpoint("create", "held", memory=False, quiesce=True)
    assert guest.files() == [], "what failed leaves nothing"
    (one,) = guest.checkpoint("create", "one", memory=False).tree
    assert not one.memory
    guest.write("second")
    guest.checkpoint("rollback", "one", confirm=True)
    wait_for("the second boot", lambda: guest.log.read_text(errors="replace").count("is up") == 2)
    guest.shell("echo disk-$(head -c 5 /dev/vdb)", "disk-first")
    guest.write("third")
    guest.is_as_declared()

    # It stays one to go back to, and is not lost with the machine's declaration.
    with pytest.raises(PermissionNeeded, match=r"order: delete \(CKPT-10\)$"):
        remove(Address("domain", prefix), hypervisor, site="test", permission=Permission())
    guest.domain["active"] = False
    guest.declare()
    guest.checkpoint("delete", "one")
    assert guest.files() == []
    assert b"third" in guest.raw.read_bytes()[:64]
    guest.is_as_declared()
    guest.checkpoint("create", "off", memory=False)
    guest.is_as_declared()
    guest.checkpoint("rollback", "off", confirm=True)
    assert not hypervisor.observe("test")[Address("domain", prefix)].active
    guest.checkpoint("delete", "off")


def test_what_is_gone_is_told_and_nothing_is_done(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> None:
    """CKPT-08, VM-24."""
    guest = Guest(hypervisor, prefix, tmp_path)
    guest.domain["active"] = False
    guest.declare()
    guest.checkpoint("create", "one", memory=False)
    with pytest.raises(ConflictError, match="all of a machine are of one kind"):
        guest.checkpoint("create", "two", stored="internal", directory=None)
    away = guest.raw.rename(tmp_path / "away")
    with pytest.raises(DosVmError, match=r"data\.raw is not there"):
        guest.checkpoint("rollback", "one", confirm=True)
    away.rename(guest.raw)
    guest.checkpoint("delete", "one")
    assert guest.files() == []
