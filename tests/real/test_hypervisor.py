# SPDX-License-Identifier: GPL-3.0-or-later
"""Each action on this machine's own libvirt and QEMU: what we say was done is what the host then has."""

from __future__ import annotations

import multiprocessing
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libvirt
import pytest

from dosvm.errors import DeclarationError, HypervisorError, InternalError
from dosvm.hypervisor import look
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address, KindName, own_uuid
from dosvm.plan.action import (
    Action,
    AttachDevice,
    Build,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    Replug,
    ResizeVolume,
    SetAutostart,
    SetSecretValue,
    Start,
    Stop,
    Undefine,
    UpdateDevice,
    UpdateNetwork,
)
from dosvm.plan.plan import Observed

pytestmark = pytest.mark.libvirt

MARK = '<metadata><dos:object xmlns:dos="urn:dos:vm:1" site="test"/></metadata>'
MIB = 2**20


class Host:
    """The hypervisor under test, with the words that these tests repeat."""

    def __init__(self, hypervisor: LibvirtHypervisor, prefix: str, directory: Path) -> None:
        self.hypervisor, self.prefix, self.directory = hypervisor, prefix, directory

    def address(self, kind: KindName, name: str = "") -> Address:
        return Address(kind, self.prefix + name)

    def do(self, *actions: Action, **secrets: bytes) -> None:
        for action in actions:
            self.hypervisor.perform(action, secrets)

    def see(self, address: Address) -> Observed:
        return self.hypervisor.observe("test")[address]

    def has(self, address: Address) -> bool:
        return address in self.hypervisor.observe("test")

    def network(self) -> Address:
        address = self.address("network")
        xml = f"""<network><name>{self.prefix}</name>{MARK}<bridge name='{self.prefix}'/>
            <ip address='10.251.7.1' prefix='24'><dhcp><range start='10.251.7.10' end='10.251.7.20'/></dhcp></ip></network>"""
        self.do(Define(address=address, xml=xml))
        return address

    def pool(self) -> Address:
        address = self.address("pool")
        xml = f"""<pool type='dir'><name>{self.prefix}</name><uuid>{own_uuid("test", address)}</uuid>
            <target><path>{self.directory}</path></target></pool>"""
        self.do(Define(address=address, xml=xml), Build(address=address), Start(address=address))
        return address

    def volume(self, name: str, mebibytes: int = 4, more: str = "", kind: str = "qcow2") -> Address:
        address = self.address("volume", f"/{name}")
        xml = f"""<volume><name>{name}</name><capacity unit='MiB'>{mebibytes}</capacity>
            <target><format type='{kind}'/></target>{more}</volume>"""
        self.do(CreateVolume(address=address, xml=xml))
        return address

    def domain(self, devices: str = "", more: str = "") -> Address:
        """A guest without firmware and disk: it costs 16 MiB, hears nothing and does nothing."""
        address = self.address("domain")
        xml = f"""<domain type='qemu'><name>{self.prefix}</name>{MARK}{more}<memory unit='MiB'>16</memory>
            <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
            <devices><controller type='scsi' model='virtio-scsi'/>{devices}<memballoon model='none'/></devices></domain>"""
        self.do(Define(address=address, xml=xml))
        return address


