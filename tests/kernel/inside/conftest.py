# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests that run in a kernel may ask for: daemons that are up, and disks that are blank."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

TREE = Path(__file__).resolve().parents[3]
TOLD = Path("/run/dos-kernel.json")
#: What this kernel was told when it booted (kernels/init.py). On the machine, where tests are only collected, nothing.
KERNEL = json.loads(TOLD.read_text()) if TOLD.exists() else {"disks": ("none", "none"), "slower": 1}
PATIENCE = 60.0 * KERNEL["slower"]  # seconds, for what takes a few
COMMAND = 180.0 * KERNEL["slower"]  # seconds, for one shell script


def sh(script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A shell script of which no line may fail. A daemon that it starts must not keep its output."""
    done = subprocess.run(
        ["sh", "-euc", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND, check=False
    )
    assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done


def wait_for(what: str, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.1)


@pytest.fixture(name="sh", scope="session")
def _sh() -> Callable[..., subprocess.CompletedProcess[str]]:
    return sh


@pytest.fixture(name="wait_for", scope="session")
def _wait_for() -> Callable[[str, Callable[[], bool]], None]:
    return wait_for


@pytest.fixture
def disk() -> Iterator[str]:
    """A blank disk of 1 GiB that can be partitioned, and is blank again for the next test, whatever is on it by then."""
    path = f"/dev/{KERNEL['disks'][0]}"
    yield path
    sh(f"""
        swapoff --all
        for each in $(grep -o '^{path}[0-9]*' /proc/mounts); do umount $each; done
        for each in $(pvs --noheadings --options vg_name {path} 2>/dev/null); do vgremove -qq -ff -y $each; done
        wipefs -qa {path}
        dd if=/dev/zero of={path} bs=1M count=8 conv=fsync,notrunc status=none
        blockdev --rereadpt {path}
        udevadm settle
    """)


@pytest.fixture
def other_disk() -> str:
    """A second one, on which nothing may be written."""
    return f"/dev/{KERNEL['disks'][1]}"


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A blank loop device of 256 MiB in memory."""
    sh(f"truncate -s 256M {tmp_path}/loop")
    device = sh(f"losetup --find --show {tmp_path}/loop").stdout.strip()
    yield device
    sh(f"losetup --detach {device}")


#: libvirt as a kernel needs it: there is no cgroup controller for a guest, no AppArmor, no namespace for its /dev.
QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
cgroup_controllers = []
namespaces = []
"""


@pytest.fixture(scope="session")
def libvirtd() -> None:
    """The kernel's own libvirtd at qemu:///system; it stays until the kernel ends."""
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    subprocess.run([sys.executable, str(TREE / "tools" / "libvirt_up.py")], check=True, stdin=subprocess.DEVNULL)


class Export(NamedTuple):
    """A folder that is served: `path` to clients of version 4, `folder` to those of version 3 and on the server."""

    path: str
    folder: Path


@pytest.fixture(scope="session")
def nfsd() -> Iterator[Export]:
    """An NFS server on 127.0.0.1, for versions 4.2 and 3."""
    # Neither memory nor hostfs has file handles that NFS could give out; an ext4 has. It is version 4's root as well, since
    # on the way to it from the real one there is only overlayfs.
    sh("""
        mkdir -p /srv/nfs /var/lib/nfs/rpc_pipefs /var/lib/nfs/v4recovery
        modprobe -a nfsd nfs nfsv4
        mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
        truncate -s 128M /tmp/nfs.img && mkfs.ext4 -q -F /tmp/nfs.img && mount -o loop /tmp/nfs.img /srv/nfs
        mkdir /srv/nfs/pool
        echo '/srv/nfs 127.0.0.1(rw,sync,no_root_squash,no_subtree_check,fsid=0)' > /etc/exports
        pidof rpcbind || rpcbind </dev/null >/dev/null 2>&1
        exportfs -ra
        rpc.nfsd --lease-time 10 --grace-time 10 2
        echo Y > /proc/fs/nfsd/v4_end_grace
        rpc.mountd </dev/null >/dev/null 2>&1
    """)
    yield Export(path="/pool", folder=Path("/srv/nfs/pool"))
    sh("rpc.nfsd 0; exportfs -ua; kill $(pidof rpc.mountd); umount /srv/nfs; rm /tmp/nfs.img")


SMB_CONF = """[global]
map to guest = never
passdb backend = smbpasswd:/tmp/smb/passwd
interfaces = lo
bind interfaces only = yes
smb ports = 445
disable netbios = yes
load printers = no
log file = /tmp/smb/log
private dir = /tmp/smb
lock directory = /tmp/smb
state directory = /tmp/smb
cache directory = /tmp/smb
pid directory = /tmp/smb
[vm]
path = /srv/smb
read only = no
force user = root
"""


@pytest.fixture(scope="session")
def smbd() -> Iterator[Export]:
    """A share of 127.0.0.1 for the user `lab` with the password `secret-of-lab1`; its files are root's on the server."""
    sh("""
        modprobe cifs
        mkdir -p /srv/smb /tmp/smb /run/samba
        id lab >/dev/null 2>&1 || useradd --no-create-home lab
    """)
    Path("/tmp/smb.conf").write_text(SMB_CONF)
    sh("printf 'secret-of-lab1\\nsecret-of-lab1\\n' | smbpasswd -c /tmp/smb.conf -a -s lab")
    sh("smbd --daemon --configfile=/tmp/smb.conf </dev/null >/dev/null 2>&1")
    wait_for("smbd listens", lambda: ":445 " in sh("ss -ltn").stdout)
    yield Export(path="vm", folder=Path("/srv/smb"))
    sh("kill $(cat /tmp/smb/smbd.pid); rm -r /tmp/smb /tmp/smb.conf")


@pytest.fixture(scope="session")
def glusterd() -> Iterator[Export]:
    """A GlusterFS volume of 127.0.0.1 with one brick."""
    sh("""
        modprobe fuse
        mkdir -p /srv/brick /var/lib/glusterd /var/log/glusterfs /run/gluster
        truncate -s 128M /tmp/brick.img && mkfs.ext4 -q -F /tmp/brick.img && mount -o loop /tmp/brick.img /srv/brick
        mkdir /srv/brick/vm
        glusterd </dev/null >/dev/null 2>&1
    """)
    wait_for("glusterd answers", lambda: sh("gluster --mode=script volume info", check=False).returncode == 0)
    sh(
        'gluster --mode=script volume create vm "$(hostname):/srv/brick/vm" force && gluster --mode=script volume start vm'
    )
    yield Export(path="vm", folder=Path("/srv/brick/vm"))
    sh("""
        gluster --mode=script volume stop vm force
        kill $(pidof glusterd)
        for each in 1 2 3 4 5; do umount /srv/brick && break; sleep 1; done
        rm /tmp/brick.img
    """)


IQN = "iqn.2026-01.test.lab:disks"


@pytest.fixture(scope="session")
def iscsi_target() -> Iterator[str]:
    """A target of 127.0.0.1 with one LUN of 64 MiB, for the user `lab` with the password `secret-of-lab1`."""
    sh("""
        echo InitiatorName=iqn.2026-01.test.lab:host > /etc/iscsi/initiatorname.iscsi
        modprobe -a iscsi_tcp sd_mod
        tgtd </dev/null >/dev/null 2>&1
        pidof iscsid || iscsid
    """)
    wait_for("tgtd answers", lambda: sh("tgtadm --mode system --op show", check=False).returncode == 0)
    sh(f"""
        truncate -s 64M /tmp/lun1
        tgtadm --lld iscsi --mode target --op new --tid 1 -T {IQN}
        tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 1 -b /tmp/lun1
        tgtadm --lld iscsi --mode target --op bind --tid 1 -I ALL
        tgtadm --lld iscsi --mode account --op new --user lab --password secret-of-lab1
        tgtadm --lld iscsi --mode account --op bind --tid 1 --user lab
    """)
    yield IQN
    sh("""
        iscsiadm -m session && iscsiadm -m node --logoutall=all || true
        tgtadm --lld iscsi --mode target --op delete --tid 1 --force
        tgtadm --mode system --op delete; rm /tmp/lun1
    """)
