# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines another host tries after one failed, and which hosts are none the worse for it (SCHED-10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dosvm.compile.machine import machines
from dosvm.compile.memory import Memory, Placement
from dosvm.compile.retry import Outlook, failures_of, outlook
from dosvm.compile.site import HostState, compile_site
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.load import load

HOSTS = ("h1", "h2", "h3")
DECLARED: dict[str, Any] = {
    "dos_projects": {"shop": {}},
    "dos_pools": {"own": {"path": "/srv/own"}, "common": {"path": "/srv/common", "shared": True}},
    "dos_instances": {
        "web": {
            "project": "shop",
            "memory": "64 MiB",
            "disks": [{"pool": "own", "capacity": "1 MiB"}, {"pool": "common", "capacity": "1 MiB"}],
            "vms": {"free": {}, "bound": {"host": "h1"}},
        }
    },
}
SITE = load(DECLARED, hosts=HOSTS)
NO_PORT = "start the domain: the port is taken"


def answer(failed: Mapping[str, str], *, create: str = "free", active: bool = False, **more: Any) -> dict[str, Any]:
    """What a host says that was to make a machine with its disks, and could not do all of it."""
    made = [("domain", create), ("volume", f"own/{create}-vda"), ("volume", f"common/{create}-vdb")]
    return {
        "failures": [{"object": name, "reason": why} for name, why in failed.items()],
        "plans": [{"kind": kind, "name": name, "verdict": "create"} for kind, name in made],
        "performed": [f"{kind} {name} has been created" for kind, name in made if kind == "volume"],
        "facts": {"domains": [{"name": create, "active": active}]},
        **more,
    }


def after(answers: Mapping[str, Any], attempt: int = 1, before: Outlook | None = None, **failures: Any) -> Outlook:
    last = sorted(answers)[-1]
    return outlook(
        SITE,
        machines(SITE),
        answers,
        tried=before.tried if before else {},
        failures=failures_of(answers, failures),
        placed={"free": last, "bound": "h1"},
        attempt=attempt,
    )


def test_a_new_machine_is_tried_again_and_what_there_is_of_it_goes() -> None:
    found = after({"h1": answer({"domain free": NO_PORT})})
    (one,) = found.again
    assert (one.vm, one.host, one.defined) == ("free", "h1", True)
    assert one.volumes == ("common/free-vdb", "own/free-vda")
    assert found.tried == {"free": {"h1": NO_PORT}}
    assert (found.lost, found.settled) == ((), frozenset())


def test_a_disk_that_this_run_did_not_make_stays() -> None:
    """It was to be made, and one was in the way: that one is somebody's (law 4)."""
    held = answer(
        {"volume own/free-vda": "exists already", "domain free": "not attempted, since volume own/free-vda failed"}
    )
    held["performed"] = ["volume common/free-vdb has been created"]
    (one,) = after({"h1": held}).again
    assert one.volumes == ("common/free-vdb",)


def test_one_that_can_be_nowhere_else_is_lost_and_left_alone() -> None:
    found = after({"h1": answer({"domain bound": NO_PORT}, create="bound")})
    assert (found.again, found.lost) == ((), ("bound",))


def test_one_that_was_there_before_or_runs_is_left_alone() -> None:
    old = answer({"domain free": NO_PORT})
    old["plans"] = []
    assert after({"h1": old}).again == ()
    assert after({"h1": answer({"domain free": "set autostart: no"}, active=True)}).again == ()


def test_a_host_whose_machine_another_has_is_settled() -> None:
    first = after({"h1": answer({"domain free": NO_PORT})})
    found = after({"h2": {"failures": []}}, 2, first, h1={"domain free": NO_PORT})
    assert (found.again, found.lost, found.settled) == ((), (), frozenset(["h1"]))


def test_a_host_with_another_failure_is_not() -> None:
    held = {"domain free": "not attempted, since network lan failed", "network lan": "no bridge"}
    first = after({"h1": answer(held)})
    assert first.tried == {"free": {"h1": "network lan: no bridge"}}
    assert after({"h2": {}}, 2, first, h1=held).settled == frozenset()
    assert after({"h2": {}}, 2, first, h1={"domain free": NO_PORT, "the rest": "3 actions"}).settled == frozenset()


def test_after_as_many_attempts_as_declared_it_stays_where_it_was_tried_last() -> None:
    first = after({"h1": answer({"domain free": NO_PORT})})
    second = after({"h2": answer({"domain free": "no memory"})}, 2, first, h1={"domain free": NO_PORT})
    assert [one.host for one in second.again] == ["h2"]
    third = after({"h3": answer({"domain free": "no luck"})}, 3, second)
    assert (third.again, third.lost) == ((), ("free",))
    assert third.tried == {"free": {"h1": NO_PORT, "h2": "no memory", "h3": "no luck"}}


def test_it_is_placed_where_it_was_not_tried_and_the_table_says_why() -> None:
    """And one that finds no host then does not fail the others (SCHED-11)."""
    states = {host: HostState(facts=FakeHypervisor().facts(), active={}) for host in HOSTS}
    memory = Memory(placements={"free": Placement(vm="free", host="h1", epoch=1)}, surveyed=frozenset(HOSTS))
    failed = {"free": {"h1": NO_PORT, "h2": "no memory"}}
    made = compile_site(SITE, states, now=0.0, memory=memory, failed=failed)
    assert made.decisions["free"].host == "h3"
    assert made.taken == {"h1": {"free": 2}}
    nowhere = compile_site(SITE, states, now=0.0, memory=memory, failed={"free": {**failed["free"], "h3": "no luck"}})
    assert nowhere.decisions["free"].host is None
    assert nowhere.decisions["free"].refusals["h1"] == f"could not start it in this run: {NO_PORT}"
    assert "bound" in {str(domain.name) for domain in nowhere.slices["h1"].domains}
