# SPDX-License-Identifier: GPL-3.0-or-later
"""What converge refuses, what it carries on with, and whom it does not believe."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import pytest

from dosvm.apply import converge
from dosvm.errors import ConflictError, HypervisorError, VerificationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.plan.action import Action, CreateVolume, Define

NOTHING = Permission()
POOLS = {"pools": [{"name": "a", "path": "/srv/a"}, {"name": "b", "path": "/srv/b"}]}
VOLUMES = {
    "volumes": [{"pool": "a", "name": "one", "capacity": "64 MiB"}, {"pool": "b", "name": "two", "capacity": "64 MiB"}]
}
SLICE = decode(Slice, {**POOLS, **VOLUMES})


class Failing(FakeHypervisor):
    """Cannot do anything to some objects."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        if str(action.address) in self.names:
            raise HypervisorError(f"touch {action.address}", "no space left")
        super().perform(action, secrets)


class Lying(FakeHypervisor):
    """Says that a volume is created, and creates none."""

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        if not isinstance(action, CreateVolume):
            super().perform(action, secrets)


def test_conflicts_are_all_told_and_nothing_is_changed() -> None:
    host = FakeHypervisor()
    theirs = {"site": "elsewhere", **POOLS}
    converge(decode(Slice, theirs), host, permission=NOTHING)
    writes = host.writes
    ours = decode(
        Slice,
        {
            "pools": [
                {"name": "a", "path": "/srv/x"},
                {"name": "b", "path": "/srv/y"},
                {"name": "c", "path": "/srv/c"},
            ],
            "networks": [{"name": "lab", "forward": "none"}],
            "secrets": [{"name": "s"}],
        },
    )
    for dry_run in (True, False):
        with pytest.raises(ConflictError) as refused:
            converge(ours, host, permission=NOTHING, dry_run=dry_run)
        assert [line.split(" ")[:2] for line in str(refused.value).splitlines()] == [
            ["secret", "s"],
            ["pool", "a"],
            ["pool", "b"],
        ]
    assert host.writes == writes


def test_a_host_that_lies_is_not_believed() -> None:
    with pytest.raises(VerificationError, match="volume a/one: created; volume b/two: created"):
        converge(SLICE, Lying(), permission=NOTHING)


def test_what_stands_on_a_failure_is_not_attempted_and_the_rest_goes_on() -> None:
    host = Failing("pool a")
    outcome = converge(SLICE, host, permission=NOTHING)
    assert dict(outcome.failures) == {
        "pool a": "touch pool a: no space left",
        "volume a/one": "not attempted, since pool a failed",
    }
    assert "volume b/two has been created" in outcome.performed
    assert not any("a/one" in sentence for sentence in outcome.performed)


def test_a_volume_outlives_the_machine_that_could_not_be_removed() -> None:
    host = Failing()
    disk = {"pool": "a", "volume": "one", "format": "qcow2"}
    machine = {"name": "web", "memory": "16 MiB", "disks": [disk], "mark": {"site": "dos"}}
    converge(decode(Slice, {**POOLS, **VOLUMES, "domains": [machine]}), host, permission=NOTHING)
    host.names = ("domain web",)
    outcome = converge(
        decode(Slice, POOLS), host, permission=Permission(prune=True, data_loss=("volume a/one", "volume b/two"))
    )
    assert dict(outcome.failures)["volume a/one"] == "not attempted, since domain web failed"
    assert "/srv/a/one" in host.files
    assert "/srv/b/two" not in host.files


def test_a_run_out_of_time_has_done_one_object_and_says_what_is_left() -> None:
    host, ticks = FakeHypervisor(), count()
    outcome = converge(SLICE, host, permission=NOTHING, seconds=0, clock=lambda: float(next(ticks)))
    assert {action.address.name for action in host.performed} == {"a"}
    assert isinstance(host.performed[0], Define)
    assert outcome.remaining == sum(len(plan.actions) for plan in outcome.plans) - len(outcome.performed) > 0
    assert outcome.failures == ()


def test_a_run_with_time_enough_leaves_nothing() -> None:
    outcome = converge(SLICE, FakeHypervisor(), permission=NOTHING, seconds=60)
    assert outcome.remaining == 0
    assert outcome.changed


def test_an_error_that_quotes_a_definition_does_not_tell_the_password() -> None:
    class Quoting(FakeHypervisor):
        def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
            raise HypervisorError("define it", "line 3: passwd='hunter&lt;2' and hunter<2")

    held = decode(Slice, {"secrets": [{"name": "console"}]})
    outcome = converge(held, Quoting(), permission=NOTHING, secrets={"console": b"hunter<2"})
    assert outcome.failures == (("secret console", "define it: line 3: passwd='(hidden)' and (hidden)"),)


MACHINE = {"name": "web", "memory": "64 MiB", "virt_type": "qemu"}
DISK = {"file": "/srv/data.raw", "format": "raw", "target": "vdb"}


def machine(*disks: dict[str, str], **more: object) -> Slice:
    return decode(Slice, {"domains": [{**MACHINE, "mark": {"site": "dos"}, "disks": list(disks), **more}]})


def test_a_guest_that_does_not_answer_is_told_of_and_asked_again() -> None:
    host = FakeHypervisor(files={"/srv/data.raw": 2**20}, deaf=True)
    converge(machine(DISK), host, permission=NOTHING)
    outcome = converge(machine(), host, permission=NOTHING)
    assert outcome.failures == ()
    assert [name for name, _ in outcome.unanswered] == ["domain web"]
    assert outcome.performed == ("domain web has been redefined",)
    again = converge(machine(), host, permission=NOTHING)
    assert (again.changed, len(again.unanswered)) == (False, 1)
    host.deaf = False
    assert converge(machine(), host, permission=NOTHING).performed == ("domain web has been relieved of disk vdb",)
    assert not converge(machine(), host, permission=NOTHING).changed


def test_a_volume_stays_while_the_guest_holds_it() -> None:
    host = FakeHypervisor(deaf=True)
    pool = {"pools": [POOLS["pools"][0]]}
    volume = {"pool": "a", "name": "one", "capacity": "64 MiB", "format": "raw"}
    disk = {"pool": "a", "volume": "one", "format": "raw", "target": "vdb"}
    whole = decode(
        Slice, {**pool, "volumes": [volume], "domains": [{**MACHINE, "mark": {"site": "dos"}, "disks": [disk]}]}
    )
    converge(whole, host, permission=NOTHING)
    without = decode(Slice, {**pool, "domains": [{**MACHINE, "mark": {"site": "dos"}}]})
    may = Permission(prune=True, data_loss=("volume a/one",))
    outcome = converge(without, host, permission=may)
    assert [name for name, _ in outcome.unanswered] == ["domain web", "volume a/one"]
    assert "/srv/a/one" in host.files
    host.deaf = False
    assert "volume a/one has been deleted" in converge(without, host, permission=may).performed
