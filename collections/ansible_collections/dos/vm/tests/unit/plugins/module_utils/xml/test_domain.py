# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lens of domains promises beyond its cases."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from domain_strategies import domains
from hypothesis import HealthCheck, given, settings

from dosvm.errors import DeclarationError, InternalError
from dosvm.model.decode import decode
from dosvm.model.domain import Disk, Domain
from dosvm.model.types import ByteSize
from dosvm.xml.build import compact
from dosvm.xml.build import parse as parse_xml
from dosvm.xml.compare import compare
from dosvm.xml.domain import SHAPE, explicit, fragment_overrides, parse, render
from dosvm.xml.merge import merge, overlay, same_identity
from dosvm.xml.normalize import normalize

many = settings(
    max_examples=int(os.environ.get("DOSVM_EXAMPLES", "150")), deadline=None, suppress_health_check=list(HealthCheck)
)


def domain(**fields: Any) -> Domain:
    return decode(Domain, {"name": "kd", "virt_type": "qemu", "memory": "64 MiB", **fields})


def changes(declared: Domain, observed: Domain, add: str = "<domain/>") -> list[str]:
    """What is to be changed where `observed`, with `add` laid over, is what the host has."""
    on_host = render(observed)
    overlay(on_host, parse_xml(add), SHAPE)
    found = normalize(on_host, SHAPE)
    desired = merge(normalize(render(declared), SHAPE), found, SHAPE)
    return [change.path for change in compare(found, desired, SHAPE)]


@many
@given(domains())
def test_what_is_written_reads_back_as_declared(declared: Domain) -> None:
    assert decode(Domain, parse(normalize(render(declared), SHAPE))) == explicit(declared)


@many
@given(domains())
def test_saying_what_goes_without_saying_changes_nothing(declared: Domain) -> None:
    assert explicit(explicit(declared)) == explicit(declared)
    assert compact(render(explicit(declared))) == compact(render(declared))


@many
@given(domains(), domains())
def test_any_domain_becomes_any_other(declared: Domain, observed: Domain) -> None:
    found = normalize(render(observed), SHAPE)
    wanted = normalize(render(declared), SHAPE)
    desired = merge(wanted, found, SHAPE)
    assert not list(compare(desired, merge(wanted, desired, SHAPE), SHAPE))


def test_virt_type_auto_is_for_the_host_to_settle() -> None:
    with pytest.raises(InternalError, match="auto must be settled"):
        render(domain(virt_type="auto"))


def test_targets_are_the_first_that_are_free() -> None:
    source = {"file": "/a", "format": "raw"}
    made = explicit(domain(disks=[source, {**source, "target": "vda"}, {**source, "bus": "usb"}, {"device": "cdrom"}]))
    assert " ".join(f"{disk.target}:{disk.bus}" for disk in made.disks) == "vdb:virtio vda:virtio sda:usb sdb:sata"


def test_targets_go_on_after_z() -> None:
    made = explicit(replace(domain(), disks=tuple(Disk(file="/a", format="raw") for _ in range(28))))
    assert [disk.target for disk in made.disks[25:]] == ["vdz", "vdaa", "vdab"]


@pytest.mark.parametrize(
    ("machine", "bus"), [("pc", "ide"), ("pc-i440fx-7.2", "ide"), ("pc-q35-7.2", "sata"), ("virt", "scsi")]
)
def test_an_optical_drive_is_where_the_board_has_one(machine: str, bus: str) -> None:
    assert explicit(domain(machine=machine, disks=[{"device": "cdrom"}])).disks[0].bus == bus


def test_memory_is_given_in_whole_mib() -> None:
    assert render(replace(domain(), memory=ByteSize(2**20 + 1))).findtext("memory") == "2048"


def test_a_machine_without_a_console_has_no_video_card() -> None:
    assert render(domain()).find("devices/video") is None


def test_an_alias_of_a_board_stays_at_the_version_it_became() -> None:
    assert changes(domain(machine="q35"), domain(machine="pc-q35-7.2")) == []
    assert changes(domain(machine="pc"), domain(machine="pc-i440fx-7.2")) == []
    assert changes(domain(machine="pc"), domain(machine="pc-q35-7.2")) == ["machine"]
    assert changes(domain(machine="pc-q35-7.2"), domain(machine="pc-q35-7.1")) == ["machine"]


def test_a_definition_with_less_current_memory_is_brought_back() -> None:
    less = "<domain><currentMemory unit='MiB'>32</currentMemory></domain>"
    assert changes(domain(), domain(), less) == ["current_memory"]
    assert changes(domain(), domain(), less.replace("<domain>", "<domain id='3'>")) == []


