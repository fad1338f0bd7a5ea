# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook dos.vm.power: what an operator orders is done, and the next run of the site leaves it so and says why."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from operators import Operator

pytestmark = pytest.mark.libvirt


@pytest.fixture
def operator(hypervisor: object, tmp_path: Path) -> Iterator[Operator]:
    """A site of two machines without system, so that they start at once and hear nothing."""
    site = {
        "dos_site": "pw",
        "dos_projects": {"pw": {}},
        "dos_instances": {
            "pw-web": {
                "project": "pw",
                "memory": "16 MiB",
                "stop_timeout": 0,
                "vms": {"pw-1": {}, "pw-2": {"power": "off"}},
            }
        },
    }
    held = Operator(tmp_path, site)
    yield held
    held.play("destroy", "-e", "dos_confirm=pw")


def boots_with_its_host() -> set[str]:
    """The VMs of these tests that libvirt starts when the host boots."""
    done = subprocess.run(
        ["virsh", "list", "--all", "--autostart", "--name"], capture_output=True, text=True, check=True
    )
    return {name for name in done.stdout.split() if name.startswith("pw-")}


def test_an_order_outlives_the_next_run_and_is_taken_back(operator: Operator) -> None:
    """VM-04, VM-05, VM-15, VM-T1.3, VM-T1.6, VM-T1.7: by machine and by instance, what is wanted beside what is."""
    operator.play("site")
    assert operator.state("pw-1") == "running"
    assert boots_with_its_host() == {"pw-1"}
    told = operator.play("power", "-e", "dos_order=stop", "-e", "dos_vms=pw-1")
    assert "pw-1 has been stopped: by force" in told
    assert operator.state("pw-1") == "shut off"
    assert boots_with_its_host() == set(), "a power cut now would not undo what was asked for"
    told = operator.play("site")
    assert "pw-1 is off by order, and declared otherwise" in told
    assert "0 to change" in told
    assert operator.state("pw-1") == "shut off"
    status = operator.play("status")
    assert "shut off (by order)" in status
    assert re.search(r"^pw-1 .* 1 +16 MiB ", status, re.MULTILINE), status

    operator.play("power", "-e", "dos_order=release", "-e", "dos_instances_of=pw-web")
    assert boots_with_its_host() == {"pw-1"}
    operator.play("site")
    assert operator.state("pw-1") == "running"

    # Whoever changes the declaration since has the last word.
    operator.play("power", "-e", "dos_order=start", "-e", "dos_vms=pw-2")
    assert operator.state("pw-2") == "running"
    assert boots_with_its_host() == {"pw-1", "pw-2"}
    operator.site["dos_instances"]["pw-web"]["vms"] = {"pw-1": {"power": "off"}, "pw-2": {}}
    operator.play("site")
    status = operator.play("status")
    assert status.index("\npw-2 ") < status.index("\npw-1 "), "who is on comes first"
    assert (operator.state("pw-1"), operator.state("pw-2")) == ("shut off", "running")


def test_what_cannot_be_ordered_is_told_before_anything_is_done(operator: Operator) -> None:
    operator.play("site")
    assert "nobody is none of the site's vms" in operator.play(
        "power", "-e", "dos_order=stop", "-e", "dos_vms=nobody", succeeds=False
    )
    told = operator.play("power", "-e", "dos_order=suspend", "-e", "dos_instances_of=pw-web", succeeds=False)
    assert "suspend is not possible while it is shut off: start it first (VM-T2)" in told
    assert operator.state("pw-1") == "paused", "the one that could be was"
    operator.site["dos_instances"]["pw-web"]["enabled"] = False
    told = operator.play("power", "-e", "dos_order=start", "-e", "dos_vms=pw-2", succeeds=False)
    assert "its instance is disabled (VM-17)" in told


def test_an_instance_that_is_taken_out_leaves_its_machines_until_they_may_go(operator: Operator) -> None:
    """INST-08, AMB-15, VM-06: every plan lists them, and nothing happens to them that nobody allowed."""
    operator.site["dos_instances"]["pw-copy"] = {"from": "pw-web", "vms": {"pw-3": {}}}
    operator.play("site")
    assert operator.state("pw-3") == "running"
    del operator.site["dos_instances"]["pw-copy"]
    told = operator.play("site")
    assert "domain pw-3" in told
    assert "no longer declared; dos_prune: true removes it" in told
    assert operator.state("pw-3") == "running"
    operator.play("site", "-e", "dos_prune=true")
    assert operator.state("pw-3") == "none"
    assert operator.state("pw-1") != "none", "who is declared stays"


@pytest.fixture
def readable() -> Iterator[Path]:
    """A directory that QEMU may read, which one of a test is not."""
    with tempfile.TemporaryDirectory(prefix="pw-", dir="/var/lib/dos-vm") as held:
        Path(held).chmod(0o711)
        yield Path(held)


def test_what_a_rule_forbids_is_not_started(operator: Operator, readable: Path) -> None:
    """VM-08, VM-18, LIMIT-05: a second writer, and more than a quota, beside power overrides and a VM started by hand."""
    web, off = operator.site["dos_instances"]["pw-web"], {"power": "off"}
    writer = {**web, "disks": [{"volume": "pw-data"}]}
    operator.site |= {
        "dos_projects": {"pw": {"quota": {"vcpus": 2}}},
        "dos_pools": {"pw-pool": {"path": str(readable / "pool")}},
        "dos_volumes": {"pw-data": {"pool": "pw-pool", "capacity": "1 MiB", "format": "raw"}},
        "dos_instances": {
            "pw-a": {**writer, "vms": {"pw-1": off}},
            "pw-b": {**writer, "vms": {"pw-2": off}},
            "pw-c": {**web, "vms": {"pw-3": off}},
        },
    }
    operator.play("site")
    operator.play("power", "-e", "dos_order=start", "-e", "dos_vms=pw-2")
    told = operator.play("power", "-e", "dos_order=start", "-e", "dos_vms=pw-1,pw-3", succeeds=False)
    both = r"site.yml:\d+:\d+: dos_instances.pw-b.disks.* written by both pw-1 and pw-2.*; see dos_instances.pw-a.disks"
    assert re.search(rf"{both}\S* at \S*site.yml:\d+", told), told
    assert "quota vcpus of project pw is 2: 2 used, 1 requested (QUOTA-02)" in told
    assert [operator.state(vm) for vm in ("pw-1", "pw-3")] == ["shut off", "shut off"], "no host was changed"

    subprocess.run(["virsh", "start", "pw-3"], check=True, capture_output=True)
    assert "project pw: vcpus 0 → 2 of 2" in operator.play("plan"), "by power override and by hand"

    # The declaration contradicts the power override: the next run is refused, with both places.
    operator.site["dos_instances"]["pw-a"]["vms"] = {"pw-1": {}}
    told = operator.play("plan", succeeds=False)
    assert "is written by both pw-1 and pw-2: turn one off (pw-2: on by power override" in told
