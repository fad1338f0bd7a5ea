# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume that goes from one machine to another: who takes it comes after who gives it (VOL-09)."""

from __future__ import annotations

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice


def declare(host: FakeHypervisor, **volumes: tuple[str, ...]) -> Outcome:
    """Machines that run, by name, each with its volumes."""
    slice_ = {
        "pools": [{"name": "images", "path": "/srv/images"}],
        "volumes": [{"pool": "images", "name": name, "capacity": "1 GiB"} for name in ("one", "two")],
        "domains": [
            {
                "name": machine,
                "memory": "64 MiB",
                "virt_type": "qemu",
                "mark": {"site": "dos"},
                "disks": [
                    {"pool": "images", "volume": name, "format": "qcow2", "target": f"vd{name[0]}"} for name in names
                ],
            }
            for machine, names in volumes.items()
        ],
    }
    return converge(decode(Slice, slice_), host, permission=Permission())


def test_who_takes_comes_after_who_gives_whatever_the_order_declared() -> None:
    host = FakeHypervisor()
    declare(host, a=(), z=("one",))
    outcome = declare(host, a=("one",), z=())
    assert outcome.failures == ()
    told = outcome.performed
    assert [line.split()[1] for line in told if "disk" in line] == ["z", "a"]
    assert not declare(host, a=("one",), z=()).changed


def test_machines_that_are_not_concerned_stay_in_the_order_declared() -> None:
    host = FakeHypervisor()
    declare(host, a=(), z=())
    told = declare(host, a=("one",), z=("two",)).performed
    assert [line.split()[1] for line in told if "disk" in line] == ["a", "z"]


def test_an_exchange_is_no_circle_and_takes_two_runs() -> None:
    host = FakeHypervisor()
    declare(host, a=("one",), z=("two",))
    ((machine, why),) = declare(host, a=("two",), z=("one",)).failures
    assert machine == "domain a"
    assert "write" in why
    assert declare(host, a=("two",), z=("one",)).failures == ()
    assert not declare(host, a=("two",), z=("one",)).changed


def test_what_a_guest_does_not_let_go_of_is_not_taken_and_no_failure() -> None:
    host = FakeHypervisor(deaf=True)
    declare(host, a=(), z=("one",))
    outcome = declare(host, a=("one",), z=())
    assert outcome.failures == ()
    told = dict(outcome.unanswered)
    assert "still holds" in told["domain z"]
    assert told["domain a"] == "not attempted, since the guest of domain z has not let go"
