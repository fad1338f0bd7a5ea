# SPDX-License-Identifier: GPL-3.0-or-later
"""The fake refuses what libvirt refuses and answers in its spelling: a law that holds on it says something."""

from __future__ import annotations

import pytest

from dosvm.errors import DeclarationError, HypervisorError
from dosvm.hypervisor.fake import FakeHypervisor, Killed
from dosvm.model.address import Address, own_uuid
from dosvm.plan.action import (
    Action,
    AttachDevice,
    Build,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    ResizeVolume,
    SetAutostart,
    SetSecretValue,
    Start,
    Stop,
    Undefine,
    UpdateDevice,
    UpdateNetwork,
)

NETWORK, POOL, DOMAIN = Address("network", "lab"), Address("pool", "data"), Address("domain", "web")
SECRET, NWFILTER, VOLUME = Address("secret", "console"), Address("nwfilter", "web"), Address("volume", "data/disk")
MIB = 2**20


@pytest.fixture
def fake() -> FakeHypervisor:
    return FakeHypervisor()


def do(fake: FakeHypervisor, *actions: Action, **secrets: bytes) -> None:
    for action in actions:
        fake.perform(action, secrets)


def network(name: str = "lab", ip: str = "10.0.0.1", more: str = "") -> Define:
    xml = f"""<network><name>{name}</name>{more}<ip address='{ip}' netmask='255.255.255.0'>
        <dhcp><host mac='52:54:00:AA:00:01' ip='10.0.0.5'/></dhcp></ip></network>"""
    return Define(address=Address("network", name), xml=xml)


def domain(name: str = "web", devices: str = "", more: str = "", tail: str = "") -> Define:
    xml = f"""<domain type='qemu'><name>{name}</name>{more}<memory unit='MiB'>64</memory><os><type machine='q35'>hvm</type></os>
        <devices>{devices}</devices>{tail}</domain>"""
    return Define(address=Address("domain", name), xml=xml)


def disk(path: str = "/data/disk", target: str = "vda", more: str = "") -> str:
    return f"""<disk type='file'><driver name='qemu' type='qcow2'/><source file='{path}'/>
        <target dev='{target}' bus='virtio'/>{more}</disk>"""


def with_volume(fake: FakeHypervisor) -> None:
    xml = "<pool type='dir'><name>data</name><target><path>/data</path></target></pool>"
    do(fake, Define(address=POOL, xml=xml), Build(address=POOL), Start(address=POOL), volume())


def volume(name: str = "disk", more: str = "") -> CreateVolume:
    xml = f"<volume><name>{name}</name><capacity unit='MiB'>8</capacity><target><format type='qcow2'/></target>{more}</volume>"
    return CreateVolume(address=Address("volume", f"data/{name}"), xml=xml)


def refused(fake: FakeHypervisor, action: Action, match: str) -> None:
    with pytest.raises(HypervisorError, match=match):
        fake.perform(action, {})


# Spelling


def test_a_network_comes_back_with_uuid_mac_and_bridge_and_spelt_as_it_was_given(fake: FakeHypervisor) -> None:
    do(fake, network())
    xml = fake.observe("s")[NETWORK].xml
    assert [str(child.tag) for child in xml] == ["name", "uuid", "bridge", "mac", "ip"]
    assert xml.xpath("string(ip/@netmask)") == "255.255.255.0"
    assert xml.xpath("string(ip/dhcp/host/@mac)") == "52:54:00:AA:00:01"


def test_a_domain_comes_back_in_kib_with_its_board_settled_and_what_libvirt_adds(fake: FakeHypervisor) -> None:
    do(fake, domain(devices="<interface type='network'><source network='lab'/></interface>"))
    xml = fake.observe("s")[DOMAIN].xml
    assert xml.xpath("string(memory)") == xml.xpath("string(currentMemory)") == "65536"
    assert xml.xpath("string(os/type/@machine)") == "pc-q35-7.2"
    assert xml.xpath("string(on_poweroff)") == "destroy"
    assert xml.find("devices/emulator") is not None
    assert xml.xpath("string(devices/interface/mac/@address)").startswith("52:54:00:")


def test_what_runs_has_aliases_and_taps_and_its_definition_has_not(fake: FakeHypervisor) -> None:
    do(fake, network(), Start(address=NETWORK))
    do(fake, domain(devices="<interface type='network'><source network='lab'/></interface>"), Start(address=DOMAIN))
    seen = fake.observe("s")[DOMAIN]
    assert seen.live is not None
    assert seen.live.xpath("string(devices/interface/target/@dev)").startswith("vnet")
    assert seen.xml.find("devices/interface/target") is None
    held = fake.observe("s")[NETWORK].live
    assert held is not None
    assert held.get("connections") == "1"


def test_what_was_seen_is_a_copy(fake: FakeHypervisor) -> None:
    do(fake, network())
    fake.observe("s")[NETWORK].xml.clear()
    assert fake.observe("s")[NETWORK].xml.findtext("name") == "lab"


