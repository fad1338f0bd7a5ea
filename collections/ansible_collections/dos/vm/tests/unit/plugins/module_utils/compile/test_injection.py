# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written into a machine's disk instead of a seed, when, and with which secrets (INJ)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dosvm.apply import Outcome, converge
from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.hypervisor.injection import _items, _shadow
from dosvm.model.domain import Disk, Domain
from dosvm.model.injection import Injection
from dosvm.model.slice import Permission, Slice
from dosvm.model.types import AbsolutePath, ByteSize, DeviceName, Name
from dosvm.site.load import load

KEY = "ssh-ed25519 AAAA ann"
SITE: dict[str, Any] = {
    "dos_projects": {"shop": {}},
    "dos_secrets": {"guest": {"value": "hunter22"}, "app": {"value": "t0ken"}},
    "dos_pools": {"own": {"path": "/srv/own"}},
    "dos_subnets": {"front": {"address": "10.20.0.0/24", "gateway": "10.20.0.1"}},
    "dos_networks": {"front": {"type": "nat", "subnet": "front", "project": "shop", "bridge": "br7"}},
}
SEED: dict[str, Any] = {
    "type": "injected",
    "public_keys": {"ann": KEY},
    "password": "guest",
    "network": "static",
    "metadata": {"role": "web"},
    "files": {"/etc/token": "token=${secret:app}\n"},
    "append": {"/etc/fstab": "more\n"},
}
DISKS = [{"device": "cdrom"}, {"pool": "own", "capacity": "1 GiB"}]


def compiled(seed: dict[str, Any] | None = None, **more: Any) -> Slice:
    instance = {
        "project": "shop",
        "memory": "64 MiB",
        "interfaces": [{"network": "front"}],
        "disks": DISKS,
        "seed": SEED if seed is None else seed,
        "vms": {"web-1": {"ip": {"front": "10.20.0.11"}}},
        **more,
    }
    site = load({**SITE, "dos_instances": {"web": instance}}, hosts=("h1",))
    return compile_site(site, {"h1": HostState(facts=FakeHypervisor().facts())}, now=0.0).slices["h1"]


def injection(seed: dict[str, Any] | None = None, **more: Any) -> Injection:
    found = compiled(seed, **more).domains[0].injection
    assert found is not None
    return found


def test_all_that_a_seed_says_goes_to_the_first_disk_of_its_own() -> None:
    held = compiled()
    found = held.domains[0].injection
    assert found is not None
    assert (found.disk, found.partition, found.keys, found.password) == ("vda", None, (KEY,), "guest")
    assert "iface eth0 inet static\n    address 10.20.0.11\n" in (found.network or "")
    assert found.metadata == '{\n "role": "web"\n}\n'
    assert held.domains[0].seed is None, "one or the other (INJ-01)"
    assert {secret.name for secret in held.secrets} == {"guest", "app"}


def test_a_kernel_from_outside_means_a_disk_without_partitions() -> None:
    """INJ-02."""
    outside = {"kernel": "/boot/vmlinuz"}
    assert injection(**outside).partition == 0
    assert injection({**SEED, "partition": 2}, **outside).partition == 2


@pytest.mark.parametrize(("said", "format_"), [({}, "qcow2"), ({"format": "raw"}, "raw")])
def test_it_goes_to_a_disk_of_the_format_that_is_declared(said: dict[str, Any], format_: str) -> None:
    """INJ-05: qcow2 where a disk is written beside what is below it, raw where that is said; never guessed."""
    held = compiled(disks=[{"pool": "own", "capacity": "1 GiB", **said}])
    (volume,), (disk,) = held.volumes, held.domains[0].disks
    assert (volume.format, disk.format) == (format_, format_)


def ran(hypervisor: FakeHypervisor, held: Slice, **secrets: bytes) -> Outcome:
    return converge(
        held, hypervisor, permission=Permission(), secrets={"guest": b"hunter22", "app": b"t0ken", **secrets}
    )


def test_it_is_done_before_the_machine_is_defined_and_once() -> None:
    hypervisor, held = FakeHypervisor(), compiled()
    first = ran(hypervisor, held)
    assert first.failures == ()
    done = [sentence for sentence in first.performed if "domain" in sentence]
    assert done[-4:] == [
        "domain web-1 has been set up on its disk",
        "domain web-1 has been defined",
        "domain web-1 has been set to start by itself",
        "domain web-1 has been started",
    ]
    later = compiled({**SEED, "files": {"/etc/token": "another\n"}})
    assert ran(hypervisor, later).performed == ()


