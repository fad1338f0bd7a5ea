# SPDX-License-Identifier: GPL-3.0-or-later
"""When a seed is written, and which one the drive of a machine has."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice


def declare(host: FakeHypervisor, text: str, **more: Any) -> Outcome:
    seed = {"files": {"meta-data": text}, **more.pop("seed", {})}
    domain = {"name": "web", "memory": "64 MiB", "virt_type": "qemu", "mark": {"site": "dos"}, "seed": seed, **more}
    held = decode(Slice, {"domains": [domain]})
    return converge(held, host, permission=Permission(), secrets={"guest": b"hunter22"})


def test_it_is_written_before_the_machine_starts_and_once() -> None:
    host = FakeHypervisor()
    assert [line.split(" has been ")[1] for line in declare(host, "one").performed] == [
        "given a seed",
        "defined",
        "started",
    ]
    assert not declare(host, "one").changed
    assert len(host.files) == 1


def test_another_one_lies_in_the_drive_when_the_guest_boots_next() -> None:
    host = FakeHypervisor()
    declare(host, "one")
    told = declare(host, "two").performed
    assert [line.split(" has been ")[1] for line in told] == ["given a seed", "redefined", "given a changed medium sdf"]
    assert not declare(host, "two").changed


def test_one_that_may_not_change_stays() -> None:
    host, how = FakeHypervisor(), {"seed": {"on_change": "ignore"}}
    declare(host, "one", **how)
    assert not declare(host, "two", **how).changed
    (path,) = host.files
    source = host.observe("dos")[Address("domain", "web")].xml.find("devices/disk/source")
    assert source is not None
    assert source.get("file") == path


def test_one_that_is_gone_is_made_again() -> None:
    host = FakeHypervisor()
    declare(host, "one")
    host.files.clear()
    assert declare(host, "one").performed == ("domain web has been given a seed",)


def test_as_a_disk_it_waits_for_the_next_start() -> None:
    host = FakeHypervisor()
    declare(host, "one", seed={"format": "vfat"})
    outcome = declare(host, "two", seed={"format": "vfat"})
    assert [held.change.xpath for plan in outcome.plans for held in plan.pending] == [
        "domain/devices/disk/source/@file"
    ]


def test_a_secret_that_is_missing_is_named() -> None:
    outcome = declare(FakeHypervisor(), "${secret:other}")
    assert "secret other has no value" in outcome.failures[0][1]


@pytest.mark.parametrize("text", ["${hash:guest}", "${secret:guest}"])
def test_what_is_done_does_not_tell_a_secret(text: str) -> None:
    host = FakeHypervisor()
    assert "hunter22" not in str(declare(host, text)) + str(host.performed)
