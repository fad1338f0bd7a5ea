# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is started after whom, across hosts, and what becomes of those whose forerunners are not ready."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dosvm.apply import converge
from dosvm.compile.machine import machines
from dosvm.compile.site import Compiled, HostState, compile_site
from dosvm.compile.starts import Wave, released, steps, told
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.intent.power import Order
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.readiness import Check, Waiting
from dosvm.model.slice import Permission
from dosvm.site.load import load

HOSTS = ("h1", "h2")
FACTS = FakeHypervisor().facts()
SITE: dict[str, Any] = {
    "dos_projects": {"p": {}},
    "dos_subnets": {
        "s": {"address": "10.9.0.0/24", "gateway": "10.9.0.1", "pool": [{"start": "10.9.0.10", "end": "10.9.0.99"}]}
    },
    "dos_networks": {"n": {"type": "isolated", "subnet": "s"}},
    "dos_instances": {
        "files": {"project": "p", "memory": "16 MiB", "vms": {"files": {"host": "h2"}}},
        "db": {
            "project": "p",
            "memory": "16 MiB",
            "interfaces": [{"network": "n"}],
            "after": [{"name": "files"}],
            "vms": {"db-1": {"host": "h1", "ip": {"n": "10.9.0.11"}}, "db-2": {"host": "h2"}},
        },
        "web": {
            "project": "p",
            "memory": "16 MiB",
            "after": [{"name": "db", "tcp": 5432, "within": 60}],
            "vms": {"web-1": {"host": "h1"}, "web-2": {"host": "h2", "after": [{"name": "web-1", "ready": "running"}]}},
        },
        "alone": {"project": "p", "memory": "16 MiB", "vms": {"alone": {"host": "h1"}}},
    },
}


def compiled(
    running: dict[str, str] | None = None, orders: tuple[Order, ...] = (), **instances: dict[str, Any]
) -> Compiled:
    """The site, with these machines running on these hosts."""
    states = {host: HostState(facts=FACTS, active={}) for host in HOSTS}
    for vm, host in (running or {}).items():
        held = states[host]
        active = {**(held.active or {}), vm: (1, 2**24)}
        states[host] = replace(held, domains={**held.domains, vm: True}, active=active)
    changed = {name: {**SITE["dos_instances"][name], **more} for name, more in instances.items()}
    site = load({**SITE, "dos_instances": {**SITE["dos_instances"], **changed}}, hosts=HOSTS)
    return compile_site(site, states, now=1.0, orders=orders)


def starts(found: Compiled) -> list[set[str]]:
    return [set(wave.starts) for wave in found.waves]


def test_everything_comes_after_what_it_names() -> None:
    found = compiled()
    assert starts(found) == [{"db-1", "db-2"}, {"web-1"}, {"web-2"}]
    assert {host: set(held.waits) for host, held in found.slices.items()} == {
        "h1": {"db-1", "web-1"},
        "h2": {"db-2", "web-2"},
    }


def test_who_is_asked_is_asked_on_his_own_host_at_his_own_address() -> None:
    _, wave, last = compiled().waves
    (check,) = wave.checks["h1"]
    assert (check.name, str(check.addresses[0]), check.tcp, check.within) == ("db-1", "10.9.0.11", 5432, 60)
    assert [check.name for check in wave.checks["h2"]] == ["db-2"]
    assert {check.name for checks in last.checks.values() for check in checks} == {"db-1", "db-2", "web-1"}


def test_the_checks_are_what_the_module_takes() -> None:
    plain = compiled().waves[1].plain()
    asked = decode(Waiting, {"checks": plain["checks"]["h1"]})
    assert asked.checks[0].tcp == 5432


def test_a_run_that_starts_nothing_asks_nobody() -> None:
    everything = {"files": "h2", "db-1": "h1", "db-2": "h2", "web-1": "h1", "web-2": "h2"}
    found = compiled(everything)
    assert found.waves == ()
    assert all(held.waits == () for held in found.slices.values())


def test_a_site_that_declares_nothing_of_it_has_no_waves() -> None:
    assert compiled(db={"after": []}, web={"after": [], "vms": {"web-1": {}}}).waves == ()


def test_who_runs_already_is_asked_only_for_more_than_running() -> None:
    ready = compiled({"files": "h2"})
    assert starts(ready) == [{"web-1"}, {"web-2"}], "the databases start at once: files runs"
    late = compiled({"files": "h2", "db-1": "h1", "db-2": "h2", "web-1": "h1"})
    assert starts(late) == [{"web-2"}], "the databases run and are asked all the same"
    assert {check.name for checks in late.waves[0].checks.values() for check in checks} == {"db-1", "db-2", "web-1"}


