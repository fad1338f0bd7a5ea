# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that people make with virsh and qemu-img beside dos.vm: each is shown in the plan, and none costs data."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dosvm.apply import Outcome, converge
from dosvm.compile.site import HostState, compile_site
from dosvm.errors import ConflictError
from dosvm.hypervisor import checkpoints
from dosvm.hypervisor.events import HearingHypervisor
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.power import Answer, carry_out
from dosvm.model.checkpoint import Checkpointing
from dosvm.model.decode import decode
from dosvm.model.order import Ordering
from dosvm.model.slice import Permission
from dosvm.plan.disruption import Disruption
from dosvm.plan.plan import Plan
from dosvm.site.load import load

pytestmark = pytest.mark.libvirt


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def virsh(*arguments: str | Path) -> str:
    return run("virsh", *arguments)


class Site:
    """A site of one host and one VM, whose only disk dos.vm made, written as a user writes it."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
        self.hypervisor, self.name, self.folder = hypervisor, prefix, folder
        self.vm, self.volume = f"{prefix}-1", f"volume {prefix}/{prefix}-1-vda"
        self.disk = folder / f"{prefix}-1-vda"
        self.instance: dict[str, Any] = {
            "project": "p",
            "memory": "32 MiB",
            "stop_timeout": 0,
            "disks": [{"pool": prefix, "capacity": "8 MiB"}],
            "interfaces": [{"network": prefix, "boot_rom": False}],
            "vms": {self.vm: {}},
        }
        self.declared: dict[str, Any] = {
            "dos_site": "test",
            "dos_projects": {"p": {}},
            "dos_pools": {prefix: {"path": str(folder)}},
            "dos_subnets": {prefix: {"address": "192.168.239.0/24", "dhcp": {}, "gateway": "192.168.239.1"}},
            "dos_networks": {prefix: {"type": "nat", "subnet": prefix, "bridge": prefix}},
            "dos_instances": {prefix: self.instance},
        }

    def converge(self, *, dry_run: bool = False, **allowed: Any) -> Outcome:
        site = load(self.declared, hosts=["here"])
        slice_ = compile_site(site, {"here": HostState(facts=self.hypervisor.facts())}, now=time.time()).slices["here"]
        outcome = converge(slice_, self.hypervisor, permission=Permission(**allowed), dry_run=dry_run)
        assert outcome.failures == ()
        return outcome

    def plan(self, address: str = "", **allowed: Any) -> Plan:
        """The plan of the VM, or of another object by its address."""
        plans = self.converge(dry_run=True, **allowed).plans
        return next(plan for plan in plans if str(plan.address) == (address or f"domain {self.vm}"))

    def is_at_rest(self) -> None:
        """No run does anything more."""
        assert self.converge().performed == ()

    def operate(self, operation: str, **more: Any) -> list[Answer]:
        """What became of an operation on the VM."""
        asked = decode(Ordering, {"names": [self.vm], "site": "test", "order": operation, **more})
        with closing(HearingHypervisor()) as hypervisor:
            return carry_out(asked, hypervisor, dry_run=False, now=time.time())

    def number(self) -> str:
        """What libvirt calls the running guest: another one after a restart."""
        return virsh("domid", self.vm).strip()


@pytest.fixture
def site(hypervisor: LibvirtHypervisor, prefix: str) -> Iterator[Site]:
    folder = Path("/var/lib/dos-vm") / prefix
    held = Site(hypervisor, prefix, folder)
    held.converge()
    yield held
    subprocess.run(["virsh", "destroy", held.vm], capture_output=True, check=False)
    flags = ("--managed-save", "--snapshots-metadata", "--checkpoints-metadata")
    subprocess.run(["virsh", "undefine", held.vm, *flags], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_device_that_was_attached_by_hand_stays(site: Site) -> None:
    number, more = site.number(), site.folder / "more.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", more, "4M")
    virsh("attach-disk", site.vm, more, "sdb", "--targetbus", "usb", "--subdriver", "qcow2", "--persistent")
    virsh(
        "attach-interface", site.vm, "network", site.name, "--mac", "52:54:00:99:00:01", "--model", "virtio", "--live"
    )
    disk, card = sorted(site.plan().notes)
    assert disk.startswith(f"disk sdb ({more}) was attached outside dos.vm, and stays")
    assert card.startswith(
        f"interface 52:54:00:99:00:01 ({site.name}) was attached to the running guest outside dos.vm"
    )
    site.is_at_rest()
    assert site.converge(restart=True, prune=True).performed == ()

    # The rest of the VM changes as ever, and the guest that is started anew has the disk.
    site.instance["memory"] = "40 MiB"
    site.converge(restart=True)
    assert site.number() != number
    assert str(more) in virsh("domblklist", site.vm)
    site.is_at_rest()

    # What dos.vm gave it goes when it is declared no longer.
    site.instance["vms"][site.vm]["power"] = "off"
    site.declared["dos_volumes"] = {f"{site.name}-more": {"pool": site.name, "capacity": "16 MiB"}}
    site.instance["disks"].append({"volume": f"{site.name}-more", "target": "vdc"})
    site.converge()
    assert f"{site.name}-more" in virsh("domblklist", site.vm)
    site.instance["disks"].pop()
    outcome = site.converge()
    assert f"domain {site.vm} has been redefined" in outcome.performed
    assert f"{site.name}-more" not in virsh("domblklist", site.vm, "--inactive")
    assert str(more) in virsh("domblklist", site.vm, "--inactive")


def test_saved_memory_goes_on_with_what_it_had(site: Site) -> None:
    virsh("managedsave", site.vm)
    site.instance["memory"] = "48 MiB"
    plan = site.plan()
    assert [(held.change.path, held.change.after) for held in plan.pending] == [("memory", "48 MiB")]
    assert (plan.needs, len(plan.notes)) == ("restart", 1)
    assert plan.notes[0].startswith("its memory is saved: the next start goes on with what it had then")
    assert site.converge().performed[0] == f"domain {site.vm} has been started"
    assert "32768" in virsh("dominfo", site.vm)
    site.is_at_rest()
    virsh("managedsave", site.vm)
    assert site.converge(restart=True).performed[-1] == f"domain {site.vm} has been started"
    assert "49152" in virsh("dominfo", site.vm)
    site.is_at_rest()


def test_what_a_person_did_to_a_guest_is_told_and_left(site: Site) -> None:
    number, copy = site.number(), site.folder / "copy"
    virsh("setmem", site.vm, "24M", "--live")
    virsh("setmaxmem", site.vm, "64M", "--config")
    virsh("suspend", site.vm)
    virsh("blockcopy", site.vm, "vda", copy, "--transient-job", "--wait", "--finish")
    plan = site.plan()
    assert "paused" in plan.notes[0]
    assert {held.disruption for held in plan.changes} == {Disruption.NONE}, "what is corrected in the definition alone"
    assert plan.disruption is Disruption.NONE
    site.converge()
    virsh("resume", site.vm)
    virsh("blockcopy", site.vm, "vda", copy, "--reuse-external", "--transient-job")
    site.is_at_rest()
    virsh("blockjob", site.vm, "vda", "--abort")
    assert site.number() == number

    # The copy has other data from the moment on that the guest writes to it.
    virsh("blockcopy", site.vm, "vda", copy, "--reuse-external", "--transient-job", "--wait", "--pivot")
    assert f"data_loss: [domain {site.vm} disk vda]" in site.plan(restart=True).needs
    assert not [line for line in site.converge(restart=True).performed if line.startswith("domain")]
    assert str(copy) in virsh("domblklist", site.vm)


def test_a_disk_gets_other_data_only_when_what_it_has_is_named(site: Site) -> None:
    """Also while the VM is off, when nobody would be interrupted."""
    other, again = f"{site.name}-other", f"volume {site.name}/{site.name}-other"
    site.declared["dos_volumes"] = {other: {"pool": site.name, "capacity": "16 MiB"}}
    for state in ("running", "off"):
        number = site.number()
        if state == "off":
            virsh("destroy", site.vm)
        site.instance["disks"] = [{"volume": other}]
        plan = site.plan(restart=True)
        assert plan.disruption < Disruption.DATA_LOSS
        assert f"data_loss: [{site.volume}]" in plan.needs
        assert plan.reason == f"disk vda has its data in {site.volume}, and {again} is declared in its place"
        assert {held.disruption for held in plan.changes} == {Disruption.DATA_LOSS}
        assert not [line for line in site.converge(restart=True).performed if line.startswith("domain")]
        assert f"{site.vm}-vda" in virsh("domblklist", site.vm, "--inactive")
        assert site.number() == (number if state == "running" else "-")
    site.converge(data_loss=(site.volume,))
    assert other in virsh("domblklist", site.vm)
    site.is_at_rest()
    assert site.disk.exists()

    # The same file by its path is the same data.
    xml = virsh("dumpxml", site.vm, "--inactive")
    volume = f"<source pool='{site.name}' volume='{other}'/>"
    assert volume in xml
    text = xml.replace("type='volume'", "type='file'").replace(volume, f"<source file='{site.folder / other}'/>")
    (site.folder / "by-hand.xml").write_text(text)
    virsh("destroy", site.vm)
    virsh("define", site.folder / "by-hand.xml")
    plan = site.plan()
    assert {held.disruption for held in plan.changes} == {Disruption.NONE}
    site.converge()
    site.is_at_rest()


def test_a_vm_that_was_renamed_waits_and_a_copy_is_not_touched(site: Site) -> None:
    old, copy = f"{site.name}-old", f"{site.name}-copy"
    text = virsh("dumpxml", site.vm, "--inactive").replace(f"<name>{site.vm}<", f"<name>{copy}<")
    text = re.sub("<uuid>.*</uuid>|<mac .*/>", "", text).replace(f"volume='{site.disk.name}'", "volume='other'")
    (site.folder / "copy.xml").write_text(text)
    virsh("define", site.folder / "copy.xml")
    virsh("destroy", site.vm)
    virsh("domrename", site.vm, old)
    assert site.plan().reason.endswith(f"so it was renamed outside dos.vm: virsh domrename {old} {site.vm}")
    assert not [line for line in site.converge(prune=True).performed if line.startswith("domain")]
    virsh("domrename", old, site.vm)
    assert site.converge(prune=True).performed == (f"domain {site.vm} has been started",)
    assert site.plan(f"domain {copy}").notes[0].startswith(f"it has the ownership mark of {site.vm}")
    virsh("undefine", copy)


def test_what_is_undefined_while_it_runs_is_defined_again(site: Site) -> None:
    number = site.number()
    virsh("undefine", site.vm)
    virsh("net-undefine", site.name)
    (answer,) = site.operate("stop")
    assert "while its definition is missing: run dos.vm.site" in answer.refused
    assert site.plan().notes == (
        "its definition was removed while it runs: the run writes it again, without an interruption",
    )
    outcome = site.converge()
    assert f"domain {site.vm} has been defined" in outcome.performed
    assert f"network {site.name} has been defined" in outcome.performed
    assert not any(plan.disruption for plan in outcome.plans)
    assert site.number() == number
    assert site.vm in virsh("list", "--persistent", "--name")
    assert site.name in virsh("net-list", "--persistent", "--name")
    site.is_at_rest()

    # One that nobody declares any more goes all the same.
    virsh("undefine", site.vm)
    site.declared["dos_instances"] = {}
    site.converge(prune=True)
    assert site.vm not in virsh("list", "--all", "--name")


def test_a_volume_that_was_grown_stays_as_large_as_it_is(site: Site) -> None:
    virsh("blockresize", site.vm, "vda", "20M")
    plan = site.plan(site.volume)
    assert plan.notes == (
        "it has 20 MiB, is larger than declared (8 MiB), and never shrinks (LIMIT-10): set capacity: 20 MiB",
    )
    site.is_at_rest()
    site.instance["disks"][0]["capacity"] = "20 MiB"
    assert site.plan(site.volume).notes == ()
    site.instance["disks"][0]["capacity"] = "40 MiB"
    assert f"{site.volume} has been grown" in site.converge().performed
    assert '"virtual-size": 41943040' in run("qemu-img", "info", "-U", "--output=json", site.disk)


LAYER = "is on layer {layer} over {volume}, made outside dos.vm, and stays on it"


def written(path: Path, byte: int) -> None:
    """64 KiB at the beginning of a disk, as a guest would have written them."""
    run("qemu-io", "-f", "qcow2", "-c", f"write -P {byte} 0 64k", path)


def reads(path: Path, byte: int) -> None:
    assert "verification failed" not in run("qemu-io", "-U", "-r", "-f", "qcow2", "-c", f"read -P {byte} 0 64k", path)


def test_a_vm_stays_on_a_layer_that_a_backup_script_made(site: Site) -> None:
    layer = site.folder / f"{site.vm}-vda.s3"
    told = LAYER.format(layer=layer, volume=site.volume)
    options = ("--disk-only", "--atomic", "--no-metadata", "--diskspec", f"vda,file={layer}")
    virsh("snapshot-create-as", site.vm, "nightly", *options)
    number = site.number()
    assert told in site.plan().notes[0]
    site.is_at_rest()
    assert site.converge(restart=True).performed == ()
    assert site.number() == number

    # The guest has written to it, and is off: it goes on with what it wrote.
    virsh("destroy", site.vm)
    written(layer, 0xAA)
    assert site.converge().performed == (f"domain {site.vm} has been started",)
    assert str(layer) in virsh("domblklist", site.vm)
    reads(layer, 0xAA)

    # A checkpoint inside it would be lost with it, and one over it would hide it.
    for stored in ({"stored": "internal"}, {"stored": "external", "directory": str(site.folder / "kept")}):
        asked = {"vm": site.vm, "site": "test", "order": "create", "name": "one", **stored}
        with pytest.raises(ConflictError, match=f"is on layer {layer} over {site.disk}, made outside dos.vm"):
            checkpoints.carry_out(decode(Checkpointing, asked), site.hypervisor, dry_run=False)

    # What it stands on stays as it is, and so does the VM while its data is in the layer.
    virsh("pool-refresh", site.name)
    site.instance["disks"][0]["capacity"] = "40 MiB"
    assert "merge the layer first" in site.plan(site.volume).reason
    site.is_at_rest()
    site.instance["disks"][0]["capacity"] = "8 MiB"
    declared, site.declared["dos_instances"] = site.declared["dos_instances"], {}
    lost = (site.volume, f"{site.volume}.s3")
    left = {str(plan.address): plan for plan in site.converge(prune=True, data_loss=(site.volume,)).plans}
    assert "Merge them first" in left[f"domain {site.vm}"].reason
    assert all(left[address].verdict == "left" for address in lost)
    assert layer.exists()
    assert site.disk.exists()
    site.declared["dos_instances"] = declared

    # Merged as the plan says, it is on its own disk again, with what was written.
    note = site.plan().notes[0]
    run(*note.partition(" with ")[2].partition(", then ")[0].split())
    virsh("pool-refresh", site.name)
    assert f"{layer} is layered over {site.disk}, which the guest writes" in site.plan().notes[0]
    layer.unlink()
    virsh("pool-refresh", site.name)
    site.converge()
    assert site.plan().notes == ()
    site.is_at_rest()
    reads(site.disk, 0xAA)
