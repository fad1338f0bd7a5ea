# SPDX-License-Identifier: GPL-3.0-or-later
"""VM-08, VM-18: rules on which VMs are on judge power overrides and what runs, not the declaration alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dosvm.compile.admission import contradictions, observed_sizes, on_now, refused_starts
from dosvm.compile.attached import attached, refused_disks
from dosvm.compile.placing import Situation, situation
from dosvm.compile.states import HostState, HostVm, WrittenDisk, running_vms
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.intent.power import Order
from dosvm.model.types import ByteSize
from dosvm.site.device_sources import Source
from dosvm.site.load import load
from dosvm.site.usage import used

FACTS = replace(FakeHypervisor().facts(), memory=ByteSize("8 GiB"), cpus=16)
SITE: dict[str, Any] = {
    "dos_projects": {"p": {"quota": {"vcpus": 4, "memory": "1 GiB"}}},
    "dos_pools": {"common": {"path": "/srv/common", "shared": True}},
    "dos_volumes": {"data": {"pool": "common", "capacity": "1 GiB", "format": "raw"}},
    "dos_instances": {
        "a": {"project": "p", "memory": "64 MiB", "vcpus": 2, "disks": [{"volume": "data"}], "vms": {"a1": {}}},
        "b": {
            "project": "p",
            "memory": "64 MiB",
            "vcpus": 2,
            "disks": [{"volume": "data"}],
            "vms": {"b1": {"power": "off"}},
        },
        "c": {"project": "p", "memory": "64 MiB", "vcpus": 2, "vms": {"c1": {"power": "off"}, "c2": {"power": "off"}}},
    },
}
HOSTS = {"h1": ["a1", "c1"], "h2": ["b1", "c2"]}


def states(*running: str, orders: tuple[Order, ...] = ()) -> dict[str, HostState]:
    return {
        host: HostState(
            facts=FACTS,
            domains=dict.fromkeys(vms, True),
            active={vm: (2, 64 * 2**20) for vm in vms if vm in running},
            volumes=frozenset(["common/data"]),
            orders=tuple(order for order in orders if order.vm in vms),
        )
        for host, vms in HOSTS.items()
    }


def started(*names: str, running: tuple[str, ...] = ("a1",), **more: Any) -> list[str]:
    """What is said against starting these VMs while others run."""
    site = load({**SITE, **{f"dos_{kind}": held for kind, held in more.items()}}, hosts=tuple(HOSTS), check=False)
    seen = states(*running)
    rising = frozenset(names) - running_vms(seen)
    supposed = situation(site, seen, now=0.0, on=frozenset(names) | running_vms(seen))
    return [found.text for found in refused_starts(supposed, rising)]


def overridden(*names: str) -> Situation:
    orders = tuple(Order(at=1, vm=name, on=True, against=False) for name in names)
    return situation(load(SITE, hosts=tuple(HOSTS)), states("a1", orders=orders), now=2.0)


def test_a_second_writer_is_not_started_by_a_power_operation() -> None:
    (text,) = started("b1")
    assert "volume data is written by both b1 and a1" in text
    assert "b1: on by power override" in text


def test_two_writers_are_not_started_together() -> None:
    off = {**SITE["dos_instances"], "a": {**SITE["dos_instances"]["a"], "vms": {"a1": {"power": "off"}}}}
    (text,) = started("a1", "b1", running=(), instances=off)
    assert "volume data is written by both a1 and b1" in text


def test_a_writer_that_was_started_by_hand_counts() -> None:
    off = {**SITE["dos_instances"], "a": {**SITE["dos_instances"]["a"], "vms": {"a1": {"power": "off"}}}}
    assert started("b1", running=("a1",), instances=off)
    assert not started("b1", running=(), instances=off)


def test_what_others_do_to_each_other_is_no_reason() -> None:
    assert started("c1", running=("a1", "b1"), projects={"p": {}}) == []


@pytest.mark.parametrize("others", [(), ("c1",), ("c1", "c2")])
def test_a_quota_is_not_passed_by_a_power_operation(others: tuple[str, ...]) -> None:
    """What is declared off and runs counts: 2 of a1, and 2 of each that was started by hand."""
    told = started(
        "b1",
        running=("a1", *others),
        volumes={"data": {**SITE["dos_volumes"]["data"], "shareable": True, "format": "raw"}},
    )
    used_before = 2 + 2 * len(others)
    wanted = f"quota vcpus of project p is 4: {used_before} used, 2 requested"
    assert [text for text in told if wanted in text] if used_before + 2 > 4 else told == []


def test_a_vm_that_is_intended_on_is_started_though_a_limit_was_lowered() -> None:
    """QUOTA-06: it was counted already."""
    assert started("a1", running=(), projects={"p": {"quota": {"vcpus": 1}}}) == []


def test_the_maximum_of_a_host_is_not_passed_by_a_power_operation() -> None:
    free = {"projects": {"p": {}}, "host_settings": {"h1": {"max_vcpus": 3}, "h2": {"max_memory": "100 MiB"}}}
    (text,) = started("c1", **free)
    assert "h1: has 1 vCPUs left of 3, 2 needed" in text
    assert started("c2", **free) == []
    (text,) = started("c2", running=("a1", "b1"), **free)
    assert "h2: has 36 MiB of memory left of 100 MiB, 64 MiB needed" in text


def test_a_power_override_that_contradicts_the_declaration_is_refused_by_a_whole_run() -> None:
    (found,) = contradictions(overridden("b1"), None)
    assert "volume data is written by both a1 and b1" in found.text
    assert found.at[1] == "b"
    assert found.other is not None
    assert found.other[1] == "a"


def test_overrides_count_for_quotas_of_a_whole_run() -> None:
    assert contradictions(overridden("c1"), None) == []
    (found,) = contradictions(overridden("c1", "c2"), None)
    assert "quota vcpus of project p is 4: 4 used, 2 requested" in found.text
    assert contradictions(overridden("c1", "c2"), {("p", "vcpus"): 6}) == [], "QUOTA-06"


def test_what_is_used_is_what_is_intended_and_what_runs() -> None:
    held = situation(load(SITE, hosts=tuple(HOSTS)), states("a1", "c1", "c2"), now=0.0)
    assert used(held.site)["p", "vcpus"] == 2
    assert used(held.site, on_now(held))["p", "vcpus"] == 6


DISK = "<disk type='{}' device='disk'><source {}/><target dev='vdb'/>{}</disk>"
DEVICES = {
    "volume": DISK.format("volume", "pool='common' volume='data'", ""),
    "path": DISK.format("file", "file='/srv/common//data'", ""),
    "read-only": DISK.format("file", "file='/srv/common/data'", "<readonly/>"),
    "another": DISK.format("file", "file='/srv/common/other'", ""),
}


@pytest.mark.parametrize("name", DEVICES)
def test_a_disk_that_another_vm_writes_is_not_attached(name: str) -> None:
    """HOT-06: by whatever name, on whatever host, and also beside a VM that runs though it is declared off."""
    off = {**SITE["dos_instances"], "a": {**SITE["dos_instances"]["a"], "vms": {"a1": {"power": "off"}}}}
    for running, instances in (((), SITE["dos_instances"]), (("a1",), off), ((), off)):
        site = load({**SITE, "dos_instances": instances}, hosts=tuple(HOSTS))
        held = situation(site, states(*running), now=0.0)
        found = refused_disks(held, "c2", "h2", DEVICES[name])
        is_written = (running or instances is not off) and name in ("volume", "path")
        assert bool(found) == is_written
        assert all("volume data is written by a1 too: stop it, or attach it read-only" in one.text for one in found)


def test_a_disk_counts_with_what_its_host_has_where_nothing_declares_its_size() -> None:
    instances = {
        "d": {"project": "p", "memory": "1 MiB", "disks": [{"image": "i", "pool": "common"}], "vms": {"d1": {}}}
    }
    images = {"i": {"file": "/srv/i.qcow2", "format": "qcow2"}}
    site = load({**SITE, "dos_instances": instances, "dos_images": images}, hosts=tuple(HOSTS))
    seen = {"h1": replace(states()["h1"], capacities={"common/d1-vda": 7, "common/other": 9, "common/data": 5})}
    held = situation(site, seen, now=0.0)
    sizes = observed_sizes(site, held.machines, seen)
    assert sizes == {("d1", 0): 7, ("data", 0): 5}
    assert used(site, observed=sizes)["p", "disk"] == 7, "the volume is of no project, and says its size"


def test_a_volume_of_another_vm_is_not_attached() -> None:
    """One that is made for a VM that is intended on, and one that any domain writes."""
    own = {"project": "p", "memory": "1 MiB", "disks": [{"pool": "common", "capacity": "1 MiB"}], "vms": {"o1": {}}}
    site = load({**SITE, "dos_instances": {**SITE["dos_instances"], "o": own}}, hosts=tuple(HOSTS))
    by_hand = WrittenDisk(domain="foreign", source=Source(name="/srv/common/other"))
    seen = {**states("a1"), "h1": replace(states("a1")["h1"], written=(by_hand,))}
    held = situation(site, seen, now=0.0)
    (found,) = refused_disks(held, "c2", "h2", DISK.format("volume", "pool='common' volume='o1-vda'", ""))
    assert "is written by o1 too" in found.text
    (found,) = refused_disks(held, "c2", "h2", DEVICES["another"])
    assert "is written by foreign too" in found.text
    assert refused_disks(held, "o1", "h1", DISK.format("volume", "pool='common' volume='o1-vda'", "")) == []


def test_a_volume_that_counts_for_nobody_counts_when_it_is_attached() -> None:
    """HOT-06: it passes no quota, and is in the usage that is shown."""
    site = load({**SITE, "dos_projects": {"p": {"quota": {"disk": "10 B"}}}}, hosts=tuple(HOSTS))
    sizes = {"common/first": 6, "common/second": 5, "common/c1-vda": 90, "common/data": 90}
    vm = HostVm(
        project="p", writes=tuple(Source(name=name.partition("/")[2], pool="common") for name in (*sizes,)[::2])
    )
    seen = {host: replace(state, capacities=sizes) for host, state in states("c1").items()}
    seen["h1"] = replace(seen["h1"], vms={"c1": vm})
    held = situation(site, seen, now=0.0)
    (counted,) = attached(held)
    assert (counted.name, counted.project, counted.disk) == ("volume common/first", "p", 6)
    (found,) = refused_disks(held, "c1", "h1", DISK.format("volume", "pool='common' volume='second'", ""))
    assert "quota disk of project p is 10 B: 6 B used, 5 B requested" in found.text
    assert refused_disks(held, "c1", "h1", DISK.format("volume", "pool='common' volume='data'", "<readonly/>")) == []
