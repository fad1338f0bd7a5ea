# SPDX-License-Identifier: GPL-3.0-or-later
"""Export for real: objects that `virsh` made, with much that no field of ours says, become files whose plan is empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
SITE = "ex-site"
HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.skipif(os.geteuid() != 0, reason="qemu:///system is for root here"),
    pytest.mark.skipif(not Path("/usr/sbin/libvirtd").exists(), reason="no libvirtd (tools/apt.txt names the package)"),
]

NETWORK = """
<network>
  <name>ex-net</name>
  <metadata><they:own xmlns:they="urn:somebody:else" kept="yes"/></metadata>
  <forward mode="nat"><nat ipv6="yes"/></forward>
  <bridge name="exbr0" stp="on" delay="0"/>
  <domain name="ex.example"/>
  <ip address="192.168.219.1" netmask="255.255.255.0" localPtr="yes">
    <dhcp>
      <range start="192.168.219.10" end="192.168.219.20"><lease expiry="1" unit="hours"/></range>
      <host mac="52:54:00:00:e0:01" name="one" ip="192.168.219.5"/>
    </dhcp>
  </ip>
  <ip family="ipv6" address="fd00:e0::1" prefix="64"/>
</network>
"""
FILTER = """
<filter name="ex-filter" chain="root">
  <filterref filter="clean-traffic"/>
  <rule action="accept" direction="in" priority="300"><tcp dstportstart="22" connlimit-above="3"/></rule>
  <rule action="drop" direction="inout"><igmp/></rule>
</filter>
"""
POOL = "<pool type='dir'><name>ex-pool</name><target><path>{path}</path></target></pool>"
BASE = "<volume><name>ex-base.qcow2</name><capacity unit='MiB'>16</capacity><target><format type='qcow2'/></target></volume>"
LAYER = """
<volume><name>ex-layer.qcow2</name><capacity unit='MiB'>32</capacity><target><format type='qcow2'/></target>
<backingStore><path>{path}/ex-base.qcow2</path><format type='qcow2'/></backingStore></volume>
"""
# Tuning, firmware tables, a watchdog, somebody's metadata, a second console, sound, a floppy, exotic cards and disks.
DOMAINS = (
    """
<domain type="qemu">
  <name>ex-one</name><title>First</title>
  <metadata><they:own xmlns:they="urn:somebody:else" app="{{{{ not.a.template }}}}"/></metadata>
  <memory unit="MiB">64</memory><currentMemory unit="MiB">48</currentMemory>
  <vcpu current="1">2</vcpu>
  <memtune><hard_limit unit="MiB">512</hard_limit></memtune>
  <cputune><shares>2048</shares></cputune>
  <sysinfo type="smbios"><system><entry name="serial">X-1</entry></system></sysinfo>
  <os><type arch="x86_64" machine="q35">hvm</type><boot dev="cdrom"/><boot dev="hd"/><smbios mode="sysinfo"/></os>
  <features><acpi/><pae/></features>
  <clock offset="utc"><timer name="rtc" tickpolicy="catchup"/></clock>
  <on_crash>restart</on_crash>
  <devices>
    <disk type="volume" device="disk"><driver name="qemu" type="qcow2" io="threads"/>
      <source pool="ex-pool" volume="ex-layer.qcow2"/><target dev="vda" bus="virtio"/>
      <iotune><total_iops_sec>500</total_iops_sec></iotune></disk>
    <disk type="file" device="cdrom"><target dev="sda" bus="sata"/><readonly/></disk>
    <interface type="network"><mac address="52:54:00:00:e0:01"/><source network="ex-net"/><model type="virtio"/>
      <filterref filter="ex-filter"/><coalesce><rx><frames max="7"/></rx></coalesce></interface>
    <watchdog model="i6300esb" action="poweroff"/>
    <graphics type="vnc" autoport="yes" listen="127.0.0.1"/>
    <sound model="ich9"/>
  </devices>
</domain>
""",
    """
<domain type="qemu">
  <name>ex-two</name><memory unit="MiB">32</memory><vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type><bootmenu enable="yes" timeout="3000"/></os>
  <features><acpi/><apic/><hyperv><relaxed state="on"/></hyperv></features>
  <clock offset="variable" adjustment="3600" basis="utc"/>
  <devices>
    <disk type="file" device="disk"><driver name="qemu" type="raw" cache="none"/>
      <source file="{path}/plain.img"/><target dev="hda" bus="ide"/></disk>
    <disk type="block" device="disk"><driver name="qemu" type="raw"/><source dev="/dev/null"/><target dev="hdb" bus="ide"/></disk>
    <disk type="file" device="floppy"><driver name="qemu" type="raw"/><source file="{path}/plain.flp"/><target dev="fda" bus="fdc"/></disk>
    <interface type="user"><mac address="52:54:00:00:e0:02"/><model type="e1000"/></interface>
    <interface type="network"><mac address="52:54:00:00:e0:03"/><source network="ex-absent"/><model type="rtl8139"/></interface>
    <serial type="unix"><source mode="bind" path="/tmp/ex-two.sock"/></serial>
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
    <channel type="spicevmc"><target type="virtio" name="com.redhat.spice.0"/></channel>
    <graphics type="spice" autoport="yes"><listen type="none"/></graphics>
    <memballoon model="none"/>
  </devices>
</domain>
""",
    """
