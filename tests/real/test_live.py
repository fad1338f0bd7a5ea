# SPDX-License-Identifier: GPL-3.0-or-later
"""A real guest that goes on while its declaration changes: what can change under it does, what cannot is told of."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from guests import Shell, overlay, said

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.plan.plan import Observed

pytestmark = pytest.mark.libvirt

MIB = 2**20


class Guest:
    """One guest, declared anew each time."""

    def __init__(self, hypervisor: LibvirtHypervisor, name: str, directory: Path) -> None:
        self.hypervisor, self.name, self.log = hypervisor, name, directory / "serial.log"
        self.root, self.data = overlay(directory), directory / "data.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(self.data), "8M"], check=True)

    def declare(self, **more: Any) -> Outcome:
        disks = [{"file": str(self.root), "format": "qcow2", "target": "vda", "boot_order": 1}]
        network = {"name": self.name, "bridge": self.name, "forward": "none", "mark": {"site": "test"}}
        domain = {
            "name": self.name,
            "mark": {"site": "test"},
            "virt_type": "qemu",
            "memory": "128 MiB",
            "memory_max": "192 MiB",
            "vcpus_max": 2,
            "serial": {"log": str(self.log)},
            "stop_timeout": 0,
            "disks": disks,
            **more,
        }
        held = decode(Slice, {"site": "test", "networks": [network], "domains": [domain]})
        return converge(held, self.hypervisor, permission=Permission())

    def see(self) -> Observed:
        return self.hypervisor.observe("test")[Address("domain", self.name)]

    def live(self, path: str) -> str | None:
        running = self.see().live
        assert running is not None
        return running.findtext(path)

    @property
    def disks(self) -> list[dict[str, Any]]:
        return [{"file": str(self.root), "format": "qcow2", "target": "vda", "boot_order": 1}]

    @property
    def plugged(self) -> dict[str, Any]:
        return {"file": str(self.data), "format": "qcow2", "target": "vdb"}


def test_a_guest_goes_on_while_it_grows_and_shrinks(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOT-03 for the card, LIMIT-24 and INST-09: what changes under a running guest, and what waits for its next start."""
    guest = Guest(hypervisor, prefix, tmp_path)
    guest.declare()
    said(guest.log, "is up")
    number = guest.see().live.get("id")

    # vCPUs, memory, a disk and the boot order at once; nothing waits.
    outcome = guest.declare(vcpus=2, memory="160 MiB", disks=[*guest.disks, guest.plugged])
    assert outcome.unanswered == ()
    assert [plan.pending for plan in outcome.plans if plan.address.name == prefix] == [(), ()]
    assert (guest.live("currentMemory"), guest.live("vcpu")) == (str(160 * 1024), "2")
    again = guest.declare(vcpus=2, memory="160 MiB", disks=[*guest.disks, guest.plugged])
    assert (again.performed, [plan.changes for plan in again.plans if plan.actions]) == ((), [])

    # What the board has no slot for, and what never changes live, waits for the next start.
    swapped = [{**guest.disks[0], "boot_order": 2}, {**guest.plugged, "boot_order": 1}]
    card = {"network": prefix, "mac": "52:54:00:d0:50:01"}
    outcome = guest.declare(vcpus=2, memory="160 MiB", tablet=True, interfaces=[card], disks=swapped)
    waiting = {held.change.xpath for plan in outcome.plans for held in plan.pending}
    assert waiting == {"domain/devices/input", "domain/devices/interface", "domain/devices/disk/boot/@order"}

    # The disk makes room for the card.
    outcome = guest.declare(vcpus=2, memory="160 MiB", interfaces=[card])
    assert f"domain {prefix} has been given card 52:54:00:d0:50:01" in outcome.performed
    assert guest.live("devices/interface/mac") is not None

    # A guest that cannot answer keeps what it has, nothing fails, and it is asked again when it can.
    monkeypatch.setattr(LibvirtHypervisor, "guest_patience", 1.0)
    domain = hypervisor._find(Address("domain", prefix))
    domain.suspend()
    outcome = guest.declare(vcpus=2, memory="160 MiB")
    assert outcome.failures == ()
    assert "still holds card" in dict(outcome.unanswered)[f"domain {prefix}"]
    assert guest.live("devices/interface/mac") is not None
    domain.resume()
    monkeypatch.setattr(LibvirtHypervisor, "guest_patience", 20.0)
    assert guest.declare(vcpus=2, memory="160 MiB").unanswered == ()
    assert guest.live("devices/interface/mac") is None
    assert guest.see().live.get("id") == number, "it was never stopped"


def test_two_running_guests_exchange_their_disks(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> None:
    """VOL-09: in one run; neither stops, and each has what the other wrote."""
    pool, names = tmp_path / "pool", (f"{prefix}-a", f"{prefix}-b")
    roots = {name: overlay(tmp_path, f"{name}.qcow2") for name in names}

    def declare(**volumes: str) -> Outcome:
        def machine(name: str, volume: str) -> dict[str, Any]:
            data = {"pool": prefix, "volume": volume, "format": "raw", "target": f"vd{volume[0]}"}
            root = {"file": str(roots[name]), "format": "qcow2", "target": "vda", "boot_order": 1}
            log = {"log": str(tmp_path / f"{name}.log")}
            common = {"mark": {"site": "test"}, "virt_type": "qemu", "memory": "128 MiB", "stop_timeout": 0}
            return {"name": name, **common, "serial": log, "disks": [root, data]}

        held = {
            "site": "test",
            "pools": [{"name": prefix, "path": str(pool), "permissions": {"mode": "0755"}}],
            "volumes": [
                {"pool": prefix, "name": name, "capacity": "8 MiB", "format": "raw"} for name in ("one", "two")
            ],
            "domains": [machine(name, volume) for name, volume in zip(names, volumes.values(), strict=True)],
        }
        return converge(decode(Slice, held), hypervisor, permission=Permission())

    def numbers() -> list[str | None]:
        seen = hypervisor.observe("test")
        return [seen[Address("domain", name)].live.get("id") for name in names]

    assert declare(a="one", b="two").failures == ()
    for name, volume in zip(names, ("one", "two"), strict=True):
        said(tmp_path / f"{name}.log", "is up")
        with Shell.of(name) as shell:
            shell.becomes_true("test -b /dev/vdb")
            assert shell.says_yes(f"echo written-by-{name} | dd of=/dev/vdb bs=512 conv=sync,fsync"), volume
    before = numbers()
    outcome = declare(a="two", b="one")
    assert (outcome.failures, outcome.unanswered) == ((), ())
    assert numbers() == before
    for name, other in (names, reversed(names)):
        with Shell.of(name) as shell:
            shell.becomes_true(f"grep -q written-by-{other} /dev/vdb")  # found a moment after it is there
    assert not declare(a="two", b="one").changed