def test_a_machine_that_may_grow_says_so_to_libvirt_and_is_read_back() -> None:
    grows = domain(vcpus=2, vcpus_max=4, memory_max="128 MiB")
    assert (render(grows).find("vcpu").get("current"), render(grows).findtext("vcpu")) == ("2", "4")
    assert render(grows).findtext("memory") == str(128 * 1024)
    read = parse(normalize(render(grows), SHAPE))
    assert (read["vcpus"], read["vcpus_max"], read["memory_max"]) == (2, 4, "128 MiB")
    grown = domain(vcpus=4, vcpus_max=4, memory="128 MiB", memory_max="128 MiB")
    assert "vcpus_max" not in parse(normalize(render(grown), SHAPE))
    assert changes(grown, grows) == ["current_memory", "vcpus.current"]


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"vcpus": 2, "vcpus_max": 1}, "vcpus_max"),
        ({"memory_max": "1 MiB"}, "memory_max"),
        ({"memory_max": "128 MiB", "balloon": False}, "memory_max"),
        ({"vcpus": 2, "vcpus_max": 4, "cpu": {"mode": "host-model", "sockets": 2, "cores": 1, "threads": 1}}, "cpu"),
    ],
)
def test_maxima_that_cannot_be_are_refused(said: dict[str, Any], refused: str) -> None:
    with pytest.raises(DeclarationError, match=refused):
        domain(**said)


def test_an_address_goes_with_the_bus_it_is_on() -> None:
    before = domain(disks=[{"file": "/a", "format": "raw", "bus": "sata", "target": "sda"}])
    after = domain(disks=[{"file": "/a", "format": "raw", "bus": "virtio", "target": "sda"}])
    address = "<devices><disk><target dev='sda'/><address type='drive' unit='1'/></disk></devices>"
    found = normalize(render(replace(before, xml=(address,))), SHAPE)
    assert merge(normalize(render(before), SHAPE), found, SHAPE).find("devices/disk/address") is not None
    assert merge(normalize(render(after), SHAPE), found, SHAPE).find("devices/disk/address") is None


def card(network: str, mac: str | None = None) -> dict[str, str]:
    return {"network": network, "mac": f"52:54:00:00:00:{mac}"} if mac else {"network": network}


def cards(wanted: list[dict[str, str]], host: list[dict[str, str]]) -> list[tuple[str | None, str | None]]:
    """The network and the end of the MAC of each card that is desired."""
    found = normalize(render(domain(interfaces=host)), SHAPE)
    desired = merge(normalize(render(domain(interfaces=wanted)), SHAPE), found, SHAPE)
    read = parse(desired)["interfaces"]
    return [(held["network"], held.get("mac", "")[-2:] or None) for held in read]


def test_a_mac_that_libvirt_chose_stays_with_its_network() -> None:
    host = [card("a", "01"), card("b", "02")]
    assert cards([card("b")], host) == [("b", "02")]
    assert cards([card("b"), card("c")], host) == [("b", "02"), ("c", "01")]
    assert cards([card("c"), card("b")], host) == [("c", "01"), ("b", "02")]
    assert cards([card("a"), card("a")], host) == [("a", "01"), ("a", "02")]


def test_a_card_in_its_place_is_preferred_among_those_alike() -> None:
    assert cards([card("b"), card("a")], [card("a", "01"), card("a", "02")]) == [("b", "01"), ("a", "02")]


def test_a_declared_mac_is_never_given_to_another_card() -> None:
    assert cards([card("a"), card("a", "01")], [card("a", "01")]) == [("a", None), ("a", "01")]


def test_foreign_elements_are_kept() -> None:
    foreign = "<domain><iothreads>2</iothreads><devices><smartcard mode='host'/></devices></domain>"
    assert changes(domain(), domain(), foreign) == []


def test_secrets_are_not_shown() -> None:
    before = normalize(render(domain(graphics=[{"password": "old"}])), SHAPE)
    after = normalize(render(domain(graphics=[{"password": "new"}])), SHAPE)
    (change,) = compare(before, merge(after, before, SHAPE), SHAPE)
    assert (change.path, change.before, change.after) == ("graphics[vnc].password", "(hidden)", "(hidden)")


