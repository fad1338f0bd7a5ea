# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests with LUNs of a real target: plugged in and out while they run, the session with them, and booted from one."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

TREE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TREE / "tests" / "real"))
sys.path.insert(1, str(TREE / "src"))

pytestmark = pytest.mark.not_emulated("a guest in an emulated machine takes eight minutes to boot")

Shell = Callable[..., CompletedProcess[str]]

GUEST = TREE / ".cache" / "guest"
BOOT = 300.0  # a guest in a kernel that is a process, on a machine that has other things to do
SIZE = 64  # MiB of a LUN
FOREIGN = """<domain type='qemu'><name>theirs</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='{device}'/><target dev='vda' bus='virtio'/></disk>
<memballoon model='none'/></devices></domain>"""


BY_ORDER = """<disk type='volume' device='disk'><driver name='qemu' type='raw'/>
<source pool='san' volume='unit:0:0:1'/><target dev='vdb' bus='virtio'/></disk>"""


class Cloud:
    """A site of hosts that have a pool on the target; k1 is this kernel, and h0 one that only looks for LUNs."""

    def __init__(self, target: str) -> None:
        from dosvm.hypervisor.libvirt import LibvirtHypervisor

        self.hypervisor = LibvirtHypervisor()
        self.hosts = ("h0", "k1")
        source = {"server": "127.0.0.1", "target": target, "user": "lab", "secret": "chap"}
        self.declared: dict[str, Any] = {
            "dos_site": "luns",
            "dos_projects": {"p": {}},
            "dos_secrets": {"chap": {"usage_type": "iscsi", "value": "secret-of-lab1"}},
            "dos_pools": {"san": {"type": "iscsi", "source": source}},
        }

    def converge(self, **allow: Any) -> Any:
        from dosvm.apply import converge
        from dosvm.compile.site import HostState, compile_site
        from dosvm.hypervisor.fake import FakeHypervisor
        from dosvm.model.decode import decode
        from dosvm.model.slice import Permission
        from dosvm.site.load import load

        facts = {"h0": FakeHypervisor().facts(), "k1": self.hypervisor.facts()}
        states = {host: HostState(facts=facts[host]) for host in self.hosts}
        slice_ = compile_site(load(self.declared, hosts=self.hosts), states, now=time.time()).slices["k1"]
        permission = decode(Permission, allow)
        return converge(slice_, self.hypervisor, permission=permission, secrets={"chap": b"secret-of-lab1"})

    def made(self, *volumes: str, **allow: Any) -> tuple[str, ...]:
        """What was done so that the guest has these disks; and again, with nothing to do."""
        self.declared["dos_instances"]["guest"]["disks"] = [{"volume": name} for name in volumes]
        outcome = self.converge(**allow)
        assert outcome.failures == ()
        assert not self.converge(**allow).changed
        done: tuple[str, ...] = outcome.performed
        return done

    def order(self, verb: str, device: str) -> None:
        from dosvm.hypervisor.power import carry_out
        from dosvm.model.decode import decode
        from dosvm.model.order import Ordering

        asked = decode(Ordering, {"names": ["guest"], "order": verb, "device": device, "site": "luns"})
        (answer,) = carry_out(asked, self.hypervisor, dry_run=False, now=time.time())
        assert answer.refused == ""


@pytest.fixture
def cloud(libvirtd: None, iscsi_target: str, sh: Shell) -> Iterator[Cloud]:
    made = Cloud(iscsi_target)
    with closing(made.hypervisor):
        yield made
        for name in sh("virsh list --name").stdout.split():
            sh(f"virsh destroy {name}")
        made.declared = {"dos_site": "luns"}
        assert made.converge(prune=True).failures == ()
    assert sessions() == []


