# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest without a disk boots from its network: DHCP names a file, TFTP has it, and a kernel comes up (SUBN-T1.11, SUBN-T2.1)."""

from __future__ import annotations

from pathlib import Path

import guests
from guests import said

from dosvm.hypervisor.libvirt import LibvirtHypervisor

GUEST, SERVER = "192.168.237.11", "192.168.237.1"
# What iPXE, the boot ROM of QEMU's cards, runs: https://ipxe.org/scripting.
SCRIPT = """#!ipxe
kernel vmlinuz {cmdline}
initrd initrd
boot
"""


def test_a_guest_boots_from_the_network(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
    script = folder / "start.ipxe"
    script.write_text(SCRIPT.format(cmdline=(folder / "cmdline").read_text().strip() + " initrd=initrd"))
    script.chmod(0o644)
    cloud = guests.Cloud(hypervisor, prefix, folder)
    lan = f"{prefix}lan"
    machine = cloud.machine("diskless", {"network": lan, "ip": GUEST, "boot_rom": True}, memory="256 MiB")
    for local in ("kernel", "initrd", "cmdline"):
        del machine[local]
    cloud.declared |= {
        "dos_subnets": {
            lan: {
                "address": "192.168.237.0/24",
                "gateway": SERVER,
                "dhcp": {"boot_file": script.name},
                "tftp": str(folder),
            }
        },
        "dos_networks": {lan: {"type": "isolated", "subnet": lan, "bridge": f"{prefix}br"}},
        "dos_instances": {"diskless": {**machine, "serial": {"log": True}}},
    }
    log = Path(f"/var/log/libvirt/qemu/{prefix}diskless-serial.log")
    try:
        cloud.converge()
        assert cloud.converge() == []
        told = said(log, "has a lease", seconds=240)
        assert f"eth0 {GUEST}/" in told
    finally:
        log.unlink(missing_ok=True)