def test_with_nothing_to_write_no_appliance_is_booted() -> None:
    """INJ-03."""
    assert not any("set up" in sentence for sentence in ran(FakeHypervisor(), compiled({"type": "injected"})).performed)


def test_no_secret_is_in_what_is_told() -> None:
    """INJ-09."""
    told = str(ran(FakeHypervisor(), compiled()))
    assert "set up on its disk" in told
    assert "t0ken" not in told
    assert "hunter22" not in told


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"seed": {**SEED, "user_data": "x"}}, "user_data: is read from a drive"),
        ({"seed": {**SEED, "format": "vfat"}}, "leave out format and on_change"),
        ({"seed": {**SEED, "files": {"/etc/../shadow": "x"}}}, "is a path of the guest"),
        ({"seed": {**SEED, "append": {"etc/fstab": "x"}}}, "is a path of the guest"),
        ({"seed": {**SEED, "files": {"/a\nb": "x"}}}, "are not printed"),
        ({"seed": {**SEED, "append": {"/etc/token": "x"}}}, "is written whole by files already"),
        ({"seed": {"append": {"/a": "x"}}}, "is for type: injected"),
        ({"disks": []}, "needs a disk of each machine's own"),
    ],
)
def test_what_cannot_be_meant_is_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        compiled(**more)
    assert words in str(refused.value)


def test_a_domain_has_a_disk_that_it_alone_writes() -> None:
    domain = Domain(name=Name("web-1"), memory=ByteSize("64 MiB"))
    shared = Disk(file=AbsolutePath("/iso"), format="raw", target=DeviceName("vda"))
    with pytest.raises(DeclarationError, match="names no disk with a volume that this machine alone writes"):
        replace(domain, disks=(shared,), injection=Injection(disk=DeviceName("vda"), metadata="{}"))


# ------------------------------------------------------------------------------------------------- what is written


def test_what_is_there_already_is_not_written_once_more() -> None:
    held = Injection(disk=DeviceName("vda"), append={"/etc/fstab": "more\n"}, keys=(KEY,))
    fresh = {item.path: item.text for item in _items(held, {"/etc/fstab": "first"}, {})}
    assert fresh == {"/etc/fstab": "first\nmore\n", "/root/.ssh/authorized_keys": f"{KEY}\n"}
    there = {"/etc/fstab": "first\nmore\n", "/root/.ssh/authorized_keys": f"{KEY}\n"}
    assert list(_items(held, there, {})) == [], "a run that died in between wrote it"


def test_roots_password_is_changed_and_nobody_elses() -> None:
    text = "daemon:*:1:0:99999:7:::\nroot:!:1:0:99999:7:::\n"
    lines = _shadow(text, "$6$salt$hash").splitlines()
    assert lines[0] == "daemon:*:1:0:99999:7:::"
    assert lines[1].startswith("root:$6$salt$hash:")
    assert lines[1].endswith(":0:99999:7:::")
    assert _shadow("daemon:*:1::::::\n", "x") == ""


def test_each_machine_is_told_of_before_its_disk_is_written_into() -> None:
    """A minute each, of which nothing is seen; who asks for no progress gets all of it in one call."""
    held = compiled(vms={name: {} for name in ("web-1", "web-2", "web-3")}, interfaces=[])
    host, told = FakeHypervisor(), []
    values = {"guest": b"hunter22", "app": b"t0ken"}
    while (outcome := run(held, host, values, seconds=3600.0)).remaining:
        told.append((outcome.upcoming, outcome.performed[-1]))
    assert [upcoming for upcoming, _ in told] == [f"domain web-{n} will be set up on its disk" for n in (1, 2, 3)]
    assert [last for _, last in told][1:] == ["domain web-1 has been started", "domain web-2 has been started"]
    assert (outcome.performed[-1], outcome.upcoming) == ("domain web-3 has been started", "")
    assert run(held, FakeHypervisor(), values).remaining == 0


def run(held: Slice, host: FakeHypervisor, values: dict[str, bytes], seconds: float | None = None) -> Outcome:
    outcome = converge(held, host, permission=Permission(), secrets=values, seconds=seconds)
    assert outcome.failures == ()
    return outcome