def test_ours_is_told_by_the_mark_and_by_the_uuid(fake: FakeHypervisor) -> None:
    mark = "<metadata><dos:object xmlns:dos='urn:dos:vm:1' site='s'/></metadata>"
    secret = (
        f"<secret><uuid>{own_uuid('s', SECRET)}</uuid><usage type='volume'><volume>console</volume></usage></secret>"
    )
    do(fake, network(more=mark), Define(address=SECRET, xml=secret))
    assert [held.ours for held in fake.observe("s").values()] == [True, True]
    assert [held.ours for held in fake.observe("other").values()] == [False, False]


# Refusals


def test_a_second_definition_without_the_uuid_is_refused_as_by_libvirt(fake: FakeHypervisor) -> None:
    do(fake, network(), domain())
    refused(fake, network(), "already exists with uuid")
    refused(fake, domain(), "already exists with uuid")


def test_a_uuid_belongs_to_one_object_of_a_kind(fake: FakeHypervisor) -> None:
    uuid = "<uuid>11111111-2222-4333-8444-555555555555</uuid>"
    do(fake, domain(more=uuid))
    refused(fake, domain("other", more=uuid), "already defined with uuid")


def test_an_element_that_libvirt_does_not_know_is_refused(fake: FakeHypervisor) -> None:
    refused(fake, domain(more="<memtunes/>"), "Extra element memtunes")


def test_starting_what_runs_and_stopping_what_does_not_is_refused(fake: FakeHypervisor) -> None:
    do(fake, network())
    refused(fake, Stop(address=NETWORK), "not running")
    do(fake, Start(address=NETWORK))
    refused(fake, Start(address=NETWORK), "already running")


def test_stopping_a_guest_that_is_off_is_done_already(fake: FakeHypervisor) -> None:
    do(fake, domain(), Stop(address=DOMAIN))


def test_what_is_missing_cannot_be_undefined_started_or_deleted(fake: FakeHypervisor) -> None:
    for action in (Undefine(address=DOMAIN), Start(address=NETWORK), SetAutostart(address=POOL, on=True)):
        refused(fake, action, "no .* with matching name")
    with_volume(fake)
    refused(fake, DeleteVolume(address=Address("volume", "data/none")), "no storage vol")


def test_networks_that_overlap_do_not_both_run(fake: FakeHypervisor) -> None:
    do(fake, network(), network("other", "10.0.0.9"), Start(address=NETWORK))
    refused(fake, Start(address=Address("network", "other")), "already in use")


def test_two_networks_cannot_have_one_bridge(fake: FakeHypervisor) -> None:
    do(fake, network(more="<bridge name='br7'/>"))
    refused(fake, network("other", "10.1.0.1", more="<bridge name='br7'/>"), "in use")


def test_a_volume_needs_an_active_pool_a_new_name_and_a_backing_that_is_there(fake: FakeHypervisor) -> None:
    with_volume(fake)
    refused(fake, volume(), "exists already")
    lost = "<backingStore><path>/lost</path><format type='qcow2'/></backingStore>"
    refused(fake, volume("top", lost), "Cannot access backing store")
    do(fake, Stop(address=POOL))
    refused(fake, volume("other"), "not active")
    assert VOLUME not in fake.observe("s")


def test_a_pool_without_its_directory_does_not_start(fake: FakeHypervisor) -> None:
    xml = "<pool type='dir'><name>data</name><target><path>/data</path></target></pool>"
    do(fake, Define(address=POOL, xml=xml))
    refused(fake, Start(address=POOL), "cannot open directory")


def test_an_active_pool_is_not_undefined_and_its_files_outlive_it(fake: FakeHypervisor) -> None:
    with_volume(fake)
    refused(fake, Undefine(address=POOL), "still active")
    do(fake, Stop(address=POOL), Undefine(address=POOL))
    xml = "<pool type='dir'><name>data</name><target><path>/data</path></target></pool>"
    do(fake, Define(address=POOL, xml=xml), Start(address=POOL))
    assert VOLUME in fake.observe("s")


def test_a_guest_does_not_start_without_its_network_and_its_disk(fake: FakeHypervisor) -> None:
    do(fake, domain(devices="<interface type='network'><source network='lab'/></interface>"))
    refused(fake, Start(address=DOMAIN), "no network")
    do(fake, network())
    refused(fake, Start(address=DOMAIN), "not active")
    do(fake, domain("other", disk()))
    refused(fake, Start(address=Address("domain", "other")), "Cannot access storage file")


@pytest.mark.parametrize(("more", "both"), [("", False), ("<shareable/>", True), ("<readonly/>", True)])
def test_two_guests_write_to_one_volume_only_where_it_is_shareable(fake: FakeHypervisor, more: str, both: bool) -> None:
    with_volume(fake)
    do(fake, domain(devices=disk()), domain("two", disk(more=more)), Start(address=DOMAIN))
    start = Start(address=Address("domain", "two"))
    if both:
        do(fake, start)
    else:
        refused(fake, start, "write")


