# SPDX-License-Identifier: GPL-3.0-or-later
"""A PCI device that a guest has to itself: a disk behind an IOMMU, which the guest boots from and writes to, and the host has again.

The guest is its firmware and the 512 bytes that it finds: more would take minutes in an emulated machine.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from made import Host, plan_of

from dosvm.hypervisor.power import carry_out
from dosvm.model.decode import decode
from dosvm.model.order import Ordering

pytestmark = pytest.mark.emulated

Shell = Callable[..., CompletedProcess[str]]
Wait = Callable[[str, Callable[[], bool]], None]

SECTOR = 512
ORIGIN = 0x7C00  # where firmware puts the first sector, and jumps to
SAID = "booted from a device of the host"
DISK, PLACE = Path("/dev/nvme0n1"), "0000:01:00.0"  # kernels/tcg.py
DEVICE = """<hostdev mode='subsystem' type='pci' managed='yes'><source>
<address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source><alias name='ua-disk'/></hostdev>"""
CARD = "eth0"  # what this kernel is reached by
DEVICES = Path("/sys/bus/pci/devices")
LOG = Path("/var/log/libvirt/qemu/guest-serial.log")


def first_sector() -> bytes:
    """A program that says `SAID` on the first serial port, and then writes itself to the second sector of the disk it came from.

    The disk's number is in dl. It is written by function 43h of interrupt 13h, which takes a packet: its size, sectors, where they
    are in memory, the first of them on the disk.
    """
    begin = bytes.fromhex("31c0 8ed8 88d3")  # ds = 0; bl = dl
    say = bytes.fromhex("ac 84c0 7406 baf803 ee ebf5")  # al = [si++]; at 0 go on; out 3f8h, al; again
    write = bytes.fromhex("b80043 88da cd13")  # ax = 4300h; dl = bl; int 13h
    halt = bytes.fromhex("f4 ebfd")
    packet_at = ORIGIN + len(begin) + len(say) + len(write) + len(halt) + 2 * len(set_si(0))
    packet = struct.pack("<BBHHHQ", 16, 0, 1, ORIGIN, 0, 1)
    code = begin + set_si(packet_at + len(packet)) + say + set_si(packet_at) + write + halt + packet
    return (code + SAID.encode() + b"\0").ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def set_si(value: int) -> bytes:
    return b"\xbe" + struct.pack("<H", value)


def machine(name: str = "guest", **more: Any) -> dict[str, Any]:
    given = [{"pci": PLACE, "boot_order": 1}]
    serial = {"log": str(LOG)} if name == "guest" else {}
    return {
        "name": name,
        "mark": {"site": "test"},
        "machine": "pc",
        "memory": "64 MiB",
        "stop_timeout": 0,
        "serial": serial,
        "host_devices": given,
    } | more


def ordered(host: Host, order: str, device: str | None = None) -> str:
    """Why it was refused, if it was."""
    asked = decode(Ordering, {"names": ["guest"], "order": order, "device": device, "site": "test"})
    (answer,) = carry_out(asked, host.hypervisor, dry_run=False, now=time.time())
    return answer.refused


def driver(place: str = PLACE) -> str:
    return (DEVICES / place / "driver").resolve().name


def place_of(card: str) -> str:
    return next(part for part in reversed(Path("/sys/class/net", card).resolve().parts) if part.count(":") == 2)


@pytest.fixture
def host(libvirtd: None, sh: Shell) -> Iterator[Host]:
    sh("modprobe vfio-pci")
    held = Host()
    yield held
    assert held.converge(allow={"prune": True}).failures == ()
    assert driver() == "nvme"
    held.hypervisor.close()


def test_a_guest_boots_from_a_device_and_the_host_has_it_again(host: Host, wait_for: Wait) -> None:
    """HOT-07: taken from its driver when the machine starts, and given back when it stops; the rest waits for a restart."""
    DISK.write_bytes(first_sector())
    host.made(domains=[machine()])
    assert driver() == "vfio-pci"
    assert not DISK.exists()
    wait_for("the guest boots from it", lambda: SAID in LOG.read_text())

    other = host.converge(domains=[machine(), machine("other")])
    (failure,) = other.failures
    assert failure[0] == "domain other"
    assert PLACE in failure[1]
    assert "in use by driver QEMU, domain guest" in failure[1]

    without = host.converge(domains=[machine(host_devices=[])])
    assert without.failures == ()
    assert plan_of(without, "domain guest").pending
    assert driver() == "vfio-pci"

    host.made(domains=[machine(active=False)], allow={"prune": True})
    wait_for("the host has its disk again", DISK.exists)
    assert driver() == "nvme"
    with DISK.open("rb") as disk:
        assert disk.read(SECTOR) == first_sector()
        assert disk.read(SECTOR) == first_sector(), "the guest wrote nothing"


def test_what_the_host_uses_is_not_taken_from_it(host: Host, sh: Shell) -> None:
    """libvirt would: a file system would be gone under its files, and with the card this kernel."""
    card = place_of(CARD)
    sh(f"mkfs.ext4 -q {DISK}; mkdir -p /srv/own; mount {DISK} /srv/own; echo precious >/srv/own/file")
    try:
        both = [{"pci": PLACE}, {"pci": card}]
        (failure,) = host.converge(domains=[machine(host_devices=both)]).failures
        assert failure[0] == "domain guest"
        assert f"device {PLACE} is in use by the host, let it go first: {DISK} is mounted on /srv/own" in failure[1]
        assert f"device {card} is in use by the host, let it go first: {CARD} has address 10.79." in failure[1]
        assert (driver(), driver(card)) == ("nvme", "virtio-pci")
        sh("echo 3 >/proc/sys/vm/drop_caches")
        assert Path("/srv/own/file").read_text() == "precious\n"
    finally:
        sh(f"umount /srv/own; wipefs -qa {DISK}")


def test_an_order_gives_what_is_idle_and_nothing_else(host: Host, sh: Shell, wait_for: Wait) -> None:
    """HOT-01, HOT-07: to a machine that runs. Its firmware does not let go of it again, so it is stopped for that."""
    host.made(domains=[machine(host_devices=[])])
    sh(f"mkfs.ext4 -q {DISK}; mkdir -p /srv/own; mount {DISK} /srv/own")
    try:
        assert f"{DISK} is mounted on /srv/own" in ordered(host, "attach", DEVICE)
        assert driver() == "nvme"
    finally:
        sh(f"umount /srv/own; wipefs -qa {DISK}")
    assert ordered(host, "attach", DEVICE) == ""
    assert driver() == "vfio-pci"
    assert not host.converge(domains=[machine(host_devices=[])]).changed
    assert ordered(host, "stop") == ""
    wait_for("the host has its disk again", DISK.exists)
    assert ordered(host, "detach", DEVICE) == ""
    assert "<hostdev" not in sh("virsh dumpxml guest").stdout


def test_a_device_that_is_not_there_is_named(host: Host) -> None:
    (failure,) = host.converge(domains=[machine(host_devices=[{"pci": "0000:09:00.0"}])]).failures
    assert failure[0] == "domain guest"
    assert failure[1].endswith("there is no device 0000:09:00.0 on this host, write one that lspci -D shows")
