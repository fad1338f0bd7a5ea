# SPDX-License-Identifier: GPL-3.0-or-later
"""A running guest is backed up, in full and then what changed; what is restored boots and has what was written."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from guests import ShellGuest, said

from dosvm.errors import ConflictError
from dosvm.hypervisor.backups import Backup, Told, broken, carry_out, chain, listed
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.pulled import ROOM
from dosvm.model.backup import BackingUp
from dosvm.model.decode import decode

pytestmark = pytest.mark.libvirt


def backup(hypervisor: LibvirtHypervisor, vm: str, folder: Path, order: str = "create", **more: Any) -> Told:
    asked = {"vm": vm, "site": "test", "directory": str(folder), "order": order, **more}
    return carry_out(decode(BackingUp, asked), hypervisor, dry_run=False, now=0.0)


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_what_is_restored_boots_and_has_what_was_written(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, mode: str
) -> None:
    guest, folder = ShellGuest(hypervisor, prefix, tmp_path), tmp_path / "backup"
    guest.declare()
    said(guest.log, "is up")
    guest.shell("n=$((40 + 2)); echo first-$n | dd of=/dev/vdb conv=fsync 2>/dev/null; echo wrote $n", "wrote 42")
    if mode == "push":  # QEMU writes there; what is read from it is nobody's but root's
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
    assert "in full as 0001" in backup(hypervisor, prefix, folder, mode=mode).performed[0]
    guest.shell("n=$((6 + 1)); echo other-$n | dd of=/dev/vdb conv=fsync 2>/dev/null; echo wrote $n", "wrote 7")
    assert "since 0001 as 0002" in backup(hypervisor, prefix, folder, mode=mode).performed[0]
    root = [(folder / held.disks["vda"]).stat().st_size for held in listed(folder)]
    assert root[1] < root[0] / 4, "only what changed"
    assert backup(hypervisor, prefix, folder, "check").broken == ()

    for name, text in (("0001", "first-42"), ("0002", "other-7")):
        told = backup(hypervisor, prefix, folder, "restore", name=name, to=str(tmp_path / name))
        assert Path(told.files["vdb"]).exists()
        raw = tmp_path / f"{name}.raw"
        _convert(told.files["vdb"], raw)
        assert raw.read_bytes().startswith(text.encode())
    with pytest.raises(ConflictError, match="nothing is written over"):
        backup(hypervisor, prefix, folder, "restore", to=str(tmp_path / "0002"))

    (tmp_path / "again").mkdir()
    # The restored disks are those of a machine that boots and reads them.
    again = ShellGuest(hypervisor, f"{prefix}r", tmp_path / "again")
    for disk, target in zip(again.domain["disks"], ("vda", "vdb"), strict=True):
        disk["file"] = str(tmp_path / "0002" / f"{prefix}-{target}.qcow2")
    again.declare()
    said(again.log, "is up")
    again.shell("echo found $(head -c 7 /dev/vdb)", "found other-7")

    (folder / listed(folder)[0].disks["vda"]).write_bytes(b"rot")
    assert "is not what was written" in backup(hypervisor, prefix, folder, "check").broken[0]
    with pytest.raises(ConflictError, match="cannot be restored"):
        backup(hypervisor, prefix, folder, "restore", to=str(tmp_path / "never"))
    assert backup(hypervisor, prefix, folder, "forget").performed
    assert "in full" in backup(hypervisor, prefix, folder, mode=mode).performed[0]
    assert list(Path(ROOM).glob("dosvm-backup-*")) == [], "socket and scratch are gone"
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.qcow2")} == {0o600}


def test_a_chain_with_a_hole_is_told() -> None:
    known = (chain_of("0001", None), chain_of("0002", "0001"), chain_of("0003", "gone"))
    assert [held.name for held in chain(known, "0002")] == ["0001", "0002"]
    with pytest.raises(ConflictError, match="continues gone"):
        chain(known, "0003")
    assert broken(Path("/nowhere"), known) == ["0003: gone before it is not there"]


def chain_of(name: str, parent: str | None) -> Any:
    return Backup(name=name, parent=parent)


def _convert(source: str, raw: Path) -> None:
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", source, str(raw)], check=True)
