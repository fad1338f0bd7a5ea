# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fields leave unsaid: an overlay that makes up the difference, whatever the difference is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from lens_cases import Case, cases

from dosvm.model.address import Address
from dosvm.model.domain import Domain
from dosvm.model.lenient import decode_most
from dosvm.plan.describe import READERS
from dosvm.plan.kinds import KINDS
from dosvm.xml import domain, network, nwfilter
from dosvm.xml.build import compact, parse
from dosvm.xml.devices import SECRET
from dosvm.xml.residue import residue, unsaid

BARE = "<domain type='qemu'><name>d</name><memory>1024</memory><os><type>hvm</type></os>{}</domain>"


@pytest.mark.parametrize("case", [case for case in cases() if case.observed is not None], ids=str)
def test_fields_and_overlay_together_say_all_that_was_observed(case: Case) -> None:
    shape = case.lens.SHAPE
    observed = case.observed
    for console in observed.iterfind("devices/graphics[@passwd]"):
        console.set("passwd", f"{SECRET}console")  # what the plan makes of it, too
    read = READERS[case.kind].parse(observed, Address(case.kind, "pool/name"))
    held: Any = decode_most(KINDS[case.kind].model, read)
    if isinstance(held, Domain) and held.virt_type == "auto":
        held = replace(held, virt_type="qemu")
    rendered = case.lens.render(held)
    assert unsaid(observed, rendered, residue(observed, rendered, shape), shape) == []


@pytest.mark.parametrize("case", cases(), ids=str)
def test_what_the_fields_say_whole_needs_no_overlay(case: Case) -> None:
    assert residue(case.declared, case.declared, case.lens.SHAPE) is None


def _over(observed: str, rendered: str, lens: Any = domain) -> str | None:
    patch = residue(parse(observed), parse(rendered), lens.SHAPE)
    assert unsaid(parse(observed), parse(rendered), patch, lens.SHAPE) == []
    return None if patch is None else compact(patch)


def test_foreign_elements_and_attributes_are_said() -> None:
    said = _over(
        BARE.format("<memtune><hard_limit>9</hard_limit></memtune><vcpu current='1'>2</vcpu>"),
        BARE.format("<vcpu>2</vcpu>"),
    )
    assert said == '<domain><vcpu current="1"></vcpu><memtune><hard_limit>9</hard_limit></memtune></domain>'


def test_what_is_not_there_is_taken_away() -> None:
    tablet = "<input type='tablet' bus='usb'/>"
    said = _over(
        BARE.format(f"<devices>{tablet}</devices>"), BARE.format(f"<devices>{tablet}<serial type='pty'/></devices>")
    )
    assert said == ('<domain><devices><serial xmlns:dos="urn:dos:vm:1" dos:op="remove"></serial></devices></domain>')


def test_an_attribute_that_is_not_there_is_taken_away() -> None:
    said = _over(
        "<network><domain name='a'/></network>", "<network><domain name='a' localOnly='yes'/></network>", network
    )
    assert said == '<network><domain xmlns:dos="urn:dos:vm:1" dos:without="localOnly"></domain></network>'


@pytest.mark.parametrize(
    ("lens", "observed", "rendered"),
    [
        # no identity but the place
        (
            domain,
            BARE.format("<devices><rng model='a'/><rng model='b'/></devices>"),
            BARE.format("<devices><rng model='c'/></devices>"),
        ),
        # twice the same identity
        (
            domain,
            BARE.format(
                "<devices><interface type='user'><mac address='52:54:00:00:00:01'/></interface>"
                "<interface type='udp'><mac address='52:54:00:00:00:01'/></interface></devices>"
            ),
            BARE.format(""),
        ),
        # another order where the order counts
        (
            domain,
            BARE.replace("</type>", "</type><boot dev='cdrom'/><boot dev='hd'/>").format(""),
            BARE.replace("</type>", "</type><boot dev='hd'/><boot dev='cdrom'/>").format(""),
        ),
        (network, "<network><dns><forwarder addr='1.1.1.1'/><forwarder domain='a.b'/></dns></network>", "<network/>"),
        (
            nwfilter,
            "<filter name='f'><rule action='drop' direction='in'><icmp type='3'/></rule></filter>",
            "<filter name='f'><rule action='drop' direction='in'><tcp/></rule><rule action='drop' direction='out'/></filter>",
        ),
    ],
)
def test_every_difference_can_be_made_up(lens: Any, observed: str, rendered: str) -> None:
    assert _over(observed, rendered, lens)


def test_a_password_is_never_said() -> None:
    console = "<devices><graphics type='vnc' passwd='hunter2'><channel name='x' mode='any' password='hunter2'/></graphics></devices>"
    patch = residue(parse(BARE.format(console)), parse(BARE.format("")), domain.SHAPE)
    assert patch is not None
    assert "hunter2" not in compact(patch)


def test_where_libvirt_plugged_a_device_in_is_not_said() -> None:
    disk = "<devices><disk type='block'><target dev='vda' bus='virtio'/><address type='pci' slot='0x05'/><alias name='virtio0'/></disk></devices>"
    said = _over(BARE.format(disk), BARE.format("<devices/>"))
    assert said is not None
    assert "address" not in said
    assert "alias" not in said
