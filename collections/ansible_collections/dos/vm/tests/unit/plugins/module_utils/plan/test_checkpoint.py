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


@pytest.mark.parametrize(
    ("held", "word"),
    [
        (domain(DISK.format("qcow2", "copy_on_read='on'", "a", "vda", "")), "CKPT-06"),
        (domain(DISK.format("qcow2", "", "a", "vda", "<transient/>")), "forgets"),
        (domain(DRIVE), "no disk that it writes to"),
        (domain(GOOD.replace("<source ", "<source><encryption/></source><source ")), "is encrypted"),
        (domain(GOOD.replace("device=", "type='network' device=")), "of type network"),
    ],
)
def test_what_cannot_have_one_in_files_of_its_own_is_refused(held: Any, word: str) -> None:
    for disk in held.iterfind("devices/disk"):
        disk.set("type", disk.get("type", "file"))
    (reason,) = refusals(held, "running", None, inside=False)
    assert word in reason


def test_in_files_of_its_own_a_raw_disk_may_have_one_and_a_machine_that_is_off() -> None:
    raw = domain(DISK.format("raw", "", "a", "vda", "").replace("device=", "type='file' device="))
    assert list(refusals(raw, "running", None, inside=False)) == []
    assert list(refusals(raw, "shut off", None, inside=False, memory=False)) == []
    (reason,) = refusals(raw, "shut off", None, inside=False)
    assert "start it first" in reason


def test_memory_without_a_disk_that_belongs_to_it_is_refused() -> None:
    """CKPT-07, harder than a warning."""
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


def test_a_layer_is_the_disk_it_lies_over() -> None:
    over = DISK.format("qcow2", "", "kept/dosvm-checkpoints/m/one/vda/srv/a", "vda", "")
    assert list(losses(domain(over), domain(GOOD))) == []


@pytest.mark.parametrize(
    "said",
    [
        {"order": "create"},
        {"order": "rename", "name": "a"},
        {"order": "delete", "name": "a", "disks": ("vda",)},
        {"order": "create", "name": "a", "stored": "external"},
        {"order": "create", "name": "a", "directory": "/srv"},
        {"order": "create", "name": "a", "memory": False},
        {"order": "create", "name": "a", "stored": "external", "directory": "/srv", "quiesce": True},
        {"order": "rollback", "name": "a", "stored": "external"},
    ],
)
def test_what_does_not_go_together_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        Checkpointing(vm="a", **said)
