# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's own guest agent in a guest: it is waited for, tells addresses that no lease knows, and holds file systems still."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import agent_guest
import guests
import pytest
from operators import state_of

from dosvm.apply import converge
from dosvm.hypervisor.checkpoints import carry_out
from dosvm.hypervisor.health import health
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.readiness import wait
from dosvm.model.checkpoint import Checkpointing
from dosvm.model.decode import decode
from dosvm.model.readiness import Waiting
from dosvm.model.slice import Permission, Slice

pytestmark = pytest.mark.libvirt

ADDRESS = "10.98.7.5"


class Guest:
    """A guest with the agent, an ext4 to write to, and a card on a network that gives nobody an address."""

    def __init__(self, hypervisor: LibvirtHypervisor, name: str, folder: Path) -> None:
        self.hypervisor, self.name, self.disk, self.kept = hypervisor, name, folder / "data.raw", folder / "kept"
        with self.disk.open("wb") as disk:
            disk.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.disk)], check=True)
        initrd = folder / "initrd-agent"
        initrd.write_bytes((folder / "initrd").read_bytes() + agent_guest.archive())
        network = {"name": name, "bridge": f"{name}b", "forward": "none", "mark": {"site": "test"}}
        domain = {
            "name": name, "mark": {"site": "test"}, "virt_type": "qemu", "memory": "160 MiB", "stop_timeout": 0,
            "kernel": str(folder / "vmlinuz"), "initrd": str(initrd), "agent": True, "boot": ["network"],
            "cmdline": (folder / "cmdline").read_text().strip(),
            "disks": [{"file": str(self.disk), "format": "raw"}],
            "interfaces": [{"network": name, "boot_rom": False}],
        }  # fmt: skip
        held = decode(Slice, {"site": "test", "networks": [network], "domains": [domain]})
        assert converge(held, hypervisor, permission=Permission()).failures == ()

    def ready(self, within: int) -> list[str]:
        """Why it is not, after that many seconds."""
        asked = decode(Waiting, {"checks": [{"name": self.name, "ready": "agent", "within": within}]})
        return [one.reason for one in wait(asked, self.hypervisor).unready]

    def checkpoint(self, order: str, name: str, **more: Any) -> None:
        asked = {"vm": self.name, "site": "test", "order": order, "name": name, **more}
        carry_out(decode(Checkpointing, asked), self.hypervisor, dry_run=False)

    def keep(self, name: str, *, quiesce: bool) -> None:
        self.checkpoint("create", name, stored="external", directory=str(self.kept), memory=False, quiesce=quiesce)

    def features(self) -> str:
        """Of the file system as it lies in the disk that a checkpoint froze."""
        told = subprocess.run(["dumpe2fs", "-h", str(self.disk)], capture_output=True, text=True, check=True).stdout
        return next(line for line in told.splitlines() if line.startswith("Filesystem features"))

    def reads(self, path: str) -> str:
        """A file as it lies there."""
        words = ["debugfs", "-R", f"cat {path}", str(self.disk)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_the_agent_is_waited_for_tells_addresses_and_holds_file_systems_still(
    hypervisor: LibvirtHypervisor, prefix: str, folder: Path, tmp_path: Path
) -> None:
    guest = Guest(hypervisor, prefix, folder)
    assert guest.ready(2) == ["its agent does not answer"]
    with guests.Shell.of(prefix) as shell:
        shell.becomes_true("ls -d /sys/class/virtio-ports/*")
        shell.run(f"ip addr add {ADDRESS}/24 dev eth0; ip link set eth0 up")
        shell.becomes_true("mount -t ext4 /dev/vda /mnt")
        shell.run(agent_guest.START)
        assert guest.ready(240) == []

        def told() -> tuple[str, list[str]]:
            row = health(hypervisor.uri, hypervisor.observe("test").values())[prefix]
            return row["agent"], row["addresses"]

        guests.wait_for("the address", lambda: told() == ("answers", [ADDRESS]))
        guests.wait_for("the status", lambda: state_of(prefix, tmp_path).split()[-1] == "answers")
        assert ADDRESS in state_of(prefix, tmp_path).split()

        # Without the agent a moment is that of a power cut: the journal is to be played back, and what was in memory is not there.
        shell.run("echo first >/mnt/first; sync; echo second >/mnt/second")
        guest.keep("cut", quiesce=False)
        assert "needs_recovery" in guest.features()
        assert guest.reads("/second") == ""
        guest.checkpoint("delete", "cut")

        shell.run("echo third >/mnt/third")
        guest.keep("still", quiesce=True)
        assert "needs_recovery" not in guest.features()
        assert (guest.reads("/second"), guest.reads("/third")) == ("second\n", "third\n")
        subprocess.run(["e2fsck", "-fn", str(guest.disk)], check=True, capture_output=True)

        # It goes on, on a layer; and going back is to that moment.
        assert shell.says_yes("echo fourth >/mnt/fourth && sync"), "the agent let go of the file systems"
        guest.checkpoint("rollback", "still", confirm=True)
    with guests.Shell.of(prefix) as shell:
        shell.becomes_true("test -b /dev/vda")
        assert shell.says_yes("mount -t ext4 /dev/vda /mnt"), "it has booted again"
        assert shell.says_yes("test -e /mnt/third -a ! -e /mnt/fourth")
    guest.checkpoint("delete", "still")