@pytest.fixture
def host(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> Host:
    for part in (tmp_path, *tmp_path.parents):
        if not part.stat().st_mode & 0o001:
            part.chmod(0o755)  # QEMU is another user, and pytest keeps its directories to itself
    return Host(hypervisor, prefix, tmp_path / "pool")


def disk(path: str, target: str = "sdb", bus: str = "scsi") -> str:
    return f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>
        <target dev='{target}' bus='{bus}'/></disk>"""


# Facts and the lock


def test_kvm_is_claimed_only_where_the_processor_virtualises(hypervisor: LibvirtHypervisor) -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    assert not hypervisor.facts().kvm or "vmx" in flags or "svm" in flags


def test_facts_name_what_an_alias_of_a_machine_stands_for(hypervisor: LibvirtHypervisor) -> None:
    machines = hypervisor.facts().machines
    assert machines is not None
    assert machines["q35"].startswith("pc-q35-")


def _hold(uri: str, ready: object, done: object) -> None:
    with closing(LibvirtHypervisor(uri)) as other, other.lock():
        ready.set()
        done.wait(20)


def test_the_lock_names_the_process_that_has_it(hypervisor: LibvirtHypervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=("test:///default", ready, done))
    other.start()
    try:
        assert ready.wait(20)
        monkeypatch.setattr(LibvirtHypervisor, "patience", 0.2)
        with (
            closing(LibvirtHypervisor("test:///default")) as held,
            pytest.raises(HypervisorError, match=f"process {other.pid}"),
            held.lock(),
        ):
            pytest.fail("two runs have the lock")
    finally:
        done.set()
        other.join(20)


# Networks


def test_a_network_lives_from_define_to_undefine(host: Host) -> None:
    address = host.network()
    seen = host.see(address)
    assert (seen.active, seen.autostart, seen.persistent, seen.ours, seen.live) == (False, False, True, True, None)
    host.do(SetAutostart(address=address, on=True), Start(address=address))
    seen = host.see(address)
    assert (seen.active, seen.autostart) == (True, True)
    assert seen.live is not None
    assert Path("/sys/class/net", host.prefix).exists()
    host.do(Stop(address=address), Undefine(address=address))
    assert not host.has(address)


def test_a_dhcp_host_is_updated_in_the_running_network_and_in_its_definition(host: Host) -> None:
    address = host.network()
    host.do(Start(address=address))
    xml = "<host mac='52:54:00:00:00:01' name='a' ip='10.251.7.{}'/>"
    for command, ip, expected in (
        ("add-last", 11, ["10.251.7.11"]),
        ("modify", 12, ["10.251.7.12"]),
        ("delete", 12, []),
    ):
        host.do(
            UpdateNetwork(address=address, command=command, section="ip-dhcp-host", xml=xml.format(ip), parent_index=0)
        )
        seen = host.see(address)
        assert seen.live is not None
        assert [held.get("ip") for held in seen.xml.iterfind("ip/dhcp/host")] == expected
        assert [held.get("ip") for held in seen.live.iterfind("ip/dhcp/host")] == expected


def test_a_name_is_updated_in_dns_too(host: Host) -> None:
    address = host.network()
    host.do(Start(address=address))
    xml = "<host ip='10.251.7.5'><hostname>five</hostname></host>"
    host.do(UpdateNetwork(address=address, command="add-last", section="dns-host", xml=xml))
    assert host.see(address).xml.findtext("dns/host/hostname") == "five"


def test_another_sites_network_is_not_ours(host: Host) -> None:
    address = host.network()
    assert not host.hypervisor.observe("elsewhere")[address].ours


# Storage


def test_a_pool_that_is_stopped_while_we_look_at_its_volumes_fails_no_run(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = host.pool()
    volume = host.volume("data")
    each = look._each

    def stopping(see: Callable[[Any], Iterable[Observed]], objects: Iterable[Any]) -> Iterator[Observed]:
        listed = list(objects)
        if any(isinstance(held, libvirt.virStorageVol) and held.name() == "data" for held in listed):
            subprocess.run(["virsh", "pool-destroy", pool.name], check=True, capture_output=True)
        return each(see, listed)

    monkeypatch.setattr(look, "_each", stopping)
    seen = host.hypervisor.observe("test")
    assert volume not in seen


def test_a_pool_is_built_in_a_directory_that_is_already_there_and_keeps_what_it_holds(host: Host) -> None:
    host.directory.mkdir()
    (host.directory / "precious").write_text("data")
    seen = host.see(host.pool())
    assert (seen.active, seen.ours) == (True, True)
    assert (host.directory / "precious").read_text() == "data"
    assert host.has(host.address("volume", "/precious"))


@pytest.fixture
def late(host: Host, tmp_path: Path) -> Iterator[Path]:
    """A folder that storage serves to us, who remember for a while what was not there, as clients of NFS do."""
    served, ours = tmp_path / "served", tmp_path / "ours"
    for folder in (served, ours):
        folder.mkdir()
    subprocess.run(["bindfs", "-o", "negative_timeout=60", served, ours], check=True)
    host.directory = ours / "pool"
    yield served / "pool"
    subprocess.run(["umount", ours], check=True)


def test_a_shared_folder_that_another_host_has_just_made_is_taken(host: Host, late: Path) -> None:
    """POOL-T1: of hosts that make the same one at once, libvirt itself fails where another was faster."""
    assert not host.directory.exists()
    late.mkdir()
    (late / "theirs").write_text("data")
    assert not host.directory.exists(), "this storage tells everything at once"
    seen = host.see(host.pool())
    assert (seen.active, seen.ours) == (True, True)
    assert host.has(host.address("volume", "/theirs"))


def test_a_volume_grows_over_its_backing_and_goes(host: Host) -> None:
    host.pool()
    base = host.see(host.volume("base"))
    backing = f"<backingStore><path>{base.info['path']}</path><format type='qcow2'/></backingStore>"
    address = host.volume("top", 8, backing)
    assert host.see(address).xml.findtext("backingStore/path") == base.info["path"]
    host.do(ResizeVolume(address=address, capacity=64 * MIB))
    seen = host.see(address)
    assert (seen.info["capacity"], seen.ours) == (str(64 * MIB), True)
    host.do(DeleteVolume(address=address))
    assert not host.has(address)
    assert not Path(seen.info["path"]).exists()


def test_a_backing_without_format_is_never_guessed(host: Host) -> None:
    host.pool()
    base = host.see(host.volume("base"))
    with pytest.raises(InternalError, match="without format"):
        host.volume("top", 8, f"<backingStore><path>{base.info['path']}</path></backingStore>")


@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_a_file_that_libvirt_does_not_know_is_not_overwritten(host: Host, kind: str) -> None:
    host.pool()
    (host.directory / "stray").write_text("precious")
    with pytest.raises(HypervisorError, match="exists already"):
        host.volume("stray", kind=kind)
    assert (host.directory / "stray").read_text() == "precious"
    assert host.has(host.address("volume", "/stray")), "the next run sees what is there"


def test_a_volume_whose_file_is_gone_is_not_observed_and_is_made_again(host: Host) -> None:
    host.pool()
    address = host.volume("lost")
    Path(host.see(address).info["path"]).unlink()
    assert not host.has(address)
    host.volume("lost")
    assert host.has(address)


# Secrets and filters


def test_a_secret_is_ours_by_its_uuid_and_takes_a_value(host: Host) -> None:
    address = host.address("secret")
    xml = f"""<secret ephemeral='no' private='yes'><uuid>{own_uuid("test", address)}</uuid><description>why</description>
        <usage type='volume'><volume>{host.prefix}</volume></usage></secret>"""
    host.do(Define(address=address, xml=xml), SetSecretValue(address=address), **{host.prefix: b"\0binary\xff"})
    seen = host.see(address)
    assert (seen.ours, seen.info["description"]) == (True, "why")
    with pytest.raises(DeclarationError, match="is needed now"):
        host.do(SetSecretValue(address=address))
    host.do(Undefine(address=address))
    assert not host.has(address)


def test_a_filter_is_defined_redefined_and_removed(host: Host) -> None:
    address = host.address("nwfilter")
    xml = f"""<filter name='{host.prefix}' chain='root'><uuid>{own_uuid("test", address)}</uuid>
        <rule action='{{}}' direction='in' priority='500'><tcp dstportstart='80'/></rule></filter>"""
    host.do(Define(address=address, xml=xml.format("accept")), Define(address=address, xml=xml.format("drop")))
    seen = host.see(address)
    rule = seen.xml.find("rule")
    assert rule is not None
    assert (seen.ours, rule.get("action")) == (True, "drop")
    host.do(Undefine(address=address))
    assert not host.has(address)


# Domains


def test_a_guest_lives_from_define_to_undefine(host: Host) -> None:
    address = host.domain()
    seen = host.see(address)
    assert (seen.active, seen.ours, seen.info["state"], seen.live) == (False, True, "shut off", None)
    host.do(SetAutostart(address=address, on=True), Start(address=address))
    seen = host.see(address)
    assert (seen.active, seen.autostart, seen.info["state"]) == (True, True, "running")
    with pytest.raises(HypervisorError, match="already running"):
        host.do(Start(address=address))
    host.do(Stop(address=address), Undefine(address=address))
    assert not host.has(address)


def test_a_guest_that_does_not_power_off_is_ended_when_its_time_is_over(host: Host) -> None:
    address = host.domain()
    host.do(Start(address=address), Stop(address=address, timeout=1))
    assert host.see(address).info["state"] == "shut off"


def test_what_libvirt_keeps_of_a_guest_goes_with_it_and_its_disk_stays(host: Host) -> None:
    """VM-06, VM-T2.12, DISK-06."""
    host.pool()
    path = host.see(host.volume("disk")).info["path"]
    address = host.domain(disk(path))
    domain = host.hypervisor._find(address)
    domain.snapshotCreateXML("<domainsnapshot><name>s</name></domainsnapshot>")
    host.do(Start(address=address))
    domain.managedSave()
    host.do(Undefine(address=address))
    assert not host.has(address)
    assert Path(path).exists()


def test_a_misspelt_element_is_refused_and_not_dropped(host: Host) -> None:
    with pytest.raises(HypervisorError, match="define domain"):
        host.domain(more="<memtunes/>")


def test_a_disk_is_plugged_into_a_running_guest_and_out_of_it(host: Host) -> None:
    host.pool()
    path = host.see(host.volume("disk")).info["path"]
    address = host.domain()
    host.do(Start(address=address), AttachDevice(address=address, xml=disk(path), device="disk sdb"))
    live = host.see(address).live
    assert live is not None
    assert live.find("devices/disk/target[@dev='sdb']") is not None
    host.do(DetachDevice(address=address, xml=disk(path), device="disk sdb"))
    live = host.see(address).live
    assert live is not None
    assert live.find("devices/disk") is None


def test_a_guest_that_does_not_let_go_of_a_disk_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.pool()
    xml = disk(host.see(host.volume("disk")).info["path"], "vdb", "virtio")
    address = host.domain()
    host.do(Start(address=address), AttachDevice(address=address, xml=xml, device="disk vdb"))
    host.hypervisor._find(address).suspend()  # nobody is there to answer
    monkeypatch.setattr(LibvirtHypervisor, "guest_patience", 0.5)
    with pytest.raises(HypervisorError, match="still holds disk vdb"):
        host.do(DetachDevice(address=address, xml=xml, device="disk vdb"))


def test_a_disk_of_a_running_guest_grows_under_it(host: Host) -> None:
    host.pool()
    volume = host.volume("disk")
    address = host.domain(disk(host.see(volume).info["path"], "sda"))
    host.do(Start(address=address), ResizeVolume(address=volume, capacity=32 * MIB, domain=host.prefix, target="sda"))
    assert host.see(volume).info["capacity"] == str(32 * MIB)


def test_the_medium_of_a_running_guest_changes(host: Host) -> None:
    host.pool()
    path = host.see(host.volume("medium", kind="raw")).info["path"]
    drive = "<disk type='file' device='cdrom'>{}<target dev='hda' bus='ide'/><readonly/></disk>"
    address = host.domain(drive.format(""))
    # Paused, since firmware that is just looking for something to boot opens and closes the tray itself.
    connection = libvirt.open("qemu:///system")
    connection.lookupByName(host.prefix).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    connection.close()
    for source in (path, None):
        xml = drive.format(f"<driver name='qemu' type='raw'/><source file='{path}'/>" if source else "")
        host.do(UpdateDevice(address=address, xml=xml, device="medium of hda"))
        live = host.see(address).live
        assert live is not None
        held = live.find("devices/disk/source")
        assert (None if held is None else held.get("file")) == source


def test_a_console_gets_the_password_that_its_secret_holds(host: Host) -> None:
    graphics = "<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1' passwd='secret:console'/>"
    with pytest.raises(DeclarationError, match=r"dos_secrets\.console\.value"):
        host.domain(graphics)
    address = host.address("domain")
    xml = f"""<domain type='qemu'><name>{host.prefix}</name><memory unit='MiB'>16</memory>
        <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>{graphics}</devices></domain>"""
    host.do(Define(address=address, xml=xml), console=b"<\"&'>")
    held = host.see(address).xml.find("devices/graphics")
    assert held is not None
    assert held.get("passwd") == "<\"&'>"
    host.do(Start(address=address))
    host.do(UpdateDevice(address=address, xml=graphics, device="console"), console=b"changed")
    live = host.see(address).live
    assert live is not None
    assert live.xpath("string(devices/graphics/@passwd)") == "changed"


def test_many_guests_start_at_once_from_threads(host: Host) -> None:
    """`perform` may be called from several threads on one connection."""
    address = host.domain()
    starts = [
        threading.Thread(target=host.do, args=(Start(address=address),)),
        threading.Thread(target=host.see, args=(address,)),
    ]
    for held in starts:
        held.start()
    for held in starts:
        held.join(30)
    assert host.see(address).active


# Guests and their networks


def bridge_of(tap: str) -> str:
    master = Path("/sys/class/net") / tap / "master"
    return master.resolve().name if master.is_symlink() else ""


def test_the_guests_of_a_network_that_is_restarted_are_plugged_in_again(host: Host) -> None:
    network = host.network()
    host.do(Start(address=network))
    domain = host.domain(
        f"<interface type='network'><source network='{host.prefix}'/><model type='e1000'/><rom enabled='no'/></interface>"
    )
    host.do(Start(address=domain))
    live = host.see(domain).live
    assert live is not None
    tap = live.find("devices/interface/target").get("dev")
    assert bridge_of(tap) == host.prefix
    host.do(Stop(address=network))
    assert bridge_of(tap) == ""
    host.do(Start(address=network))
    assert bridge_of(tap) == host.prefix


def test_a_guest_that_somebody_else_unplugged_is_seen_and_plugged_in(host: Host) -> None:
    network = host.network()
    host.do(Start(address=network))
    domain = host.domain(
        f"<interface type='network'><source network='{host.prefix}'/><model type='e1000'/><rom enabled='no'/></interface>"
    )
    host.do(Start(address=domain))
    tap = host.see(domain).live.find("devices/interface/target").get("dev")
    assert "unplugged" not in host.see(domain).info
    subprocess.run(["ip", "link", "set", "dev", tap, "nomaster"], check=True)
    assert host.see(domain).info["unplugged"] == tap
    host.do(Replug(address=domain))
    assert "unplugged" not in host.see(domain).info