<domain type="qemu" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>ex-three</name><memory unit="MiB">32</memory><vcpu>1</vcpu>
  <os><type arch="x86_64" machine="q35">hvm</type><boot dev="hd"/></os>
  <devices>
    <controller type="scsi" index="0" model="virtio-scsi"/>
    <disk type="file" device="disk"><driver name="qemu" type="qcow2" discard="unmap"/>
      <source file="{path}/ex-base.qcow2"/><target dev="sda" bus="scsi"/><wwn>5000c50015ea71ac</wwn><readonly/></disk>
    <rng model="virtio"><rate bytes="1000" period="2000"/><backend model="random">/dev/urandom</backend></rng>
    <rng model="virtio"><backend model="builtin"/></rng>
    <panic model="isa"/>
  </devices>
  <qemu:commandline><qemu:arg value="-no-user-config"/></qemu:commandline>
</domain>
""",
)


def virsh(*words: str, check: bool = True, text: str | None = None) -> str:
    done = subprocess.run(
        ["virsh", "-q", "-c", "qemu:///system", *words], check=False, capture_output=True, text=True, input=text
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def forget() -> None:
    for name in ("ex-one", "ex-two", "ex-three"):
        virsh("undefine", name, check=False)
    for command in ("net-destroy", "net-undefine"):
        virsh(command, "ex-net", check=False)
    virsh("nwfilter-undefine", "ex-filter", check=False)
    for command in ("pool-destroy", "pool-undefine"):
        virsh(command, "ex-pool", check=False)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An inventory of this machine, which holds what somebody made with virsh."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "hosts.yml").write_text(
        yaml.safe_dump({"dos_hosts": {"hosts": {"here": HERE}, "vars": {"dos_site": SITE}}})
    )
    forget()
    try:
        made(folder / "files")
        yield folder
    finally:
        forget()


def made(path: Path) -> None:
    path.mkdir()
    (path / "plain.img").write_bytes(b"\0" * 2**20)
    define = {"pool-define": (POOL,), "net-define": (NETWORK,), "nwfilter-define": (FILTER,), "define": DOMAINS}
    virsh("pool-define", "/dev/stdin", text=POOL.format(path=path))
    virsh("pool-start", "ex-pool")
    for text in (BASE, LAYER.format(path=path)):
        virsh("vol-create", "ex-pool", "/dev/stdin", text=text)
    for command, texts in list(define.items())[1:]:
        for text in texts:
            virsh(command, "/dev/stdin", text=text.format(path=path))
    virsh("autostart", "ex-two")


def play(inventory: Path, book: str, *words: str) -> str:
    done = subprocess.run(
        [PLAYBOOK, "-i", inventory / "hosts.yml", f"dos.vm.{book}", *words],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def planned(inventory: Path) -> list[dict[str, Any]]:
    """What the plan says of our objects, beyond that they are not ours."""
    play(inventory, "plan", "-e", f"dos_plan_file={inventory}/plan.json")
    plans = json.loads((inventory / "plan.json").read_text())["hosts"]["here"]
    return [plan for plan in plans if "ex-" in plan["name"] and plan["verdict"] != "unmanaged"]


@pytest.fixture(scope="module")
def exported(inventory: Path) -> Path:
    folder = inventory / "group_vars" / "dos_hosts"
    said = play(inventory, "export", "-e", f"dos_export_dir={folder}", "-e", "dos_export_only=unmanaged")
    assert not [
        line for line in said.splitlines() if "ex-" in line and ("not empty:" in line or "left out:" in line)
    ], said
    return folder


def read(folder: Path) -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yml")):
        for name, held in yaml.load(path.read_text(), Loader).items():
            found.setdefault(name.partition("__")[0], {}).update(held)
    return found


def test_everything_is_written_in_the_words_of_a_site(exported: Path) -> None:
    site = read(exported)
    assert {"ex-layer.qcow2", "ex-base.qcow2"} <= site["dos_volumes"].keys()
    assert site["dos_volumes"]["ex-layer.qcow2"]["base"] == "ex-base.qcow2"
    one, two = site["dos_instances"]["ex-one"], site["dos_instances"]["ex-two"]
    assert one["disks"][0]["volume"] == "ex-layer.qcow2"
    assert one["interfaces"] == [{"network": "ex-net", "mac": "52:54:00:00:e0:01", "security_group": "ex-filter"}]
    assert one["vms"] == {"ex-one": {"power": "off"}}
    assert two["on_boot"] == "start"
    assert one["watchdog"]["action"] == "poweroff"
    for words in ("memtune", "sysinfo", "urn:somebody:else", "iotune", "{{ not.a.template }}"):
        assert words in one["xml"][0]
    assert site["dos_images"][two["disks"][0]["image"]]["read_only"] is False


def test_the_plan_of_what_was_exported_is_empty(inventory: Path, exported: Path) -> None:
    assert planned(inventory) == []


def test_one_changed_value_is_all_that_the_plan_shows(inventory: Path, exported: Path) -> None:
    path = exported / "here.yml"
    before = path.read_text()
    try:
        path.write_text(before.replace("    memory: 48 MiB", "    memory: 56 MiB"))
        play(inventory, "plan", "-e", f"dos_plan_file={inventory}/plan.json", "-e", "dos_adopt=true")
        plans = json.loads((inventory / "plan.json").read_text())["hosts"]["here"]
        changed = {
            plan["name"]: [held["path"] for held in plan["changes"]] for plan in plans if plan["name"] == "ex-one"
        }
    finally:
        path.write_text(before)
    # What is taken over gets our mark besides.
    assert list(changed) == ["ex-one"]
    assert [path for path in changed["ex-one"] if not path.startswith("mark.")] == ["memory"]


def test_exporting_again_says_the_same(inventory: Path, exported: Path, tmp_path: Path) -> None:
    play(inventory, "export", "-e", f"dos_export_dir={tmp_path}", "-e", "dos_export_only=unmanaged")
    assert ours(read(tmp_path)) == ours(read(exported))


def ours(site: dict[str, Any]) -> dict[str, Any]:
    return {kind: {name: data for name, data in held.items() if name.startswith("ex-")} for kind, held in site.items()}