def test_a_running_guest_that_is_undefined_lives_until_it_stops(fake: FakeHypervisor) -> None:
    do(fake, domain(), Start(address=DOMAIN), Undefine(address=DOMAIN))
    assert not fake.observe("s")[DOMAIN].persistent
    do(fake, Stop(address=DOMAIN))
    assert DOMAIN not in fake.observe("s")


def test_a_volume_never_shrinks_and_grows_under_a_guest_only_by_way_of_it(fake: FakeHypervisor) -> None:
    with_volume(fake)
    refused(fake, ResizeVolume(address=VOLUME, capacity=1), "shrink")
    do(fake, domain(devices=disk()), Start(address=DOMAIN))
    refused(fake, ResizeVolume(address=VOLUME, capacity=16 * MIB), "lock")
    refused(fake, ResizeVolume(address=VOLUME, capacity=16 * MIB, domain="web", target="vdb"), "invalid path")
    do(fake, ResizeVolume(address=VOLUME, capacity=16 * MIB, domain="web", target="vda"))
    assert fake.observe("s")[VOLUME].info["capacity"] == str(16 * MIB)


def test_a_filter_in_use_is_not_undefined(fake: FakeHypervisor) -> None:
    do(fake, Define(address=NWFILTER, xml="<filter name='web'/>"))
    do(fake, Define(address=Address("nwfilter", "all"), xml="<filter name='all'><filterref filter='web'/></filter>"))
    refused(fake, Undefine(address=NWFILTER), "in use")


# What runs


def test_a_network_is_updated_live_and_in_its_definition(fake: FakeHypervisor) -> None:
    do(fake, network())
    add = UpdateNetwork(
        address=NETWORK, command="add-last", section="ip-dhcp-host", xml="<host mac='52:54:00:00:00:02' ip='10.0.0.6'/>"
    )
    refused(fake, add, "not running")
    do(fake, Start(address=NETWORK), add)
    refused(fake, add, "existing")
    seen = fake.observe("s")[NETWORK]
    assert seen.live is not None
    assert [len(held.findall("ip/dhcp/host")) for held in (seen.xml, seen.live)] == [2, 2]
    dns = "<host ip='10.0.0.6'><hostname>six</hostname></host>"
    refused(fake, UpdateNetwork(address=NETWORK, command="modify", section="dns-host", xml=dns), "cannot be modified")


def test_a_disk_comes_and_goes_in_the_running_guest_alone(fake: FakeHypervisor) -> None:
    with_volume(fake)
    do(fake, domain())
    attach = AttachDevice(address=DOMAIN, xml=disk(), device="disk vda")
    refused(fake, attach, "not running")
    do(fake, Start(address=DOMAIN), attach)
    refused(fake, attach, "already exists")
    seen = fake.observe("s")[DOMAIN]
    assert seen.live is not None
    assert seen.live.find("devices/disk/alias") is not None
    assert seen.xml.find("devices/disk") is None
    do(fake, DetachDevice(address=DOMAIN, xml=disk(), device="disk vda"))
    seen = fake.observe("s")[DOMAIN]
    assert seen.live is not None
    assert seen.live.find("devices/disk") is None


def test_a_console_gets_its_password_and_a_missing_one_is_said(fake: FakeHypervisor) -> None:
    graphics = "<graphics type='vnc' passwd='secret:console'/>"
    with pytest.raises(DeclarationError, match=r"dos_secrets\.console\.value"):
        do(fake, domain(devices=graphics))
    do(fake, domain(devices=graphics), Start(address=DOMAIN), console=b"one")
    do(fake, UpdateDevice(address=DOMAIN, xml=graphics, device="console"), console=b"two")
    seen = fake.observe("s")[DOMAIN]
    assert seen.live is not None
    assert seen.live.xpath("string(devices/graphics/@passwd)") == "two"
    assert seen.xml.xpath("string(devices/graphics/@passwd)") == "one"


def test_the_value_of_a_secret_is_nowhere_to_be_read(fake: FakeHypervisor) -> None:
    do(fake, Define(address=SECRET, xml="<secret><usage type='volume'><volume>console</volume></usage></secret>"))
    do(fake, SetSecretValue(address=SECRET), console=b"hidden")
    assert "hidden" not in str(fake.observe("s"))


# Failing on purpose


def test_an_action_fails_once_where_it_was_asked_to(fake: FakeHypervisor) -> None:
    fake.fail_after = 1
    do(fake, network())
    refused(fake, Start(address=NETWORK), "as it was told")
    assert not fake.observe("s")[NETWORK].active
    do(fake, Start(address=NETWORK))


def test_a_kill_comes_after_the_action_and_no_error_handler_stops_it(fake: FakeHypervisor) -> None:
    fake.kill_after = 1
    with pytest.raises(Killed), fake.lock():
        do(fake, network())
    assert NETWORK in fake.observe("s")
    with fake.lock():
        pass
    assert not issubclass(Killed, Exception)


def test_reads_and_writes_are_counted_apart(fake: FakeHypervisor) -> None:
    fake.facts()
    fake.observe("s")
    assert (fake.reads, fake.writes) == (2, 0)
    do(fake, network())
    assert (fake.reads, fake.writes) == (2, 1)
