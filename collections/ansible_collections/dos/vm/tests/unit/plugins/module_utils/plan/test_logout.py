# SPDX-License-Identifier: GPL-3.0-or-later
"""HOT-02: a host logs out of a target behind the last machine that lets go of it, and under none that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.address import Address, Mark
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import Name
from dosvm.plan.disruption import Disruption
from dosvm.plan.plan import Plan

LUNS = ("unit:0:0:1", "unit:0:0:2")
NEEDED = {"name": "san", "type": "iscsi", "source": {"server": "s", "target": "iqn.a"}}
UNNEEDED = {**NEEDED, "active": False, "autostart": False}
OUT = ["pool san has been set not to start by itself", "pool san has been stopped"]


def machine(name: str, *luns: str, **more: Any) -> dict[str, Any]:
    disks = [{"pool": "san", "volume": lun, "format": "raw", "bus": "virtio"} for lun in luns]
    return {"name": name, "memory": "16 MiB", "disks": disks, "stop_timeout": 0, **more}


def run(
    host: FakeHypervisor, pool: dict[str, Any], *machines: dict[str, Any], site: str = "dos", **allow: Any
) -> Outcome:
    wanted = {lun for held in machines for lun in (disk["volume"] for disk in held["disks"])}
    volumes = [{"pool": "san", "name": name, "format": "raw"} for name in sorted(wanted)]
    held = decode(Slice, {"site": site, "pools": [pool], "volumes": volumes, "domains": list(machines)})
    marked = tuple(replace(domain, mark=Mark(site=Name(site))) for domain in held.domains)
    return converge(replace(held, domains=marked), host, permission=decode(Permission, allow))


def of_pool(outcome: Outcome) -> Plan:
    return next(plan for plan in outcome.plans if plan.address == Address("pool", "san"))


@pytest.fixture
def host() -> FakeHypervisor:
    """A host on which `one` has the first LUN."""
    made = FakeHypervisor(offered=LUNS)
    assert run(made, NEEDED, machine("one", LUNS[0])).failures == ()
    return made


def is_logged_in(host: FakeHypervisor) -> bool:
    return host.observe("dos")[Address("pool", "san")].active


def test_a_host_that_never_needed_it_is_told_of_it_and_no_more() -> None:
    other = FakeHypervisor(offered=LUNS)
    assert run(other, UNNEEDED).performed == ("pool san has been defined",)
    assert not run(other, UNNEEDED).changed


def test_it_logs_out_behind_the_machine_that_lets_go(host: FakeHypervisor) -> None:
    done = run(host, UNNEEDED, machine("one"))
    assert list(done.performed)[-2:] == OUT
    assert "domain one has been relieved of" in " ".join(done.performed[:-2])
    assert of_pool(done).disruption is Disruption.NONE
    assert not run(host, UNNEEDED, machine("one")).changed
    again = run(host, NEEDED, machine("one", LUNS[0]))
    assert again.failures == ()
    assert is_logged_in(host)


def test_it_logs_out_behind_a_machine_that_is_removed(host: FakeHypervisor) -> None:
    left = run(host, UNNEEDED)
    assert left.performed == ()
    assert "for domain one, which has a LUN of it" in of_pool(left).reason
    assert list(run(host, UNNEEDED, prune=True).performed)[-2:] == OUT


def test_a_second_user_keeps_the_session(host: FakeHypervisor) -> None:
    """Also one that is not ours, and one that is off: it could not start any more."""
    theirs = machine("theirs", LUNS[1])
    for state in (True, False):
        assert run(host, NEEDED, {**theirs, "active": state}, site="elsewhere", adopt=True).failures == ()
        assert run(host, NEEDED, machine("one", LUNS[0]), adopt=True).failures == ()
        kept = run(host, UNNEEDED, machine("one"), adopt=True)
        assert kept.failures == ()
        assert is_logged_in(host)
        assert of_pool(kept).needs == "domain theirs to let go of it"


def test_a_machine_that_lets_go_at_its_next_start_keeps_the_session_until_then(host: FakeHypervisor) -> None:
    fixed = machine("two", LUNS[1])
    fixed["disks"][0]["bus"] = "sata"
    assert run(host, NEEDED, machine("one", LUNS[0]), fixed).failures == ()
    waits = run(host, UNNEEDED, machine("one"), machine("two"))
    assert waits.failures == ()
    assert of_pool(waits).needs == "domain two to let go of it"
    assert is_logged_in(host)
    restarted = run(host, UNNEEDED, machine("one"), machine("two"), restart=True)
    assert list(restarted.performed)[-2:] == OUT


def test_a_machine_that_cannot_let_go_keeps_the_session(host: FakeHypervisor) -> None:
    host.deaf = True
    silent = run(host, UNNEEDED, machine("one"))
    assert "has not let go" in dict(silent.unanswered)["pool san"]
    host.deaf, host.writes, host.fail_after = False, 0, 0
    failed = run(host, UNNEEDED, machine("one"))
    assert [name for name, _ in failed.failures] == ["domain one", "pool san"]
    assert "not attempted, since domain one failed" in dict(failed.failures)["pool san"]
    assert is_logged_in(host)


def test_a_pool_that_is_not_a_session_is_stopped_as_declared(host: FakeHypervisor) -> None:
    mount = {"name": "san", "type": "netfs", "path": "/srv/nas", "source": {"server": "n", "export": "/e"}}
    other = FakeHypervisor()
    assert run(other, mount).failures == ()
    assert "pool san has been stopped" in run(other, {**mount, "active": False}).performed
