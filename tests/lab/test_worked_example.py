# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine of section 15.7 of the requirements, declared word for word but for kvm, which a lab's hosts lack: it starts (INST-14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree
from namespaces.host import Host
from namespaces.lab import Lab
from test_bridges import Declared
from test_site import changed, domains

FOLDER, ISO = "/srv/shared/worked", "/srv/shared/worked.iso"
NOTHING: dict[str, Any] = {"dos_site": "worked"}
WORKED: dict[str, Any] = {
    **NOTHING,
    "dos_projects": {"p": {}},
    "dos_pools": {"worked": {"path": FOLDER, "shared": True}},
    "dos_volumes": {"xp": {"pool": "worked", "capacity": "64 MiB", "project": "p"}},
    "dos_images": {"xp-cd": {"file": ISO, "format": "raw", "shared": True}},
    "dos_networks": {"office": {"type": "bridge", "bridge": "linux-office", "forward_interface": "eth1", "stp": False}},
    "dos_instances": {
        "test": {
            "project": "p",
            "machine": "pc",
            "boot_menu": True,
            "boot_menu_timeout": 10000,
            "vcpus": 1,
            "memory": "1 GiB",
            "stop_timeout": 0,
            "disks": [
                {
                    "volume": "xp",
                    "cache": "writeback",
                    "copy_on_read": False,
                    "startup_policy": "optional",
                    "bus": "sata",
                },
                {
                    "device": "cdrom",
                    "image": "xp-cd",
                    "startup_policy": "mandatory",
                    "relabel": True,
                    "bus": "ide",
                    "tray": "closed",
                },
            ],
            "graphics": [{"type": "vnc", "share_policy": "ignore", "listen": "0.0.0.0"}],
            "interfaces": [{"network": "office", "model": "rtl8139", "link": "up"}],
            "xml": [
                "<domain><features><acpi/></features></domain>",
                """<devices><serial type="pty"><target port="0"/></serial>
                <video><model type="vmvga" vram="10240" heads="1"/>
                <address type="pci" domain="0x0000" bus="0x00" slot="0x02" function="0x0"/></video></devices>""",
            ],
            "vms": {"test-vm": {}},
        }
    },
}
# Relabelling is what libvirt does unasked, and so does not write; it rounds the memory of a video card up to a power of two.
HAS = (
    "os/bootmenu[@enable='yes'][@timeout='10000']",
    "devices/disk[target/@bus='sata'][driver/@cache='writeback'][source/@startupPolicy='optional'][not(readonly)]",
    "devices/disk[@device='cdrom'][target/@bus='ide'][source/@startupPolicy='mandatory'][readonly]",
    "devices/graphics[@type='vnc'][@autoport='yes'][@sharePolicy='ignore'][@listen='0.0.0.0'][not(@passwd)]",
    "devices/interface[model/@type='rtl8139'][not(link) or link/@state='up']",
    "devices/serial[@type='pty'][target/@port='0']",
    "devices/video[model/@type='vmvga'][model/@vram='16384'][model/@heads='1'][address/@slot='0x02']",
    "features/acpi",
)


@pytest.fixture
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Declared]:
    made = Declared(lab, tmp_path_factory.mktemp("worked"))
    lab.host("h1").run("truncate", "--size=2M", ISO)
    try:
        yield made
    finally:
        made.declare(NOTHING)
        made.done("dos.vm.site", {"dos_prune": True, "dos_allow": [{"data_loss": ["volume worked/xp"]}]})
        for host in lab.hosts():
            assert not host.run("sh", "-c", f"rm -rf {ISO} {FOLDER}; ls /etc/dos-vm/bridges 2>/dev/null; true").stdout


def test_it_is_accepted_and_starts(site: Declared, hosts: dict[str, Host]) -> None:
    site.declare(WORKED)
    site.done("dos.vm.site")
    (host,) = (host for host in hosts.values() if "test-vm" in domains(host))
    running = etree.fromstring(host.run("virsh", "dumpxml", "test-vm").stdout)
    assert [path for path in HAS if not running.xpath(path)] == []
    assert changed(site.done("dos.vm.site")) == 0
