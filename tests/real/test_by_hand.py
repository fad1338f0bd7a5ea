# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that people make with virsh and qemu-img beside dos.vm: each is shown in the plan, and none costs data."""

from __future__ import annotations

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
from dosvm.hypervisor.events import HearingHypervisor
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.power import Answer, carry_out
from dosvm.model.decode import decode
from dosvm.model.order import Ordering
from dosvm.model.slice import Permission
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
