# SPDX-License-Identifier: GPL-3.0-or-later
"""Two running VMs that write one disk are reported, on one host or on two, managed or not, and whatever the disk is called."""

from __future__ import annotations

import pytest

from dosvm.compile.placing import situation
from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState, WrittenDisk
from dosvm.compile.written_twice import written_twice
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.device_sources import Source
from dosvm.site.load import load
from dosvm.site.site import Site

FACTS = FakeHypervisor().facts()
SITE = {
    "dos_projects": {"p": {}},
    "dos_pools": {
        "apart": {"path": "/srv/apart"},
        "cluster": {"path": "/cluster", "shared": True, "hosts": ["h1", "h2"]},
        "san": {"type": "iscsi", "source": {"server": "san", "target": "iqn.2026-01.lab:a"}},
    },
    "dos_images": {
        "lv-a": {"file": "/dev/group/a", "format": "raw", "shared": True, "read_only": False},
        "lv-b": {"file": "/dev/group/b", "format": "raw", "shared": True, "read_only": False},
        "linked": {"file": "/srv/linked.raw", "format": "raw", "shared": True, "read_only": False},
    },
}


def site() -> Site:
    return load(SITE, hosts=("h1", "h2", "h3"))


def file(path: str, *marks: str, at: str = "", shareable: bool = False) -> WrittenDisk:
    return WrittenDisk("", Source(path, shareable=shareable), at or path, frozenset(marks))


def volume(pool: str, name: str, at: str = "") -> WrittenDisk:
    return WrittenDisk("", Source(name, pool=pool), at)


def found(first: WrittenDisk, second: WrittenDisk, *, host: str = "h2", name: str = "b") -> list[str]:
    """What is reported of VM a on h1 with the first disk and another with the second."""
    disks = [("h1", first._replace(domain="a")), (host, second._replace(domain=name))]
    states = {
        each: HostState(facts=FACTS, written=tuple(disk for at, disk in disks if at == each)) for each in ("h1", "h2")
    }
    return list(written_twice(site(), states))


def test_the_message_names_both_vms_both_hosts_and_the_disk() -> None:
    assert found(file("/cluster/x"), volume("cluster", "x")) == [
        "a on h1 AND b on h2 WRITE ONE DISK, file /cluster/x: stop one of them now (VM-08)"
    ]


@pytest.mark.parametrize(
    ("first", "second", "host"),
    [
        (file("/srv/x"), file("/srv/y", at="/srv/x"), "h1"),
        (file("/srv/x", "inode 1:2"), file("/srv/hard", "inode 1:2"), "h1"),
        (volume("apart", "x", "/srv/apart/x"), file("/srv/apart/x"), "h1"),
        (file("/cluster/./x"), file("/cluster/x"), "h2"),
        (file("/elsewhere/x", at="/cluster/x"), volume("cluster", "x"), "h2"),
        (file("/srv/linked.raw", at="/mnt/real.raw"), file("/mnt/real.raw"), "h2"),
        (file("/mnt/1/x", "export 10.0.0.9:/vm/x"), file("/mnt/2/x", "export 10.0.0.9:/vm/x"), "h2"),
        (file("/dev/sdb", "disk naa.1"), file("/dev/sdc", "disk naa.1"), "h2"),
        (volume("san", "unit:0:0:1"), volume("san", "unit:0:0:1"), "h2"),
    ],
)
def test_one_disk_under_two_names(first: WrittenDisk, second: WrittenDisk, host: str) -> None:
    assert len(found(first, second, host=host)) == 1
    assert len(found(second, first, host=host)) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (file("/srv/x", "inode 1:2"), file("/srv/x", "inode 1:2")),
        (volume("apart", "x", "/srv/apart/x"), volume("apart", "x", "/srv/apart/x")),
        (file("/cluster/x"), file("/cluster/y")),
        (file("/cluster/x", shareable=True), file("/cluster/x", shareable=True)),
        (volume("san", "unit:0:0:1"), volume("san", "unit:0:0:2")),
        (file("/dev/group/a", at="/dev/dm-1"), file("/dev/group/b", at="/dev/dm-1")),
    ],
)
def test_disks_of_two_hosts_that_are_not_one(first: WrittenDisk, second: WrittenDisk) -> None:
    assert found(first, second) == []


def test_a_vm_that_migrates_is_no_second_writer() -> None:
    assert found(file("/cluster/x"), file("/cluster/x"), name="a") == []


def test_a_vm_is_not_started_beside_an_unmanaged_domain_that_writes_its_disk() -> None:
    instances = {
        "web": {"project": "p", "memory": "16 MiB", "disks": [{"volume": "x"}], "vms": {"web": {"host": "h2"}}}
    }
    volumes = {"x": {"pool": "cluster", "capacity": "1 MiB"}}
    declared = load({**SITE, "dos_volumes": volumes, "dos_instances": instances}, hosts=("h1", "h2"))
    foreign = file("/srv/y", at="/cluster/x")._replace(domain="old")
    states = {"h1": HostState(facts=FACTS, domains={"old": False}, written=(foreign,)), "h2": HostState(facts=FACTS)}
    blocked = situation(declared, states, now=0.0).handovers.blocked
    assert blocked == {"web": "volume x is still used by VM old, which runs on h1 and is unmanaged: stop it"}


def test_a_run_fails_with_it() -> None:
    disks = (file("/cluster/x")._replace(domain="a"), file("/cluster/x")._replace(domain="b"))
    made = compile_site(site(), {"h1": HostState(facts=FACTS, written=disks)}, now=0.0)
    assert made.errors == made.findings != ()
