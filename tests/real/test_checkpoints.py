# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest goes back to a moment with its memory and its disks, and goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from guests import ShellGuest, said

from dosvm.errors import ConflictError, PermissionNeeded
from dosvm.hypervisor.checkpoints import Told, carry_out
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.checkpoint import Checkpointing
from dosvm.model.decode import decode

pytestmark = pytest.mark.libvirt


class Guest(ShellGuest):
    """A guest whose moments are kept."""

    def checkpoint(self, order: str, name: str | None = None, **more: Any) -> Told:
        asked = {"vm": self.name, "site": "test", "order": order, "name": name, **more}
        wanted = decode(Checkpointing, {key: value for key, value in asked.items() if value is not None})
        return carry_out(wanted, self.hypervisor, dry_run=False)


def test_a_guest_goes_back_with_memory_and_disks(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> None:
    """CKPT-01, CKPT-02, CKPT-04, CKPT-T1.1, CKPT-T1.2, CKPT-T1.5, CKPT-03, CKPT-05, VM-T2.10, VM-T2.11."""
    guest = Guest(hypervisor, prefix, tmp_path)
    guest.declare()
    said(guest.log, "is up")
    guest.shell("mem=$((40 + 2)); echo first-$mem | dd of=/dev/vdb conv=fsync 2>/dev/null; echo wrote $mem", "wrote 42")
    assert guest.checkpoint("create", "one", label="the first").tree[0].disks == ("vda", "vdb")
    assert guest.checkpoint("create", "one").performed == ()

    guest.shell("mem=$((6 + 1)); echo other-$mem | dd of=/dev/vdb conv=fsync 2>/dev/null; echo wrote $mem", "wrote 7")
    guest.checkpoint("create", "two")
    assert [(held.name, held.parent, held.current) for held in guest.checkpoint("list").tree] == [
        ("one", None, False),
        ("two", "one", True),
    ]

    with pytest.raises(PermissionNeeded, match="what the machine did since then is lost"):
        guest.checkpoint("rollback", "one")
    guest.checkpoint("rollback", "one", confirm=True)
    guest.shell("echo now $mem $(head -c 8 /dev/vdb)", "now 42 first-42")
    assert guest.log.read_text(errors="replace").count("is up") == 1, "it did not boot again"
    assert [held.name for held in guest.checkpoint("list").tree if held.current] == ["one"]
    guest.declare()

    guest.checkpoint("rename", "one", label="another")
    assert guest.checkpoint("list").tree[0].label == "another"
    with pytest.raises(PermissionNeeded, match="two below it"):
        guest.checkpoint("delete", "one")
    assert len(guest.checkpoint("delete", "one", confirm=True).performed) == 2
    assert guest.checkpoint("list").tree == ()
    assert guest.checkpoint("delete", "one").performed == ()


def test_what_cannot_have_one_says_every_reason(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> None:
    guest = Guest(hypervisor, prefix, tmp_path)
    guest.domain["disks"][1]["copy_on_read"] = True
    guest.domain["active"] = False
    guest.declare()
    with pytest.raises(ConflictError, match=r"(?s)shut off.*CKPT-06"):
        guest.checkpoint("create", "one")
    with pytest.raises(ConflictError, match="it has: none"):
        guest.checkpoint("rollback", "one", confirm=True)