def test_memory_is_shown_in_the_operators_units() -> None:
    before, after = (normalize(render(domain(memory=size)), SHAPE) for size in ("1 GiB", "2 GiB"))
    (change,) = compare(before, merge(after, before, SHAPE), SHAPE)
    assert (change.path, change.before, change.after) == ("memory", "1 GiB", "2 GiB")


@pytest.mark.parametrize("text", ["<network/>", "not xml", "<domain>", "<!DOCTYPE d><domain/>"])
def test_a_fragment_that_is_none_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(DeclarationError, match=r"^xml\[1\]: "):
        domain(xml=["<domain/>", text])


def test_a_fragment_that_overrides_a_field_is_named() -> None:
    declared = domain(
        disks=[{"file": "/a", "format": "raw", "cache": "none"}],
        xml=[
            "<domain><clock offset='localtime'/><iothreads>2</iothreads></domain>",
            "<devices><disk><target dev='vda'/><driver cache='unsafe'/></disk><rng model='virtio'><rate bytes='9'/></rng></devices>",
        ],
    )
    found = [(index, change.path, change.before, change.after) for index, change in fragment_overrides(declared)]
    assert found == [(0, "clock", None, "localtime"), (1, "disks[vda].cache", "none", "unsafe")]
    assert render(declared).find("devices/rng/rate") is not None


def test_a_fragment_of_devices_is_laid_over_by_identity() -> None:
    disk = {"file": "/a", "format": "raw"}
    fragment = "<devices><disk><target dev='vdb'/><iotune><total_iops_sec>9</total_iops_sec></iotune></disk></devices>"
    rendered = render(domain(disks=[disk, disk], xml=[fragment]))
    assert [held.find("iotune") is not None for held in rendered.iterfind("devices/disk")] == [False, True]


def test_entities_are_not_expanded() -> None:
    assert parse_xml("<domain/>").tag == "domain"
    with pytest.raises(DeclarationError, match="DOCTYPE"):
        domain(xml=["<!DOCTYPE d [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><domain>&e;</domain>"])


IDENTITY = (
    "<name>foreign</name>",
    "<uuid>b0600000-0000-4000-8000-00000000f0f0</uuid>",
    "<genid>b0600000-0000-4000-8000-00000000f0f0</genid>",
    "<metadata><dos:object site='other'/></metadata>",
    "<metadata dos:op='remove'/>",
    "<vcpu>9</vcpu>",
    "<memory unit='GiB'>9</memory>",
    "<memory unit='GiB'/>",
    "<devices><disk><target dev='vda'/><source file='/other'/></disk></devices>",
    "<devices><disk dos:op='remove'><target dev='vda'/></disk></devices>",
    "<devices><interface><mac address='52:54:00:00:00:01'/><filterref dos:op='remove'/></interface></devices>",
)


@pytest.mark.parametrize("said", IDENTITY)
def test_a_host_refuses_a_fragment_that_a_controller_did_not(said: str) -> None:
    """The disk's name is one that we choose, so it is known when the domain is rendered."""
    fragment = f"<domain xmlns:dos='urn:dos:vm:1'>{said}</domain>"
    with pytest.raises(DeclarationError, match=r"^xml\[0\]: "):
        render(
            domain(
                mark={"site": "mine"},
                disks=[{"file": "/a", "format": "raw"}],
                interfaces=[{"network": "a", "mac": "52:54:00:00:00:01", "filter": "clean-traffic"}],
                xml=[fragment],
            )
        )


def test_what_is_laid_over_stays_the_object_that_it_was() -> None:
    rendered = render(domain(mark={"site": "mine"}))
    for said in (
        "<name>b</name>",
        "<uuid>u</uuid>",
        "<metadata xmlns:dos='urn:dos:vm:1'><dos:object site='b'/></metadata>",
    ):
        with pytest.raises(DeclarationError, match="leave it out"), same_identity(rendered, "xml[0]"):
            overlay(rendered, parse_xml(f"<domain>{said}</domain>"), SHAPE)


@pytest.mark.parametrize("on_host", ["97657", "98304"])
def test_memory_that_is_no_whole_mib_is_as_declared_before_and_after_qemu_rounds_it(on_host: str) -> None:
    """libvirt keeps what was defined, and a running domain has what QEMU rounded that up to."""
    found = render(domain(memory="100 MB"))
    assert found.findtext("memory") == "98304"
    found.find("memory").text = on_host
    wanted = normalize(render(domain(memory="100 MB")), SHAPE)
    assert not list(compare(normalize(found, SHAPE), merge(wanted, normalize(found, SHAPE), SHAPE), SHAPE))
