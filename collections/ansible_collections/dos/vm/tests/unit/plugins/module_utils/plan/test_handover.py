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
        "volumes": [{"pool": "images", "name": name, "capacity": "1 GiB"} for name in ("one", "two", "red", "six")],
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


def test_machines_exchange_their_volumes_in_one_run() -> None:
    host = FakeHypervisor()
    declare(host, a=("one",), z=("two",))
    outcome = declare(host, a=("two",), z=("one",))
    assert outcome.failures == outcome.unanswered == ()
    told = [line.split()[1::4] for line in outcome.performed if "disk" in line]
    assert told == [["a", "of"], ["z", "of"], ["a", "disk"], ["z", "disk"]]
    assert not declare(host, a=("two",), z=("one",)).changed


def test_volumes_go_round_in_a_circle_and_on_to_one_who_gives_nothing() -> None:
    host = FakeHypervisor()
    declare(host, a=("one",), b=("two", "red"), c=("six",), d=())
    asked = {"a": ("six",), "b": ("one",), "c": ("two",), "d": ("red",)}
    outcome = declare(host, **asked)
    assert outcome.failures == outcome.unanswered == ()
    assert not declare(host, **asked).changed


def test_who_fails_to_take_is_in_nobodys_way_once_all_have_let_go() -> None:
    host = FakeHypervisor()
    declare(host, a=("one",), z=("two",))
    host.fail_after = host.writes + 4  # two definitions, two disks let go: then the first to take one fails
    outcome = declare(host, a=("two",), z=("one",))
    assert [machine for machine, _ in outcome.failures] == ["domain a"]
    assert outcome.performed[-1] == "domain z has been given disk vdo"
    assert declare(host, a=("two",), z=("one",)).failures == ()
    assert not declare(host, a=("two",), z=("one",)).changed


def test_an_exchange_with_a_guest_that_does_not_let_go_loses_nothing() -> None:
    host = FakeHypervisor(deaf=True)
    declare(host, a=("one",), z=("two",))
    outcome = declare(host, a=("two",), z=("one",))
    assert outcome.failures == ()
    assert {machine: "still holds" in why for machine, why in outcome.unanswered} == {
        "domain a": True,
        "domain z": True,
    }


def test_what_a_guest_does_not_let_go_of_is_not_taken_and_no_failure() -> None:
    host = FakeHypervisor(deaf=True)
    declare(host, a=(), z=("one",))
    outcome = declare(host, a=("one",), z=())
    assert outcome.failures == ()
    told = dict(outcome.unanswered)
    assert "still holds" in told["domain z"]
    assert told["domain a"] == "not attempted, since the guest of domain z has not let go"
