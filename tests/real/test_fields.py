# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of section 15 on a real libvirt: each value that may be declared is in the definition that libvirt keeps.

A row is what the requirement is called, what is declared for it, and what must then be in libvirt's own XML, which it has checked
by its schema. What a row is silent about is the product's word, and then the row proves that.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from dosvm._thirdparty import libvirt
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.domain import Domain
from dosvm.xml.build import parse, to_text
from dosvm.xml.domain import render

pytestmark = pytest.mark.libvirt

Row = tuple[str, dict[str, Any], str]
DISK = {"file": "/srv/a.raw", "format": "raw"}


def disk(**said: Any) -> dict[str, Any]:
    return {"disks": [{**DISK, **said}]}


def drive(**said: Any) -> dict[str, Any]:
    return {"disks": [{"device": "cdrom", **said}]}


def console(**said: Any) -> dict[str, Any]:
    return {"graphics": [said]}


def spice(**said: Any) -> dict[str, Any]:
    return console(type="spice", **said)


def card(**said: Any) -> dict[str, Any]:
    return {"interfaces": [{"network": "lan", **said}]}


INSTANCES: tuple[Row, ...] = (
    ("INST-T1.1", {"arch": "i686", "machine": "pc"}, "os/type[@arch='i686']"),
    ("INST-T1.1", {}, "os/type[@arch='x86_64']"),
    ("INST-T1.2", {"virt_type": "qemu"}, "self::domain[@type='qemu']"),
    ("INST-T1.3", {"machine": "pc"}, "os/type[starts-with(@machine, 'pc-i440fx')]"),
    ("INST-T1.3", {}, "os/type[starts-with(@machine, 'pc-q35')]"),
    (
        "INST-T1.4",
        {"boot": ["network", "fd", "hd"]},
        "os[boot[1]/@dev='network'][boot[2]/@dev='fd'][boot[3]/@dev='hd']",
    ),
    ("INST-T1.5", {"boot_menu": True}, "os/bootmenu[@enable='yes'][not(@timeout)]"),
    ("INST-T1.5", {}, "os[not(bootmenu) or bootmenu/@enable='no']"),
    ("INST-T1.6", {"boot_menu": True, "boot_menu_timeout": 10000}, "os/bootmenu[@timeout='10000']"),
    ("INST-T1.7", {"bios_serial": True}, "os/bios[@useserial='yes']"),
    ("INST-T1.8", {"reboot_timeout": 1500}, "os/bios[@rebootTimeout='1500']"),
    ("INST-T1.8", {}, "os[not(bios/@rebootTimeout) or bios/@rebootTimeout='-1']"),
    ("INST-T1.9", {"vcpus": 7}, "vcpu[.='7']"),
    ("INST-T1.9", {}, "vcpu[.='1']"),
    ("INST-T1.10", {"memory": "1 GB"}, "memory[.='976896']"),  # 10^9 bytes, in whole MiB, as QEMU has it
    ("INST-T1.10", {"memory": "1 GiB"}, "memory[.='1048576']"),
    ("INST-T1.11", {"tablet": True}, "devices/input[@type='tablet'][@bus='usb']"),
    ("INST-T1.11", {"graphics": [{}], "guest": "windows"}, "devices/input[@type='tablet']"),
    ("INST-T1.11", {"graphics": [{}], "tablet": False, "guest": "windows"}, "devices[not(input/@type='tablet')]"),
)
DISKS: tuple[Row, ...] = (
    ("DISK-T1.1, DISK-T1.10, DISK-T1.11", {"disks": [{"pool": "p", "volume": "v", "format": "qcow2"}]}, "devices/disk[@type='volume'][@device='disk']/source[@pool='p'][@volume='v']"),
    ("DISK-T1.2, DISK-T1.13", drive(**DISK), "devices/disk[@type='file'][@device='cdrom']/source[@file='/srv/a.raw']"),
    *(
        ("DISK-T1.3", disk(cache=mode), f"devices/disk/driver[@cache='{mode}']")
        for mode in ("none", "directsync", "unsafe", "writeback", "writethrough")
    ),
    ("DISK-T1.3, DOMX-14", disk(), "devices/disk/driver[@type='raw'][not(@cache)]"),
    ("DISK-T1.3", disk(cache="default"), "devices/disk/driver[not(@cache) or @cache='default']"),
    ("DISK-T1.4, DISK-05", disk(copy_on_read=True, format="qcow2"), "devices/disk/driver[@copy_on_read='on']"),
    ("DISK-T1.4", disk(), "devices/disk/driver[not(@copy_on_read)]"),
    *(("DISK-T1.5", disk(bus=bus), f"devices/disk/target[@bus='{bus}']") for bus in ("sata", "scsi", "usb", "virtio")),
    ("DISK-T1.5", {"machine": "pc", **disk(bus="ide")}, "devices/disk/target[@bus='ide'][@dev='hda']"),
    ("DISK-T1.6", disk(bus="sata", target="sdc"), "devices/disk/target[@dev='sdc']"),
    ("DISK-T1.7", drive(tray="open"), "devices/disk/target[@tray='open']"),
    ("DISK-T1.7", drive(), "devices/disk/target[not(@tray) or @tray='closed']"),
    ("DISK-T1.8", disk(bus="usb", removable=True), "devices/disk/target[@removable='on']"),
    ("DISK-T1.9", disk(read_only=True), "devices/disk[@device='disk'][readonly]"),
    ("DISK-T1.9, DISK-03", drive(), "devices/disk[@device='cdrom'][readonly]"),
    ("DISK-03", disk(), "devices/disk[not(readonly)]"),
    ("DISK-T1.12", disk(startup_policy="mandatory"), "devices/disk/source[@startupPolicy='mandatory']"),
    ("DISK-T1.12", disk(startup_policy="optional"), "devices/disk/source[@startupPolicy='optional']"),
    ("DISK-T1.12", drive(**DISK, startup_policy="requisite"), "devices/disk/source[@startupPolicy='requisite']"),
    ("DISK-T1.14", disk(relabel=False), "devices/disk/source/seclabel[@relabel='no']"),
    ("DISK-02", {"guest": "windows", **disk()}, "devices/disk/target[@bus='sata']"),
    ("DOMX-06", disk(), "devices/disk/target[@bus='virtio'][@dev='vda']"),
    ("DOMX-06", {"machine": "pc", **drive()}, "devices/disk[@device='cdrom']/target[@bus='ide']"),
    ("DOMX-13", disk(cache="none", serial="volume-1", boot_order=1), "devices/disk[driver/@cache='none'][serial='volume-1'][boot/@order='1']"),
    ("IMG-13", {"scsi_model": "virtio-scsi", **disk(bus="scsi")}, "devices/controller[@type='scsi'][@model='virtio-scsi']"),
)  # fmt: skip
CONSOLES: tuple[Row, ...] = (
    ("GFX-T1.1", console(), "devices/graphics[@type='vnc']"),
    ("GFX-T1.1", spice(), "devices/graphics[@type='spice']"),
    ("GFX-T1.2", console(), "devices/graphics[@autoport='yes']"),
    ("GFX-T1.3, GFX-01", console(port=5999), "devices/graphics[@port='5999'][not(@autoport='yes')]"),
    ("GFX-T1.5", console(password="p", password_valid_to="2030-01-01T00:00:00"), "devices/graphics[starts-with(@passwdValidTo, '2030-01-01')]"),
    ("GFX-T1.6", console(password="p", keep_connections=True), "devices/graphics[@connected='keep']"),
    *(
        ("GFX-T1.7", console(share_policy=policy), f"devices/graphics[@sharePolicy='{policy}']")
        for policy in ("allow-exclusive", "force-shared", "ignore")
    ),
    ("GFX-T1.8", console(listen="0.0.0.0"), "devices/graphics/listen[@address='0.0.0.0']"),
    ("GFX-T1.8, LVD-02", console(), "devices/graphics/listen[@address='127.0.0.1']"),
    ("GFX-05", console(keymap="en-us"), "devices/graphics[@keymap='en-us']"),
    ("GFX-T1.10, GFX-06", spice(default_mode="insecure"), "devices/graphics[@defaultMode='insecure']"),
    ("GFX-T1.10", spice(), "devices/graphics[not(@defaultMode) or @defaultMode='any']"),
    ("GFX-T1.11, GFX-T1.12", spice(channels={"main": "insecure", "inputs": "any"}), "devices/graphics[channel[@name='main'][@mode='insecure']][not(channel[@name='inputs'])]"),
    *(
        ("GFX-T1.13", spice(image_compression=how), f"devices/graphics/image[@compression='{how}']")
        for how in ("auto_glz", "auto_lz", "quic", "glz", "lz", "off")
    ),
    *(("GFX-T1.14", spice(jpeg_compression=how), f"devices/graphics/jpeg[@compression='{how}']") for how in ("auto", "never", "always")),
    *(("GFX-T1.15", spice(zlib_compression=how), f"devices/graphics/zlib[@compression='{how}']") for how in ("auto", "never", "always")),
    ("GFX-T1.16", spice(playback_compression=True), "devices/graphics/playback[@compression='on']"),
    ("GFX-T1.16", spice(playback_compression=False), "devices/graphics/playback[@compression='off']"),
    *(("GFX-T1.17", spice(streaming=how), f"devices/graphics/streaming[@mode='{how}']") for how in ("filter", "all", "off")),
    ("GFX-T1.18", spice(file_transfer=False), "devices/graphics/filetransfer[@enable='no']"),
    ("DOMX-11", spice(), "devices/video/model[@type='qxl']"),
    ("DOMX-11", console(), "devices/video/model[@type='vga']"),
)  # fmt: skip
CARDS: tuple[Row, ...] = (
    ("NIC-T1.1", card(), "devices/interface[@type='network']/source[@network='lan']"),
    ("NIC-T1.2", card(port_group="g"), "devices/interface/source[@portgroup='g']"),
    ("NIC-T1.3", card(mac="52:54:00:AA:00:01"), "devices/interface/mac[@address='52:54:00:aa:00:01']"),
    ("NIC-T1.4", card(tap="tap7"), "devices/interface/target[@dev='tap7']"),
    ("NIC-T1.5", card(filter="clean-traffic"), "devices/interface/filterref[@filter='clean-traffic']"),
    *(
        ("NIC-T1.6", card(model=model), f"devices/interface/model[@type='{model}']")
        for model in ("virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3")
    ),
    ("NIC-T1.6, DOMX-07", card(), "devices/interface/model[@type='virtio']"),
    ("DOMX-07", {"guest": "windows", **card()}, "devices/interface/model[@type='e1000e']"),
    ("NIC-T1.7", card(link="down"), "devices/interface/link[@state='down']"),
    ("NIC-T1.7", card(), "devices/interface[not(link) or link/@state='up']"),
)
REST: tuple[Row, ...] = (
    ("CUST-T1.3", {"xml": ["<domain><features><pae/></features></domain>"]}, "features[acpi][pae]"),
    ("CUST-T1.4", {"xml": ["<devices><serial type='pty'><target port='1'/></serial><video><model type='vmvga'/></video></devices>"]}, "devices[video/model/@type='vmvga']/serial[@type='pty']"),
    ("DOMX-05", {}, "clock[@offset='utc']"),
    ("DOMX-05", {"guest": "windows"}, "clock[@offset='localtime']"),
    ("DOMX-08", {}, "features[acpi][apic]"),
    ("DOMX-09", {"cpu": {"mode": "host-model", "sockets": 2, "cores": 2, "threads": 1}, "vcpus": 4}, "cpu[@mode='host-model']/topology[@sockets='2'][@cores='2'][@threads='1']"),
    ("DOMX-09", {"cpuset": "0"}, "vcpu[@cpuset='0']"),
    ("DOMX-10", {"serial": {"log": "/var/log/libvirt/qemu/kd.log"}}, "devices/serial[@type='pty']/log[@file='/var/log/libvirt/qemu/kd.log']"),
    ("DOMX-12", {"balloon_period": 10}, "devices/memballoon[@model='virtio']/stats[@period='10']"),
    ("DOMX-12", {}, "devices/memballoon[@model='virtio'][not(stats)]"),
)  # fmt: skip


@pytest.mark.parametrize(("requirement", "said", "expected"), [*INSTANCES, *DISKS, *CONSOLES, *CARDS, *REST])
def test_what_is_declared_is_what_libvirt_keeps(
    hypervisor: LibvirtHypervisor, requirement: str, said: dict[str, Any], expected: str
) -> None:
    name = f"kd-{uuid.uuid4().hex[:10]}"
    declared = decode(Domain, {"name": name, "virt_type": "qemu", "memory": "64 MiB", **said})
    held = hypervisor._connection.defineXMLFlags(to_text(render(declared)), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    try:
        kept = held.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    finally:
        held.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    assert parse(kept).xpath(expected), f"{requirement}: {expected} is not in\n{kept}"