def test_who_is_off_is_not_waited_for() -> None:
    declared = compiled(files={"vms": {"files": {"host": "h2", "power": "off"}}}).waves[0]
    assert declared.never == {0: "files, which is declared off"}
    assert declared.checks == {}
    ordered = compiled(orders=(Order(at=0.0, vm="files", on=False),)).waves[0]
    assert ordered.never == {0: "files, which is off by order"}
    ready = released(ordered.plain(), {})
    assert (ready.hosts, set(ready.held)) == ({}, {"h1", "h2"})
    assert ready.held["h1"]["db-1"] == (
        "it comes after all of files, which must run within 300 s: files, which is off by order"
    )


def test_many_after_many_ask_each_once() -> None:
    """A thousand behind a thousand are a thousand questions, not a million."""
    names = {f"web-{number}": {"host": HOSTS[number % 2]} for number in range(40)}
    found = compiled({"files": "h2"}, web={"vms": names}).waves[0]
    assert len(found.starts) == 40
    assert sum(map(len, found.checks.values())) == 2
    assert found.gates == ("all of db, which must take connections on tcp 5432 within 60 s",)


def test_the_order_is_told_in_words() -> None:
    lines = list(told(compiled().waves))
    assert {f"db-{number} is started after all of files, which must run within 300 s" for number in (1, 2)} == set(
        lines[:2]
    )
    assert lines[-1].endswith(", and after web-1, which must run within 300 s")


# ------------------------------------------------------------------------------------------------- who may start


def wave() -> dict[str, Any]:
    """web-1 on h1 after db-1 on h1; web-2 on h2 after db-2 on h2."""
    checks = {"h1": (Check(name="db-1", gate=0, tcp=1),), "h2": (Check(name="db-2", gate=1, tcp=1),)}
    return Wave(
        starts={"web-1": ("h1", (0,)), "web-2": ("h2", (1,))}, gates=("db-1, in time", "db-2, in time"), checks=checks
    ).plain()


def test_each_starts_when_its_own_forerunners_are_ready() -> None:
    refused = {"gate": 0, "name": "db-1", "reason": "10.0.0.1: connection refused"}
    found = released(wave(), {"h1": {"unready": [refused]}, "h2": {"unready": []}})
    assert found.hosts == {"h2": ("web-2",)}
    assert found.held == {"h1": {"web-1": "it comes after db-1, in time: db-1: 10.0.0.1: connection refused"}}


def test_a_host_that_says_nothing_has_nobody_ready() -> None:
    found = released(wave(), {"h1": {"unready": []}, "h2": {"msg": "ssh is gone", "failed": True}})
    assert found.hosts == {"h1": ("web-1",)}
    assert found.held["h2"]["web-2"].endswith("db-2: host h2: ssh is gone")
    assert set(released(wave(), {}).held) == {"h1", "h2"}


# ------------------------------------------------------------------------------------------------- by order


def stepped(*names: str, beginning: bool) -> list[set[str]]:
    found = machines(load(SITE, hosts=HOSTS))
    chosen = {str(machine.name): ("h1", machine) for machine in found if machine.name in names}
    return [set(step.starts) for step in steps(found, chosen, beginning=beginning)]


def test_an_order_follows_those_it_is_given_to_and_waits_for_nobody_else() -> None:
    everyone = ("files", "db-1", "db-2", "web-1", "web-2", "alone")
    assert stepped(*everyone, beginning=True) == [{"files", "alone"}, {"db-1", "db-2"}, {"web-1"}, {"web-2"}]
    assert stepped(*everyone, beginning=False) == [{"web-2"}, {"web-1"}, {"db-1", "db-2"}, {"files", "alone"}]
    assert stepped("web-1", "alone", beginning=True) == [{"web-1", "alone"}], "nothing it comes after was chosen"
    assert stepped("web-1", "db-2", beginning=True) == [{"db-2"}, {"web-1"}]


def test_who_is_chosen_is_asked_and_nobody_else() -> None:
    found = machines(load(SITE, hosts=HOSTS))
    chosen = {str(machine.name): ("h1", machine) for machine in found if machine.name in ("web-1", "db-2")}
    first, second = steps(found, chosen, beginning=True)
    assert (first.checks, [check.name for check in second.checks["h1"]]) == ({}, ["db-2"])
    assert all(step.checks == {} for step in steps(found, chosen, beginning=False))


# ------------------------------------------------------------------------------------------------- on a host


def test_who_waits_is_defined_and_starts_in_a_later_call() -> None:
    hypervisor, held = FakeHypervisor(), compiled().slices["h1"]
    first = converge(held, hypervisor, permission=Permission())
    assert not first.failures
    seen = hypervisor.observe("dos")
    assert {vm: seen[Address("domain", vm)].active for vm in ("alone", "db-1", "web-1")} == {
        "alone": True,
        "db-1": False,
        "web-1": False,
    }
    assert converge(held, hypervisor, permission=Permission()).performed == (), "the same call has nothing more to do"
    second = converge(replace(held, waits=("web-1",)), hypervisor, permission=Permission())
    assert second.performed == ("domain db-1 has been started",)
    third = converge(held, hypervisor, permission=Permission())
    assert third.performed == (), "who runs by now is not stopped"
