# SPDX-License-Identifier: GPL-3.0-or-later
"""A running guest is backed up, in full and then what changed; what is restored boots and has what was written."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guests import ShellGuest, said
from operators import Operator

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


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where QEMU's user may pass."""
    with tempfile.TemporaryDirectory(prefix="dosvm-backups-", dir="/var/lib") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def operator(hypervisor: LibvirtHypervisor, folder: Path, tmp_path: Path) -> Iterator[Operator]:
    """A VM with disks as the README declares them; nothing runs in it, so that it starts at once."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "image.qcow2"), "4M"], check=True)
    site = {
        "dos_site": "bk",
        "dos_projects": {"bk": {}},
        "dos_pools": {"bk": {"path": str(folder / "pool")}},
        "dos_images": {"bk": {"file": str(folder / "image.qcow2"), "format": "qcow2"}},
        "dos_instances": {
            "bk-web": {
                "project": "bk",
                "memory": "16 MiB",
                "stop_timeout": 0,
                "disks": [{"image": "bk", "pool": "bk"}, {"pool": "bk", "capacity": "4 MiB"}],
                "vms": {VM: {}},
            }
        },
    }
    held = Operator(tmp_path, site)
    yield held
    held.play("destroy", "-e", "dos_confirm=bk", "-e", json.dumps({"dos_allow": [{"data_loss": list(VOLUMES)}]}))


VM = "bk-1"
VOLUMES = (f"volume bk/{VM}-vda", f"volume bk/{VM}-vdb")


def write(pattern: int) -> None:
    """As a guest would, to both disks."""
    for disk in ("virtio-disk0", "virtio-disk1"):
        command = f'qemu-io -d /machine/peripheral/{disk}/virtio-backend "write -P {pattern} 64k 64k"'
        told = subprocess.run(
            ["virsh", "qemu-monitor-command", "--hmp", VM, command], capture_output=True, text=True, check=True
        )
        assert not told.stdout.strip(), told.stdout  # what is wrong; QEMU's log has the rest


def holds(file: str | Path, pattern: int) -> bool:
    told = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-r", "-c", f"read -P {pattern} 64k 64k", str(file)], capture_output=True, text=True
    )
    return told.returncode == 0 and "verification failed" not in told.stdout


def test_a_vm_as_documented_is_backed_up_and_restored_by_default_options(operator: Operator, folder: Path) -> None:
    """Full, incremental, check, restore beside and in place; the inventory says whose the VM is."""
    operator.play("site")
    asked = {"vm": VM, "directory": str(folder / "backups" / VM)}
    write(1)
    assert operator.module("backup", **asked)["performed"] == [f"domain {VM} has been backed up in full as 0001"]
    write(2)
    second = operator.module("backup", **asked)
    assert (second["performed"], second["notes"]) == ([f"domain {VM} has been backed up since 0001 as 0002"], [])
    assert operator.module("backup", order="check", **asked)["broken"] == []
    files = sorted(Path(asked["directory"]).iterdir())
    assert [path.name for path in files if path.suffix == ".qcow2"] == [
        f"{name}-{target}.qcow2" for name in ("0001", "0002") for target in ("vda", "vdb")
    ]
    assert {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in files if path.suffix == ".qcow2"} == {
        (0, 0o600)
    }

    for name, pattern in (("0001", 1), ("0002", 2)):
        told = operator.module("backup", order="restore", name=name, to=str(folder / name), **asked)
        assert all(holds(file, pattern) for file in told["files"].values())

    in_place = {"order": "restore", "name": "0001", **asked}
    refused = operator.module("backup", succeeds=False, **in_place)["msg"]
    assert "is running: stop it first" in refused
    operator.play("power", "-e", "dos_order=stop", "-e", f"dos_vms={VM}")
    refused = operator.module("backup", succeeds=False, **in_place)["msg"]
    assert f'set allow: {{data_loss: ["{VOLUMES[0]}", "{VOLUMES[1]}"]}}' in refused
    told = operator.module("backup", allow={"data_loss": list(VOLUMES)}, **in_place)
    assert all(holds(file, 1) for file in told["files"].values())
    assert operator.plan() == "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions"
    operator.play("power", "-e", "dos_order=release", "-e", f"dos_vms={VM}")
    operator.play("site")
    assert "in full as 0003" in operator.module("backup", **asked)["performed"][0]


def test_disks_that_keep_no_record_of_changes_are_backed_up_in_full(operator: Operator, folder: Path) -> None:
    """Raw ones, and qcow2 of before; into a directory that QEMU's user does not reach."""
    disks = [{"pool": "bk", "capacity": "4 MiB"}, {"pool": "bk", "capacity": "4 MiB", "format": "raw"}]
    operator.site["dos_instances"]["bk-web"] |= {"disks": disks, "vms": {VM: {"power": "off"}}}
    operator.play("site")
    old = folder / "pool" / f"{VM}-vda"
    subprocess.run(["qemu-img", "amend", "-f", "qcow2", "-o", "compat=0.10", str(old)], check=True)
    operator.site["dos_instances"]["bk-web"]["vms"] = {VM: {}}
    operator.play("site")
    (folder / "closed").mkdir(mode=0o700)
    asked = {"vm": VM, "directory": str(folder / "closed" / VM)}
    for number, pattern in enumerate((1, 2), 1):
        write(pattern)
        told = operator.module("backup", **asked)
        assert f"in full as 000{number}" in told["performed"][0]
        assert f"qemu-img amend -f qcow2 -o compat=1.1 {old}" in told["notes"][0]
        assert "disk vdb is raw" in told["notes"][1]
    told = operator.module("backup", order="restore", name="0001", to=str(folder / "restored"), **asked)
    assert all(holds(file, 1) for file in told["files"].values())
    refused = operator.module("backup", succeeds=False, full=False, **asked)["msg"]
    assert f"qemu-img amend -f qcow2 -o compat=1.1 {old}" in refused
    refused = operator.module("backup", succeeds=False, mode="push", **asked)["msg"]
    assert f"does not get through {folder / 'closed'}" in refused


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
