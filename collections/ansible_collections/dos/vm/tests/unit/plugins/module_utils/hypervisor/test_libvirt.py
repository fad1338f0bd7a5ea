# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter on libvirt's built-in test driver: it has domains, networks, pools and volumes, no secrets and filters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dosvm.errors import DeclarationError, HypervisorError, InternalError
from dosvm.hypervisor.capabilities import kvm_works
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.values import with_secrets
from dosvm.model.address import Address
from dosvm.plan.action import (
    Action,
    Build,
    CreateVolume,
    Define,
    DeleteVolume,
    SetAutostart,
    Start,
    Stop,
    Undefine,
    UpdateNetwork,
)
from dosvm.xml.build import parse
from dosvm.xml.identity import device_identity

pytest.importorskip("libvirt", reason="the binding is not installed")

MARK = "<metadata><dos:object xmlns:dos='urn:dos:vm:1' site='s'/></metadata>"
NETWORK, POOL, DOMAIN = Address("network", "lab"), Address("pool", "data"), Address("domain", "web")
# One file for what each test needs, so that tests share no state: a driver without a file keeps one host for the process.
NODE = (
    """<node><network><name>lab</name>{}<ip address='10.0.0.1' netmask='255.255.255.0'><dhcp/></ip></network></node>"""
)


@pytest.fixture
def hypervisor(tmp_path: Path) -> Iterator[LibvirtHypervisor]:
    (tmp_path / "node.xml").write_text(NODE.format(MARK))
    with closing(LibvirtHypervisor(f"test://{tmp_path}/node.xml")) as held:
        yield held


def do(hypervisor: LibvirtHypervisor, *actions: Action, **secrets: bytes) -> None:
    for action in actions:
        hypervisor.perform(action, secrets)


def domain(more: str = "") -> Define:
    xml = f"""<domain type='test'><name>web</name>{MARK}<memory unit='MiB'>8</memory><os><type>hvm</type></os>
        <devices>{more}</devices></domain>"""
    return Define(address=DOMAIN, xml=xml)


def test_facts_come_without_kvm_from_a_host_that_offers_none(hypervisor: LibvirtHypervisor) -> None:
    facts = hypervisor.facts()
    assert not facts.kvm
    assert facts.cpus > 0


def test_a_domain_lives_from_define_to_undefine(hypervisor: LibvirtHypervisor) -> None:
    do(hypervisor, domain())
    assert hypervisor.observe("s")[DOMAIN].info["state"] == "shut off"
    do(hypervisor, Start(address=DOMAIN), SetAutostart(address=DOMAIN, on=True))
    seen = hypervisor.observe("s")[DOMAIN]
    assert (seen.active, seen.autostart, seen.persistent, seen.ours) == (True, True, True, True)
    assert seen.live is not None
    do(hypervisor, Stop(address=DOMAIN, timeout=5), Undefine(address=DOMAIN))
    assert DOMAIN not in hypervisor.observe("s")


def test_stopping_a_guest_that_is_off_is_done_already(hypervisor: LibvirtHypervisor) -> None:
    do(hypervisor, domain(), Stop(address=DOMAIN))


def test_a_mark_of_another_site_is_not_ours(hypervisor: LibvirtHypervisor) -> None:
    do(hypervisor, domain())
    assert not hypervisor.observe("elsewhere")[DOMAIN].ours


def test_a_network_is_updated_by_section(hypervisor: LibvirtHypervisor) -> None:
    xml = "<host mac='52:54:00:00:00:01' ip='10.0.0.9'/>"
    do(hypervisor, UpdateNetwork(address=NETWORK, command="add-last", section="ip-dhcp-host", xml=xml, live=True))
    assert hypervisor.observe("s")[NETWORK].xml.find("ip/dhcp/host") is not None


def test_a_pool_and_its_volume_come_and_go(hypervisor: LibvirtHypervisor) -> None:
    pool = "<pool type='dir'><name>data</name><target><path>/data</path></target></pool>"
    do(hypervisor, Define(address=POOL, xml=pool), Build(address=POOL), Start(address=POOL))
    address = Address("volume", "data/disk")
    xml = "<volume><name>disk</name><capacity unit='MiB'>1</capacity></volume>"
    do(hypervisor, CreateVolume(address=address, xml=xml))
    assert hypervisor.observe("s")[address].info == {
        "capacity": "1048576",
        "allocation": "1048576",
        "path": "/data/disk",
    }
    do(hypervisor, Stop(address=POOL))
    assert address not in hypervisor.observe("s")
    do(hypervisor, Start(address=POOL))
    do(hypervisor, *([DeleteVolume(address=address)] if address in hypervisor.observe("s") else []))


