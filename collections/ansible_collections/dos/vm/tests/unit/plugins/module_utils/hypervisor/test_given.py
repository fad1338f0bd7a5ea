# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices of the host a machine may have, by what sysfs says of them; tests/kernel/inside/test_host_devices.py has a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosvm.hypervisor import given
from dosvm.model.host import Link
from dosvm.model.types import Address
from dosvm.xml.build import parse

PCI = "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x3' slot='0x00' function='0x0'/></source></hostdev>"
CARD = "<interface type='hostdev'><source><address type='pci' domain='0' bus='3' slot='0' function='0'/></source></interface>"
USB = "<hostdev mode='subsystem' type='usb'><source{}><vendor id='0x0951'/><product id='0x1666'/></source></hostdev>"
BELOW = "devices/pci0000:00/0000:00:01.0/0000:03:00.0"
STICK = "devices/pci0000:00/0000:00:14.0/usb1/1-2"
USES = {
    "/dev/nvme0n1": ["/dev/nvme0n1p2 is mounted on /"],
    "/dev/sda": ["/dev/sda is mounted on /media/stick"],
    "/dev/sdb": ["/dev/sdb is mounted on /elsewhere"],
}


@pytest.fixture
def sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(given, "SYS", tmp_path)
    monkeypatch.setattr(given, "uses", lambda path: USES.get(path, []))
    monkeypatch.setattr(given, "links", lambda: {"eth7": Link(addresses=(Address("192.0.2.7"),)), "eth8": Link()})
    for name in ("bus/pci/devices", "bus/usb/devices", "class/block", "class/net"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def there(sys: Path, place: str, listed: str, **files: str) -> Path:
    """A directory of a device, and where the kernel lists it."""
    made = sys / place
    made.mkdir(parents=True, exist_ok=True)
    (sys / listed).symlink_to(made)
    for name, text in files.items():
        (made / name).write_text(f"{text}\n")
    return made


def refused(*devices: str) -> list[str]:
    return list(given.refused(map(parse, devices)))


def test_a_device_that_is_there_and_idle_is_given(sys: Path) -> None:
    there(sys, BELOW, "bus/pci/devices/0000:03:00.0")
    there(sys, f"{BELOW}/nvme/nvme3/nvme3n1", "class/block/nvme3n1")
    there(sys, f"{BELOW}/net/eth8", "class/net/eth8")
    there(sys, "devices/pci0000:00/0000:00:02.0/ata1/block/sdb", "class/block/sdb")  # of another
    assert refused(PCI) == []


def test_one_that_is_not_there_is_named_with_what_lists_them(sys: Path) -> None:
    assert refused(PCI, USB.format("")) == [
        "there is no device 0000:03:00.0 on this host, write one that lspci -D shows",
        "there is no device 0951:1666 on this host, write one that lsusb shows",
    ]
    assert refused(USB.format(" startupPolicy='optional'")) == []


def test_a_disk_that_is_reached_in_several_ways_is_asked_by_its_own_name(sys: Path) -> None:
    """With several ways to an NVMe disk the kernel hangs only a hidden one below the device, and the disk below none."""
    there(sys, BELOW, "bus/pci/devices/0000:03:00.0")
    there(sys, f"{BELOW}/nvme/nvme1/nvme0c1n1", "class/block/nvme0c1n1")
    there(sys, "devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "class/block/nvme0n1")
    (told,) = refused(PCI)
    assert told == "device 0000:03:00.0 is in use by the host, let it go first: /dev/nvme0n1p2 is mounted on /"


def test_a_card_is_in_use_that_has_an_address_or_carries_something(sys: Path) -> None:
    there(sys, BELOW, "bus/pci/devices/0000:03:00.0")
    there(sys, f"{BELOW}/net/eth7", "class/net/eth7")
    there(sys, f"{BELOW}/net/eth8", "class/net/eth8", upper_br0="")
    (told,) = set(refused(PCI, CARD, "<interface type='bridge'><source bridge='br0'/></interface>"))
    assert told.endswith("let it go first: eth7 has address 192.0.2.7, eth8 is part of br0")


def test_a_stick_is_found_by_vendor_and_product(sys: Path) -> None:
    there(sys, STICK, "bus/usb/devices/1-2", idVendor="0951", idProduct="1666")
    there(sys, f"{STICK}/1-2:1.0", "bus/usb/devices/1-2:1.0")
    there(sys, f"{STICK}/1-2:1.0/host6/block/sda", "class/block/sda")
    there(sys, f"{STICK}/1-2:1.0/host6/block/sda/sda1", "class/block/sda1", partition="1")
    for policy in ("", " startupPolicy='optional'"):
        (told,) = refused(USB.format(policy))
        assert told == "device 0951:1666 is in use by the host, let it go first: /dev/sda is mounted on /media/stick"
