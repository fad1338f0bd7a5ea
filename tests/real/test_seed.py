# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeds as discs of a host, read by a guest that boots: every file arrives as it was declared."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from guests import overlay, said

from dosvm.apply import Outcome, converge
from dosvm.hypervisor import seeds
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.seeds import hashed
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.seed import ROOT, Seed
from dosvm.model.slice import Permission, Slice
from dosvm.plan.action import Stop

pytestmark = pytest.mark.libvirt

META = '{\n "instance-id": "i-1",\n "local-hostname": "seeded"\n}\n'
TREES = {
    "cidata": {"meta-data": META, "user-data": "#!/bin/sh\necho ${secret:guest}\n"},
    "config-2": {
        "openstack/latest/meta_data.json": '{\n "hostname": "seeded"\n}\n',
        "openstack/2012-08-10/meta_data.json": '{\n "hostname": "seeded"\n}\n',
        "openstack/content/0000": "auto lo\n",
        "ec2/2009-04-04/meta-data.json": "{}\n",
    },
}


def declare(hypervisor: LibvirtHypervisor, name: str, directory: Path, seed: dict[str, Any], **more: Any) -> Outcome:
    domain = {
        "name": name,
        "mark": {"site": "test"},
        "virt_type": "qemu",
        "memory": "128 MiB",
        "serial": {"log": str(directory / "serial.log")},
        "disks": [{"file": str(directory / "root.qcow2"), "format": "qcow2", "target": "vda"}],
        "seed": seed,
        **more,
    }
    held = decode(Slice, {"site": "test", "domains": [domain]})
    return converge(held, hypervisor, permission=Permission(), secrets={"guest": b"hunter22"})


# The kernel of the guest, as that of many a cloud image, has no driver for sata.
@pytest.mark.parametrize(
    ("label", "form", "machine", "bus"),
    [
        ("cidata", "iso9660", "pc", None),
        ("config-2", "iso9660", "q35", "virtio"),
        ("cidata", "vfat", "q35", None),
    ],
)
def test_a_guest_reads_every_file_of_its_seed(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, label: str, form: str, machine: str, bus: str | None
) -> None:
    """CFGD-01, CFGD-02, CFGD-03, CFGD-12: by the label, as a disc and as a disk."""
    overlay(tmp_path)
    seed = {"label": label, "format": form, "files": TREES[label], **({"bus": bus} if bus else {})}
    declare(hypervisor, prefix, tmp_path, seed, machine=machine)
    told = said(tmp_path / "serial.log", "is up")
    assert "seeded is up" in told
    read = {path: total for total, path in re.findall(r"seed ([0-9a-f]{32}) (\S+)", told)}
    wanted = {path: text.replace("${secret:guest}", "hunter22") for path, text in TREES[label].items()}
    assert read == {path: hashlib.md5(text.encode()).hexdigest() for path, text in wanted.items()}


def test_a_seed_changes_and_goes_with_its_machine(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> None:
    """CFGD-04: nothing is left of the folder that it was made in."""
    overlay(tmp_path)
    one, two = ({"files": {"meta-data": text}} for text in ("one", "two"))
    declare(hypervisor, prefix, tmp_path, one)
    assert not declare(hypervisor, prefix, tmp_path, one).changed
    assert "given a changed medium sdf" in str(declare(hypervisor, prefix, tmp_path, two).performed)
    assert not declare(hypervisor, prefix, tmp_path, two).changed
    folder = Path(ROOT, prefix)
    disc = Path(decode(Seed, two).path(prefix))
    label = subprocess.run(["blkid", "-s", "LABEL", "-o", "value", disc], capture_output=True, text=True, check=True)
    assert label.stdout.strip() == "cidata"
    assert not list(folder.glob("cd_gen_*"))
    disc.unlink()
    assert "given a seed" in str(declare(hypervisor, prefix, tmp_path, two).performed), "made again where it is gone"
    hypervisor.perform(Stop(address=Address("domain", prefix)), {})
    none = decode(Slice, {"site": "test"})
    plans = converge(none, hypervisor, permission=Permission(), dry_run=True).plans
    (plan,) = [plan for plan in plans if plan.address.name == prefix]
    for action in plan.withheld:
        hypervisor.perform(action, {})
    assert not folder.exists()


def test_a_seed_that_cannot_be_made_keeps_the_machine_from_being_made(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CFGD-04, CFGD-11: the failure names machine and reason, nothing is left of the attempt, and the next run goes on."""
    overlay(tmp_path)
    seed = {"files": {"meta-data": "one"}}
    with monkeypatch.context() as without:
        without.setattr(seeds, "MAKERS", ())
        ((what, why),) = declare(hypervisor, prefix, tmp_path, seed).failures
    assert what == f"domain {prefix}"
    assert "there is no genisoimage, mkisofs or xorrisofs: install one" in why
    assert Address("domain", prefix) not in hypervisor.observe("test")
    assert list(Path(ROOT, prefix).iterdir()) == []
    assert declare(hypervisor, prefix, tmp_path, seed).failures == ()


def test_a_password_is_hashed_and_shows_nowhere() -> None:
    one, two = hashed("hunter22"), hashed("hunter22")
    assert one.startswith("$6$")
    assert one != two, "each has a salt of its own"
    checked = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", one.split("$")[2], "-stdin"],
        input="hunter22\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout.strip() == one
