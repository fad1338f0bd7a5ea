# SPDX-License-Identifier: GPL-3.0-or-later
"""The same definitions given to the fake and to this machine's libvirt: what comes back is the same.

Left out is what is drawn by lot, what the file system of the moment says, and the PCI topology, which the fake does not lay.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.protocol import Hypervisor
from dosvm.model.address import Address
from dosvm.plan.action import Action, Build, CreateVolume, Define, Start
from dosvm.xml.build import to_text

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

pytestmark = pytest.mark.libvirt

DEVICES = """<disk type='file'><driver type='qcow2'/><source file='{directory}/disk'/><target dev='vda'/></disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
    <interface type='network'><mac address='52:54:00:AB:00:01'/><source network='{name}'/><model type='virtio'/></interface>
    <serial type='pty'/><graphics type='vnc'/><video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"""
DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MB'>64</memory><os><type machine='{machine}'>hvm</type></os>
    <features><acpi/></features><devices>{devices}</devices></domain>"""
DEFINITIONS = {
    "network, silent": "<network><name>{name}</name></network>",
    "network, nat": """<network><name>{name}</name><forward/><bridge name='{name}'/><domain name='x.test'/>
        <ip address='10.252.7.1' netmask='255.255.255.0'><dhcp><range start='10.252.7.5' end='10.252.7.9'/>
        <host mac='52:54:00:AB:00:01' ip='10.252.7.5'/></dhcp></ip></network>""",
    "pool": "<pool type='dir'><name>{name}</name><target><path>{directory}</path></target></pool>",
    "nwfilter": "<filter name='{name}'><filterref filter='allow-arp'/><rule action='drop' direction='in'><all/></rule></filter>",
    "secret": "<secret private='yes'><usage type='volume'><volume>{name}</volume></usage></secret>",
    "domain, pc": DOMAIN.replace("{machine}", "pc").replace("{devices}", ""),
    "domain, q35": DOMAIN.replace("{machine}", "q35").replace("{devices}", DEVICES),
}
BY_LOT = (
    "uuid",
    "network/mac",
    "devices/interface/mac",
    "timestamps",
    "physical",
    "allocation",
    "available",
    "permissions",
    "address[@type='pci']",
    "controller[@model='pcie-root-port']",
    "controller/address",
)


def told(xml: Element) -> str:
    """What both must say, as text."""
    held = deepcopy(xml)
    for path in BY_LOT:
        for found in held.xpath(f"//{path}"):
            found.getparent().remove(found)
    for found in held.xpath("//controller | //pool/capacity"):
        found.text, found[:] = None, []
    for found in held.iter():
        found.text = (found.text or "").strip() or None
        attributes = sorted(found.attrib.items())
        found.attrib.clear()
        found.attrib.update(attributes)
    return to_text(held)


def answer(hypervisor: Hypervisor, address: Address, *actions: Action) -> Element:
    for action in actions:
        hypervisor.perform(action, {})
    return hypervisor.observe("test")[address].xml


@pytest.mark.parametrize("what", DEFINITIONS)
def test_a_definition_comes_back_as_from_libvirt(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, what: str
) -> None:
    address = Address(what.partition(",")[0], prefix)
    xml = DEFINITIONS[what].replace("{name}", prefix).replace("{directory}", str(tmp_path))
    define = Define(address=address, xml=xml)
    real, fake = told(answer(hypervisor, address, define)), told(answer(FakeHypervisor(), address, define))
    if what == "network, silent":
        real, fake = (text.replace("virbr1", "virbr0") for text in (real, fake))  # whichever is free
    assert fake.splitlines() == real.splitlines()


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_a_volume_comes_back_as_from_libvirt(
    hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path, kind: str
) -> None:
    pool, address = Address("pool", prefix), Address("volume", f"{prefix}/disk")
    xml = f"<pool type='dir'><name>{prefix}</name><target><path>{tmp_path}/p</path></target></pool>"
    volume = (
        f"<volume><name>disk</name><capacity unit='MB'>4</capacity><target><format type='{kind}'/></target></volume>"
    )
    actions = (
        Define(address=pool, xml=xml),
        Build(address=pool),
        Start(address=pool),
        CreateVolume(address=address, xml=volume),
    )
    assert told(answer(FakeHypervisor(), address, *actions)) == told(answer(hypervisor, address, *actions))


def test_a_running_network_says_the_same(hypervisor: LibvirtHypervisor, prefix: str) -> None:
    address = Address("network", prefix)
    xml = DEFINITIONS["network, nat"].replace("{name}", prefix).replace("<forward/>", "")
    seen = []
    for held in (hypervisor, FakeHypervisor()):
        answer(held, address, Define(address=address, xml=xml), Start(address=address))
        live = held.observe("test")[address].live
        assert live is not None
        seen.append(told(live))
    assert seen[0] == seen[1]
