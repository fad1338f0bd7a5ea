# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest goes back to a moment with its memory and its disks, and goes on from there."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from guests import overlay, said

from dosvm.apply import converge
from dosvm.errors import ConflictError, PermissionNeeded
from dosvm.hypervisor.checkpoints import Told, carry_out
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.model.checkpoint import Checkpointing
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice

pytestmark = pytest.mark.libvirt


class Guest:
    """A guest with a shell on its serial port and a disk of its own to write to."""

    def __init__(self, hypervisor: LibvirtHypervisor, name: str, directory: Path) -> None:
        self.hypervisor, self.name, self.log = hypervisor, name, directory / "serial.log"
        root, data = overlay(directory), directory / "data.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(data), "4M"], check=True)
        disks = [{"file": str(path), "format": "qcow2"} for path in (root, data)]
        self.domain: dict[str, Any] = {
            "name": name, "mark": {"site": "test"}, "virt_type": "qemu", "memory": "128 MiB", "stop_timeout": 0,
            "serial": {"log": str(self.log)}, "disks": disks,
        }  # fmt: skip

    def declare(self) -> None:
        held = decode(Slice, {"site": "test", "domains": [self.domain]})
        assert converge(held, self.hypervisor, permission=Permission()).failures == ()

    def checkpoint(self, order: str, name: str | None = None, **more: Any) -> Told:
        asked = {"vm": self.name, "site": "test", "order": order, "name": name, **more}
        wanted = decode(Checkpointing, {key: value for key, value in asked.items() if value is not None})
        return carry_out(wanted, self.hypervisor, dry_run=False)

    def shell(self, command: str, answer: str) -> None:
        """Type a line, and wait until the guest has written the answer, which the line itself must not contain."""
        live = self.hypervisor.observe("test")[Address("domain", self.name)].live
        assert live is not None
        source = live.find("devices/serial/source")
        assert source is not None
        before = self.log.stat().st_size
        with open(source.get("path", ""), "wb", buffering=0) as port:
            port.write(command.encode() + b"\n")
            deadline = time.monotonic() + 60
            while answer not in self._since(before):
                assert time.monotonic() < deadline, self._since(before)
                time.sleep(0.1)

    def _since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position, os.SEEK_SET)
            return log.read().decode(errors="replace")


def test_a_guest_goes_back_with_memory_and_disks(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> None:
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