@pytest.fixture
def lun(sh: Shell, tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes another LUN on the target; the file that the target keeps it in."""
    made: list[int] = []

    def make(number: int) -> Path:
        file = tmp_path / f"lun{number}"
        sh(f"truncate -s {SIZE}M {file}")
        sh(f"tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun {number} -b {file}")
        made.append(number)
        return file

    yield make
    for number in made:
        sh(f"tgtadm --lld iscsi --mode logicalunit --op delete --tid 1 --lun {number}")


def sessions() -> list[str]:
    folder = Path("/sys/class/iscsi_session")
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def device(target: str, number: int) -> str:
    return f"/dev/disk/by-path/ip-127.0.0.1:3260-iscsi-{target}-lun-{number}"


def instance(**more: Any) -> dict[str, Any]:
    return {
        "project": "p",
        "host": "k1",
        "machine": "pc",
        "memory": "128 MiB",
        "stop_timeout": 0,
        "vms": {"guest": {}},
    } | more


def test_a_host_logs_in_for_the_first_machine_with_a_lun_and_out_after_the_last(
    cloud: Cloud, sh: Shell, iscsi_target: str, lun: Callable[[int], Path]
) -> None:
    """HOT-01, HOT-02, POOL-08: while the guest runs on."""
    from guests import Shell as Serial

    lun(2)
    kernel = {"kernel": str(GUEST / "vmlinuz"), "initrd": str(GUEST / "initrd"), "boot": ["network"]}
    cmdline = (GUEST / "cmdline").read_text().strip()
    cloud.declared["dos_volumes"] = {"data": {"pool": "san", "lun": 1, "format": "raw", "project": "p"}}
    cloud.declared["dos_instances"] = {"guest": instance(**kernel, cmdline=cmdline)}
    cloud.made()
    assert sessions() == []
    assert "Autostart:      no" in sh("virsh pool-info san").stdout
    with Serial.of("guest", seconds=BOOT) as guest:
        done = cloud.made("data")
        assert done.index("pool san has been started") < done.index("domain guest has been given disk vda")
        assert len(sessions()) == 1
        assert "Autostart:      yes" in sh("virsh pool-info san").stdout
        guest.becomes_true("grep data /sys/block/vda/serial")  # its kernel finds a disk a moment after it is there
        guest.run("echo precious >/dev/vda; sync")

        # Another machine, not of ours, that calls its LUN as the kernel does.
        Path("/tmp/theirs.xml").write_text(FOREIGN.format(device=os.path.realpath(device(iscsi_target, 2))))
        sh("virsh create --paused /tmp/theirs.xml")
        cloud.declared["dos_instances"]["guest"]["disks"] = []
        kept = cloud.converge()
        # Without a disk that other hosts reach, it starts with its host.
        relieved, own = kept.performed[-2:]
        assert relieved == "domain guest has been relieved of disk vda"
        assert own == "domain guest has been set to start by itself"
        (plan,) = [plan for plan in kept.plans if str(plan.address) == "pool san"]
        assert "stays logged in for domain theirs, which has a LUN of it" in plan.reason
        assert not cloud.converge().changed
        assert len(sessions()) == 1
        assert not guest.says_yes("ls /sys/block/vda")
        sh("virsh destroy theirs")

        # The host itself: iscsiadm would log out under its file system.
        other = device(iscsi_target, 2)
        sh(f"mkfs.ext4 -q {other}; mkdir -p /srv/own; mount {other} /srv/own")
        (failure,) = cloud.converge().failures
        assert failure[0] == "pool san"
        assert "is mounted on /srv/own" in failure[1]
        assert len(sessions()) == 1
        sh("umount /srv/own")

        assert cloud.made() == ("pool san has been stopped",)
        assert sessions() == []
        assert sh("iscsiadm -m session", check=False).returncode != 0
        assert "Autostart:      no" in sh("virsh pool-info san").stdout

        assert "domain guest has been given disk vda" in cloud.made("data")
        assert len(sessions()) == 1
        guest.becomes_true("head -n 1 /dev/vda | grep precious")

        # By order, of which the declaration knows nothing: the host logs in for it, and the site leaves both.
        cloud.made()
        assert sessions() == []
        cloud.order("attach", BY_ORDER)
        assert len(sessions()) == 1
        guest.becomes_true("head -n 1 /dev/vda | grep precious")  # the guest counts its own
        assert not cloud.converge().changed
        assert len(sessions()) == 1
        cloud.order("detach", BY_ORDER)
        assert cloud.made() == ("pool san has been stopped",)
        assert sessions() == []


def test_a_machine_boots_from_a_lun(cloud: Cloud, sh: Shell, iscsi_target: str, lun: Callable[[int], Path]) -> None:
    """DOMX-13: a block device, raw, past the host's cache, with the volume's name for a serial number."""
    from guests import Shell as Serial

    file = lun(3)
    cloud.hosts = ("k1",)
    cloud.declared["dos_volumes"] = {"root": {"pool": "san", "lun": 3, "format": "raw", "project": "p"}}
    assert cloud.converge().failures == ()
    sh(f"qemu-img convert -n -O raw {GUEST}/busybox.qcow2 {device(iscsi_target, 3)}; sync")
    cloud.declared["dos_instances"] = {"guest": instance(disks=[{"volume": "root"}], serial={})}
    cloud.made("root")

    told = json.loads(sh("""virsh qemu-monitor-command guest '{"execute": "query-block"}'""").stdout)
    (disk,) = [held for held in told["return"] if held.get("inserted")]
    assert disk["inserted"]["file"] == device(iscsi_target, 3)
    assert (disk["inserted"]["drv"], disk["inserted"]["cache"]["direct"]) == ("raw", True)
    defined = cloud.hypervisor.observe("luns")
    (xml,) = [seen.xml for address, seen in defined.items() if str(address) == "domain guest"]
    driver, serial = xml.find("devices/disk/driver"), xml.findtext("devices/disk/serial")
    assert (driver.get("type"), driver.get("cache"), serial) == ("raw", "none", "root")
    assert xml.find("os/kernel") is None

    with Serial.of("guest", seconds=BOOT) as guest:
        assert "BOOT_IMAGE=/vmlinuz" in guest.run("cat /proc/cmdline")
        assert "\nroot" in guest.run("cat /sys/block/vda/serial")
        guest.run("mount -t vfat /dev/vda /mnt && echo written-by-the-guest >/mnt/told; umount /mnt; sync")
    assert b"written-by-the-guest" in file.read_bytes(), "it did not come to the target"
