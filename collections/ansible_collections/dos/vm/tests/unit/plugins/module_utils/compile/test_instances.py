# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an instance: its machines, their names and cards, and who may have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dosvm.compile.images import images_by_host
from dosvm.compile.machine import machines
from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.slice import Slice
from dosvm.site.load import load
from dosvm.site.site import Site
from dosvm.site.validate import warnings
from dosvm.xml.domain import render

HOSTS = ("h1", "h2")
IMAGE = {"file": "/srv/images/a.qcow2", "format": "qcow2", "checksum": f"sha256:{'0' * 64}", "source": "/home/a.qcow2"}


def site(more: dict[str, Any] | None = None, /, **instances: Any) -> Site:
    declared = {
        **(more or {}),
        "dos_projects": {"p": {}},
        "dos_pools": {"fast": {"path": "/srv/fast"}},
        "dos_images": {"a": IMAGE},
        "dos_networks": {"lan": {"type": "bridge", "bridge": "br-lan"}},
        "dos_instances": {name: {"project": "p", "memory": "64 MiB", **held} for name, held in instances.items()},
    }
    return load(declared, hosts=HOSTS)


def slices(held: Site) -> dict[str, Slice]:
    return dict(compile_site(held, {host: HostState(facts=FakeHypervisor().facts()) for host in HOSTS}, now=0.0).slices)


def domains(held: Site) -> dict[str, Any]:
    return {domain.name: domain for slice_ in slices(held).values() for domain in slice_.domains}


def test_an_instance_has_five_parts_and_a_name_and_each_may_be_silent() -> None:
    """INST-01, INST-03: basic, disks, consoles, cards and the rest; it is active unless somebody says otherwise."""
    whole: dict[str, Any] = {
        "vcpus": 2,
        "disks": [{"image": "a"}],
        "graphics": [{}],
        "interfaces": [{"network": "lan"}],
        "xml": ["<domain><features><pae/></features></domain>"],
    }
    made = domains(site(whole={**whole, "count": 1}, silent={"count": 1}))
    assert [made["whole-1"].active, made["silent-1"].active] == [True, True]
    full, bare = made["whole-1"], made["silent-1"]
    assert (full.vcpus, len(full.disks), len(full.graphics), len(full.interfaces), len(full.xml)) == (2, 1, 1, 1, 1)
    assert (bare.vcpus, bare.disks, bare.graphics, bare.interfaces, bare.xml) == (1, (), (), (), ())


def test_the_machines_of_a_disabled_instance_are_stopped_and_nobody_may_have_them_on() -> None:
    """INST-04, INST-05, VM-16: whatever is declared of a machine, and whoever comes after it is told that it waits for nothing."""
    held = site(web={"enabled": False, "vms": {"web-1": {"power": "on"}}}, app={"count": 1, "after": [{"name": "web"}]})
    made = domains(held)
    assert not made["web-1"].active
    assert made["app-1"].active
    (machine,) = (held for held in machines(held) if held.name == "web-1")
    assert (machine.active, machine.declared_on) == (False, False)
    told = "\n".join(warnings(held))
    assert "1 of them with power: on, since the instance is disabled" in told
    assert "web-1 will be off, and what comes after it is not started until it is on" in told


def test_machines_that_are_made_by_number_have_names_made_of_it() -> None:
    """VM-07: of the instance's, and the same whenever they are asked for; a number that is lower takes the last ones away."""
    assert list(domains(site(web={"count": 3}))) == list(domains(site(web={"count": 3})))
    assert sorted(domains(site(web={"count": 3}))) == ["web-1", "web-2", "web-3"]
    assert sorted(domains(site(web={"count": 2}))) == ["web-1", "web-2"]


def test_machines_of_one_instance_have_cards_of_their_own_on_one_network() -> None:
    """VM-09, NIC-02: two of them meet nowhere but there."""
    made = domains(site(web={"count": 3, "interfaces": [{"network": "lan"}, {"network": "lan"}]}))
    cards = [card for domain in made.values() for card in domain.interfaces]
    assert {card.network for card in cards} == {"lan"}
    assert len({card.mac for card in cards}) == len(cards) == 6


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ({}, None),  # CUST-03: neither binding, any host of the system
        ({"hosts": "all"}, None),
        ({"host": "h2"}, {"h2"}),
        ({"hosts": ["h1", "h2"]}, {"h1", "h2"}),
    ],
)
def test_what_is_bound_to_nothing_may_be_anywhere(said: dict[str, Any], allowed: set[str] | None) -> None:
    """CUST-03, CUST-T1.1, CUST-T1.2."""
    held = site(web={"count": 1, **said})
    (machine,) = machines(held)
    assert machine.hosts(held) == allowed


def test_one_file_of_a_host_is_below_the_disks_of_all_its_machines() -> None:
    """DOMX-16: an image is brought to a host once, and each machine has no more than what differs from it."""
    held = site(web={"host": "h1", "count": 3, "disks": [{"image": "a", "pool": "fast"}]}, tmp={"host": "h1", "count": 2, "disks": [{"image": "a"}]})  # fmt: skip
    made = slices(held)["h1"]
    assert {volume.backing.path for volume in made.volumes if volume.backing} == {IMAGE["file"]}
    assert len(made.volumes) == 3
    forgetting = [disk for domain in made.domains for disk in domain.disks if disk.transient]
    assert [disk.file for disk in forgetting] == [IMAGE["file"]] * 2
    assert [file.file for file in images_by_host(held)["h1"]] == [IMAGE["file"]]


