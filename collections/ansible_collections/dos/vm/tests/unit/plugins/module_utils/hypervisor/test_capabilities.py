# SPDX-License-Identifier: GPL-3.0-or-later
"""What placement must know of a host is read from what libvirt says of hosts that are larger than this one."""

from __future__ import annotations

from types import SimpleNamespace

from dosvm.hypervisor.capabilities import boards, cpu_models, devices, numa
from dosvm.model.host import NumaNode
from dosvm.model.types import ByteSize
from dosvm.xml.build import parse

CAPABILITIES = parse("""
<capabilities>
  <host><topology><cells num='2'>
    <cell id='0'><memory unit='KiB'>4194304</memory><pages unit='KiB' size='4'>524288</pages>
      <pages unit='KiB' size='2048'>1024</pages><pages unit='KiB' size='1048576'>0</pages>
      <cpus num='2'><cpu id='0'/><cpu id='1'/></cpus></cell>
    <cell id='1'><memory unit='KiB'>2097152</memory><pages unit='KiB' size='4'>524288</pages><cpus num='1'><cpu id='2'/></cpus></cell>
  </cells></topology></host>
  <guest><arch name='x86_64'><machine canonical='pc-q35-7.2'>q35</machine><machine>pc-q35-7.2</machine></arch></guest>
  <guest><arch name='aarch64'><machine>virt-7.2</machine></arch></guest>
</capabilities>""")

CARD = """<device><capability type='pci'><product id='0x1eb8'/><vendor id='0x10de'/>{group}</capability></device>"""


def connection(*xml: str) -> SimpleNamespace:
    return SimpleNamespace(
        listAllDevices=lambda flags: [SimpleNamespace(XMLDesc=lambda held=held: held) for held in xml],
        getDomainCapabilities=lambda *which: (
            "<domainCapabilities><cpu><mode name='custom'><model usable='yes'>Haswell</model>"
            "<model usable='no'>EPYC</model></mode></cpu></domainCapabilities>"
        ),
    )


def test_boards_are_those_of_one_architecture() -> None:
    assert boards(CAPABILITIES, "x86_64") == ("pc-q35-7.2", "q35")


def test_numa_nodes_come_with_their_huge_pages() -> None:
    assert numa(CAPABILITIES) == (
        NumaNode(memory=ByteSize("4 GiB"), cpus=2, hugepages={"2 MiB": ByteSize("2 GiB")}),
        NumaNode(memory=ByteSize("2 GiB"), cpus=1),
    )


def test_a_device_counts_when_guests_can_be_given_it() -> None:
    group = "<iommuGroup number='1'/>"
    assert devices(connection(CARD.format(group=group), CARD.format(group=group), CARD.format(group=""))) == {
        "10de:1eb8": 2
    }
    assert devices(connection(CARD.format(group=""))) is None


def test_a_model_counts_when_it_is_usable() -> None:
    assert cpu_models(connection(), "x86_64") == ("Haswell",)