def test_a_refusal_says_what_was_tried_and_libvirts_code(hypervisor: LibvirtHypervisor) -> None:
    with pytest.raises(HypervisorError, match="start domain none: Domain not found") as refused:
        do(hypervisor, Start(address=Address("domain", "none")))
    assert refused.value.code == 42


def test_libvirt_prints_nothing_by_itself(hypervisor: LibvirtHypervisor, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HypervisorError):
        do(hypervisor, Undefine(address=Address("network", "none")))
    assert capfd.readouterr() == ("", "")


def test_a_host_that_does_not_answer_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(HypervisorError, match="systemctl start libvirtd"):
        LibvirtHypervisor("qemu+unix:///system?socket=/nowhere/libvirt-sock")


def test_a_backing_without_format_is_never_guessed(hypervisor: LibvirtHypervisor) -> None:
    xml = "<volume><name>a</name><backingStore><path>/b</path></backingStore></volume>"
    with pytest.raises(InternalError, match="without format"):
        do(hypervisor, CreateVolume(address=Address("volume", "data/a"), xml=xml))


def test_a_password_is_put_in_place_of_its_name_and_escaped() -> None:
    text = with_secrets("<domain><devices><graphics passwd='secret:a'/></devices></domain>", {"a": b"<\"&'>"})
    assert parse(text).xpath("string(devices/graphics/@passwd)") == "<\"&'>"


def test_a_password_that_this_run_does_not_have_is_named() -> None:
    with pytest.raises(DeclarationError, match=r"dos_secrets\.a\.value"):
        with_secrets("<graphics passwd='secret:a'/>", {})


def test_a_refusal_never_quotes_a_secret(hypervisor: LibvirtHypervisor) -> None:
    xml = "<domain type='test'><name>web</name><memory>hunter2</memory><os><type>hvm</type></os></domain>"
    with pytest.raises(HypervisorError) as refused:
        do(hypervisor, Define(address=DOMAIN, xml=xml), a=b"hunter2")
    assert "hunter2" not in str(refused.value)


def test_the_lock_is_waited_for_and_then_names_who_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "node.xml").write_text(NODE.format(""))
    uri = f"test://{tmp_path}/node.xml"
    monkeypatch.setattr(LibvirtHypervisor, "patience", 0.1)
    with closing(LibvirtHypervisor(uri)) as one, closing(LibvirtHypervisor(uri)) as other:
        with one.lock(), pytest.raises(HypervisorError, match=f"process {os.getpid()}"), other.lock():
            pytest.fail("two runs have the lock")
        with other.lock():
            pass


@pytest.mark.parametrize(("flags", "works"), [("fpu vmx", True), ("fpu svm", True), ("fpu hypervisor", False)])
def test_kvm_works_where_the_device_opens_and_the_processor_virtualises(
    tmp_path: Path, flags: str, works: bool
) -> None:
    (tmp_path / "kvm").touch()
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    assert kvm_works("x86_64", str(tmp_path / "kvm"), str(tmp_path / "cpuinfo")) is works
    assert not kvm_works("x86_64", str(tmp_path / "none"), str(tmp_path / "cpuinfo"))


def test_the_mac_tells_interfaces_apart_and_the_target_disks() -> None:
    interface = parse("<interface><mac address='52:54:00:AA:00:01'/><target dev='vnet3'/></interface>")
    assert device_identity(interface) == ("mac", "52:54:00:aa:00:01")
    assert device_identity(parse("<disk><target dev='vda'/></disk>")) == ("target", "vda")


def test_a_network_starts_though_a_machine_ends_meanwhile(
    hypervisor: LibvirtHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machines are looked at for cards that hang in the air; one was listed, and is gone when it is asked."""
    real = hypervisor._connection
    gone = real.createXML(domain().xml)
    gone.destroy()

    class Late:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def listAllDomains(self, flags: int = 0) -> list[object]:
            return [gone]

    monkeypatch.setattr(hypervisor, "_connection", Late())
    do(hypervisor, Stop(address=NETWORK), Start(address=NETWORK))
    assert real.networkLookupByName("lab").isActive()