SECOND = {"image": "a", "target": "vdb"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"disks": [{"image": "a"}] * 5}, "has 5 entries, write at most 4"),  # DISK-01
        ({"disks": [SECOND, SECOND]}, "vdb is at disks[0].target already"),  # DISK-01
        ({"disks": [{"image": "b"}]}, "image 'b' does not exist"),  # DISK-01, INST-11
        ({"disks": [{"volume": "b"}]}, "volume 'b' does not exist"),  # DISK-01, INST-11
        ({"disks": [{"pool": "b", "capacity": "1 GiB"}]}, "pool 'b' does not exist"),  # DISK-01, INST-11
        ({"interfaces": [{"network": "b"}]}, "network 'b' does not exist"),  # INST-11
        ({"interfaces": [{"network": "lan", "security_group": "b"}]}, "security group 'b' does not exist"),  # INST-11
        ({"project": "b"}, "project 'b' does not exist"),  # INST-11
        ({"vcpus": 0}, "0 is out of range, write 1 to 255"),  # INST-12
        ({"vcpus": 256}, "256 is out of range, write 1 to 255"),  # INST-12
        ({"reboot_timeout": 0}, "0 is out of range"),  # INST-12
        ({"boot_menu": True, "boot_menu_timeout": 0}, "0 is out of range"),  # INST-12
        ({"graphics": [{"port": 5899}]}, "5899 is out of range"),  # GFX-01
        ({"graphics": [{"type": "spice", "port": 5900, "default_mode": "secure"}]}, "is required where a channel is secure"),  # GFX-04
        ({"graphics": [{"type": "spice", "port": 5900, "channels": {"main": "secure"}}]}, "tls_port"),  # GFX-04
        ({"graphics": [{"tls_port": 5901}]}, "is for type: spice"),  # GFX-T1.9
        ({"graphics": [{"type": "spice", "share_policy": "ignore"}]}, "is for type: vnc"),  # GFX-T1.7
        ({"host": "h1", "hosts": ["h2"]}, "write either host or hosts (CUST-01)"),
        ({"xml": ["<network/>"]}, "begins with <network>, write one with the root domain or devices (CUST-02)"),
        ({"unique": True, "vms": {"a": {}, "b": {}}}, "so the instance is for one machine and has 2"),  # VM-03, INST-10
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_what_to_write(said: dict[str, Any], words: str) -> None:
    """DISK-01, INST-10, INST-11, INST-12, GFX-01, GFX-04, GFX-T1.9, CUST-01, CUST-02."""
    with pytest.raises(DeclarationError) as refused:
        site(web={"vms": {"web-1": {}}, **said})
    assert words in str(refused.value)


def test_a_secure_channel_has_a_port_of_its_own_for_tls() -> None:
    """GFX-04, GFX-T1.9: chosen with the other one, or said beside it."""

    def console(**said: Any) -> Any:
        graphics = [{"type": "spice", "default_mode": "secure", **said}]
        (made,) = domains(site(web={"count": 1, "virt_type": "qemu", "graphics": graphics})).values()
        return render(made).find("devices/graphics")

    fixed = console(port=5900, tls_port=5901)
    assert (fixed.get("port"), fixed.get("tlsPort"), fixed.get("defaultMode")) == ("5900", "5901", "secure")
    assert console().get("autoport") == "yes"


def test_names_and_labels_go_to_libvirt() -> None:
    """INST-07, VM-T1.1, VM-T1.2: the machine's own label, or that of its instance; the mark says what it was made of."""
    made = domains(site(web={"label": "网站", "vms": {"a": {}, "b": {"label": "备用"}}}))
    assert {name: domain.title for name, domain in made.items()} == {"a": "网站", "b": "备用"}
    assert made["a"].mark.origin == "dos_instances.web.vms.a"


def test_a_machine_may_be_kept_to_a_host_of_its_own() -> None:
    """VM-T1.4, and VM-02 for those that are made by number, anywhere."""
    held = slices(site(web={"vms": {"a": {"host": "h2"}, "b": {"host": "h1"}}}, more={"count": 2}))
    assert {domain.name for domain in held["h2"].domains} >= {"a"}
    assert {domain.name for domain in held["h1"].domains} >= {"b"}
    assert {domain.name for slice_ in held.values() for domain in slice_.domains} == {"a", "b", "more-1", "more-2"}


def test_what_two_instances_would_write_at_once_is_refused() -> None:
    """LIMIT-28, VM-08: also across instances; one that is off, or only reads, is in nobody's way."""
    volumes = {"dos_volumes": {"data": {"pool": "fast", "capacity": "1 GiB", "host": "h1"}}}
    writer, reader = {"disks": [{"volume": "data"}], "vms": {}}, {"disks": [{"volume": "data", "read_only": True}]}
    one = {**writer, "vms": {"one": {}}}
    with pytest.raises(DeclarationError, match=r"volume data is written by both one and two"):
        site(volumes, a=one, b={**writer, "vms": {"two": {}}})
    site(volumes, a=one, b={**writer, "vms": {"two": {"power": "off"}}}, c={**reader, "vms": {"three": {}}})


def test_a_host_that_cannot_be_that_machine_is_passed_over() -> None:
    """INST-13: architecture and board are asked of every host, and each says why it is none."""
    facts = replace(FakeHypervisor().facts(), emulators={"x86_64": "/usr/bin/qemu"}, boards=("q35", "pc"))
    held = site(web={"count": 1, "arch": "aarch64", "machine": "virt"}, odd={"count": 1, "machine": "microvm"})
    with pytest.raises(DeclarationError) as refused:
        compile_site(held, {host: HostState(facts=facts) for host in HOSTS}, now=0.0)
    told = str(refused.value)
    for host in HOSTS:
        assert f"{host}: has no emulator for aarch64, only for x86_64" in told
        assert f"{host}: has no board microvm" in told
