# SPDX-License-Identifier: GPL-3.0-or-later
"""A renamed VM and its old one never run side by side with one MAC and one address."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from operators import Operator

pytestmark = pytest.mark.libvirt

MAC = "52:54:00:b0:60:01"


@pytest.fixture
def operator(hypervisor: object, tmp_path: Path) -> Iterator[Operator]:
    """A site of one VM without a system, on a network of libvirt's own DHCP."""
    site = {
        "dos_site": "pw",
        "dos_projects": {"pw": {"quota": {"vcpus": 1}}},
        "dos_subnets": {"pw-lan": {"address": "192.168.239.0/24", "gateway": "192.168.239.1", "dhcp": {}}},
        "dos_networks": {"pw-lan": {"type": "isolated", "subnet": "pw-lan", "bridge": "pw-lan"}},
    }
    held = Operator(tmp_path, site)
    yield held
    held.play("destroy", "-e", "dos_confirm=pw")


def named(operator: Operator, name: str) -> None:
    operator.site["dos_instances"] = {
        "pw-web": {
            "project": "pw",
            "memory": "16 MiB",
            "stop_timeout": 0,
            "interfaces": [{"network": "pw-lan", "boot_rom": False}],
            "vms": {name: {"ip": {"pw-lan": "192.168.239.11"}, "mac": {"pw-lan": MAC}}},
        }
    }


def reserved() -> str:
    done = subprocess.run(["virsh", "net-dumpxml", "pw-lan"], capture_output=True, text=True, check=True)
    return next(line.strip() for line in done.stdout.splitlines() if "<host " in line)


def test_a_renamed_vm_starts_when_its_old_one_is_off(operator: Operator) -> None:
    """NIC-02, SUBN-04, QUOTA-02, law 8: without dos_prune it is defined and waits, with it one run is enough."""
    named(operator, "pw-old")
    operator.play("site")
    assert operator.state("pw-old") == "running"

    named(operator, "pw-new")
    full = operator.play("plan", succeeds=False)
    assert (
        "quota vcpus of project pw is 1: 1 used, 1 requested; of that 1 by pw-old on here, no longer declared" in full
    )

    operator.site["dos_projects"] = {"pw": {}}
    told = operator.play("site")
    why = f"MAC {MAC} and 192.168.239.11 are still used by VM pw-old, which runs on here and is no longer declared"
    assert f"pw-new is not started: {why}: remove it (dos_prune: true)" in told
    assert [operator.state(vm) for vm in ("pw-old", "pw-new")] == ["running", "shut off"]
    assert reserved() == f"<host mac='{MAC}' name='pw-old' ip='192.168.239.11'/>"

    told = operator.play("power", "-e", "dos_order=start", "-e", "dos_vms=pw-new", succeeds=False)
    assert f"cannot be started: {why}" in told

    told = operator.play("site", "-e", "dos_prune=true")
    assert "not started" not in told
    assert [operator.state(vm) for vm in ("pw-old", "pw-new")] == ["none", "running"]
    assert reserved() == f"<host mac='{MAC}' name='pw-new' ip='192.168.239.11'/>"
