# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt itself can do in this kernel, so that tests which build on it need not find out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Shell = Callable[..., CompletedProcess[str]]
Wait = Callable[[str, Callable[[], bool]], None]

GUEST = Path(__file__).resolve().parents[3] / ".cache" / "guest"

NETWORK = """<network><name>limited</name><forward mode='nat'/><bridge name='virbr7' stp='off' delay='0'/>
<bandwidth><inbound average='1000' peak='2000' burst='1024'/><outbound average='500' peak='1000' burst='1024'/></bandwidth>
<ip address='10.88.0.1' netmask='255.255.255.0'/></network>"""

DOMAIN = """<domain type='qemu'><name>small</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{guest}/vmlinuz</kernel><initrd>{guest}/initrd</initrd>
<cmdline>{cmdline}</cmdline></os><features><acpi/></features><on_poweroff>destroy</on_poweroff>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='network'><source network='limited'/><target dev='small0'/><model type='virtio'/>
<bandwidth><inbound average='300' floor='100'/><outbound average='200'/></bandwidth></interface>
<serial type='file'><source path='/var/log/small.log'/></serial><memballoon model='none'/></devices></domain>"""


@pytest.fixture(scope="module")
def network(sh: Shell, libvirtd: None) -> Iterator[str]:
    Path("/tmp/limited.xml").write_text(NETWORK)
    sh("virsh net-create /tmp/limited.xml")
    yield "limited"
    sh("virsh net-destroy limited")


def test_a_network_with_bandwidth_starts_and_shapes(sh: Shell, network: str) -> None:
    assert "htb" in sh("tc qdisc show dev virbr7").stdout
    assert "sfq" in sh("tc qdisc show dev virbr7").stdout
    assert "police" in sh("tc filter show dev virbr7 parent ffff:").stdout


@pytest.mark.not_emulated("a guest in an emulated machine takes eight minutes to boot")
def test_a_guest_boots_with_limits_on_its_cable(sh: Shell, wait_for: Wait, network: str) -> None:
    """Emulated, in a kernel that is a process: slow to create, since QEMU is asked 250 questions, and then no slower."""
    text = DOMAIN.format(guest=GUEST, cmdline=(GUEST / "cmdline").read_text().strip())
    Path("/tmp/small.xml").write_text(text)
    sh("virsh create /tmp/small.xml")
    try:
        assert "rate 2400Kbit" in sh("tc class show dev small0").stdout
        log = Path("/var/log/small.log")
        wait_for("the guest says something", lambda: "login" in log.read_text() or "is up" in log.read_text())
        sh("virsh domiftune small small0 --inbound 500,1000,512 --live")
        assert "rate 4Mbit" in sh("tc class show dev small0").stdout
    finally:
        print(Path("/var/log/small.log").read_text()[-3000:])
        sh("virsh destroy small", check=False)
