# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a checkpoint, every reason at once, and what going back would lose."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.errors import DeclarationError
from dosvm.model.checkpoint import Checkpointing
from dosvm.plan.checkpoint import descendants, losses, refusals
from dosvm.xml.build import parse

DISK = "<disk device='disk'><driver type='{}' {}/><source file='/srv/{}'/><target dev='{}'/>{}</disk>"
GOOD = DISK.format("qcow2", "", "a", "vda", "")
DRIVE = "<disk device='cdrom'><driver type='raw'/><target dev='sda'/><readonly/></disk>"


def domain(*devices: str, os: str = "") -> Any:
    return parse(f"<domain><os>{os}</os><devices>{''.join(devices)}</devices></domain>")


def test_a_running_machine_on_qcow2_may_have_one() -> None:
    assert list(refusals(domain(GOOD, DRIVE), "running", None)) == []
    assert list(refusals(domain(GOOD), "running", ["vda"])) == []
    assert list(refusals(domain(DRIVE), "running", None)) == [], "none of its disks is written to"


@pytest.mark.parametrize(
    ("held", "word"),
    [
        (domain(DISK.format("raw", "", "a", "vda", "")), "only qcow2 can"),
        (domain(DISK.format("qcow2", "copy_on_read='on'", "a", "vda", "")), "CKPT-06"),
        (domain(DISK.format("qcow2", "", "a", "vda", "<transient/>")), "forgets"),
        (domain(DISK.format("qcow2", "", "a", "vda", "<shareable/>")), "by others"),
        (domain(GOOD, "<hostdev/>"), "passed through"),
        (domain(GOOD, "<filesystem/>"), "shared with it"),
        (domain(GOOD, os="<loader type='pflash'/>"), "UEFI"),
    ],
)
def test_what_cannot_have_one_is_refused(held: Any, word: str) -> None:
    (reason,) = refusals(held, "running", None)
    assert word in reason


def test_every_reason_is_told_at_once() -> None:
    found = list(
        refusals(
            domain(DISK.format("raw", "copy_on_read='on'", "a", "vda", ""), "<hostdev/>"), "paused", ["vda", "vdz"]
        )
    )
    assert len(found) == 5


def test_memory_without_a_disk_that_belongs_to_it_is_refused() -> None:
    two = domain(GOOD, DISK.format("qcow2", "", "b", "vdb", ""))
    (reason,) = refusals(two, "running", ["vda"])
    assert "vdb would not go back" in reason


def test_what_going_back_loses_is_named() -> None:
    now = domain(DISK.format("qcow2", "", "other", "vda", ""), DISK.format("qcow2", "", "b", "vdb", ""))
    assert list(losses(now, domain(GOOD))) == [
        "disk vda was another one then",
        "disk vdb is not in the checkpoint, and goes from the machine",
    ]
    assert list(losses(domain(GOOD), domain(GOOD))) == []


def test_descendants_are_all_below() -> None:
    parents = {"a": None, "b": "a", "c": "b", "d": "a"}
    assert descendants(parents, "a") == ["b", "c", "d"]
    assert descendants(parents, "c") == []


@pytest.mark.parametrize(
    "said", [{"order": "create"}, {"order": "rename", "name": "a"}, {"order": "delete", "name": "a", "disks": ("vda",)}]
)
def test_what_does_not_go_together_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        Checkpointing(vm="a", **said)
