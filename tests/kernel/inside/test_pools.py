# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools of every kind (POOL-01) on real servers and devices: made, found, logged in to, refused, let go of, and never at the
cost of data."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Protocol

import pytest
from made import Host, plan_of

from dosvm.apply import converge
from dosvm.compile.site import HostState, compile_site
from dosvm.errors import ConflictError
from dosvm.model.address import Address
from dosvm.model.slice import Permission
from dosvm.site.load import load

Shell = Callable[..., CompletedProcess[str]]


class Export(Protocol):
    path: str
    folder: Path


@pytest.fixture
def host(libvirtd: None, disk: str) -> Iterator[Host]:
    """Its pools are gone before the disk is made blank."""
    held = Host()
    yield held
    for name in subprocess.run(
        ["virsh", "pool-list", "--all", "--name"], capture_output=True, text=True
    ).stdout.split():
        subprocess.run(["virsh", "pool-destroy", name], capture_output=True, check=False)
        subprocess.run(["virsh", "pool-undefine", name], capture_output=True, check=False)
    held.hypervisor.close()


# Network file systems


def netfs(export: Export, **more: Any) -> dict[str, Any]:
    source = {"server": "127.0.0.1", "export": export.path, "format": "nfs", "version": "4.2", **more}
    return {"name": "nfs", "type": "netfs", "path": "/srv/mounted", "source": source}


def test_an_export_is_mounted_and_its_volumes_are_files_of_the_server(host: Host, nfsd: Export) -> None:
    pools, volumes = (
        [netfs(nfsd)],
        [{"pool": "nfs", "name": "one", "capacity": "8 MiB", "permissions": {"mode": "0660"}}],
    )
    host.made(pools=pools, volumes=volumes)
    assert (nfsd.folder / "one").stat().st_mode & 0o777 == 0o660
    held = os.statvfs("/srv/nfs")
    told = int(host.holds()["pool nfs"].xml.findtext("capacity"))
    assert abs(told - held.f_blocks * held.f_frsize) < 1 << 20  # LIMIT-14; the server counts in larger blocks
    gone = host.converge(pools=[], allow={"prune": True})
    assert gone.failures == ()
    assert "pool nfs" not in host.holds()
    assert (nfsd.folder / "one").exists(), "letting go of a server deleted what is on it"
    assert "/srv/mounted" not in Path("/proc/mounts").read_text()
    (nfsd.folder / "one").unlink()


def test_files_are_the_guests_own_where_root_is_nobody(host: Host, sh: Shell, nfsd: Export) -> None:
    """POOL-11, LIMIT-15: with root_squash libvirt makes the file as the user it is for, and nobody needs chmod 777."""
    sh("exportfs -o rw,sync,root_squash,no_subtree_check,fsid=0 127.0.0.1:/srv/nfs")
    os.chown(nfsd.folder, 4242, 4242)
    try:
        owned = {"mode": "0600", "owner": 4242, "group": 4242}
        common = {"pool": "nfs", "capacity": "8 MiB", "permissions": owned}
        # QEMU's own tool makes one as that user; of a raw one libvirt allocates the blocks as root, unless there are none.
        volumes = [{"name": "own", **common}, {"name": "thin", "format": "raw", "allocation": "0 B", **common}]
        host.made(pools=[netfs(nfsd)], volumes=volumes)
        for name in ("own", "thin"):
            found = (nfsd.folder / name).stat()
            assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (4242, 4242, 0o600)
    finally:
        for name in ("own", "thin"):
            (nfsd.folder / name).unlink(missing_ok=True)
        os.chown(nfsd.folder, 0, 0)
        sh("exportfs -o rw,sync,no_root_squash,no_subtree_check,fsid=0 127.0.0.1:/srv/nfs")


def test_a_server_that_is_gone_is_an_error_and_the_next_run_converges(host: Host, sh: Shell, nfsd: Export) -> None:
    pools = [netfs(nfsd), {"name": "beside", "path": "/srv/beside"}]
    # A server that does not answer at all is the same, only that mount(8) tries for two minutes.
    sh("exportfs -ua")
    try:
        outcome = host.converge(pools=pools)
        (failure,) = outcome.failures
        assert failure[0] == "pool nfs"
        assert "mount" in failure[1]
        assert host.holds()["pool beside"].active, "a server that is gone stopped what has nothing to do with it"
    finally:
        sh("exportfs -ra")
    assert host.made(pools=pools).performed[-1] == "pool nfs has been started"


NAS = {"name": "nas", "usage_type": "netfs"}


def test_a_share_is_mounted_with_the_value_of_a_secret_and_its_files_are_whose_they_should_be(
    host: Host, sh: Shell, smbd: Export
) -> None:
    """POOL-10, SECO-04: the password is in a file that only root can read, and nowhere else."""
    source = {"server": "127.0.0.1", "export": smbd.path, "format": "cifs", "user": "lab", "secret": "nas"}
    owned = {"owner": 4242, "group": 4242, "mode": "0770"}
    pools = [{"name": "smb", "type": "netfs", "path": "/srv/smb-mounted", "source": source, "permissions": owned}]
    volumes = [{"pool": "smb", "name": "one", "capacity": "8 MiB"}]
    kept = Path("/var/lib/dos-vm/credentials/nas")
    host.secrets = {"nas": b"wrong-password"}
    outcome = host.converge(pools=pools, secrets=[NAS])
    (failure,) = outcome.failures
    assert failure[0] == "pool smb"
    assert "Permission denied" in failure[1]
    assert "wrong-password" not in str(outcome)

    host.secrets = {"nas": b"secret-of-lab1"}
    host.made(pools=pools, secrets=[NAS], volumes=volumes)
    assert (smbd.folder / "one").read_bytes().startswith(b"QFI\xfb")  # QEMU wrote it, with its locks
    held = Path("/srv/smb-mounted/one").stat()
    assert (held.st_uid, held.st_gid, held.st_mode & 0o777) == (4242, 4242, 0o660)
    told = (kept.read_text(), kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777)
    assert told == ("password=secret-of-lab1\n", 0o600, 0o700)
    assert "secret-of-lab1" not in sh("virsh pool-dumpxml smb; cat /proc/mounts").stdout

    kept.unlink()
    again = host.made(pools=pools, secrets=[NAS], volumes=volumes)
    assert again.performed[0] == "secret nas has been given its value"
    assert kept.exists()

    assert host.converge(allow={"prune": True}).failures == ()
    assert "/srv/smb-mounted" not in Path("/proc/mounts").read_text()
    assert not kept.exists()
    assert (smbd.folder / "one").exists(), "letting go of a server deleted what is on it"
    (smbd.folder / "one").unlink()


def test_a_share_for_guests_is_mounted_without_a_secret(host: Host, sh: Shell, smbd: Export) -> None:
    """And a share that knows no guests says so."""
    source = {"server": "127.0.0.1", "export": smbd.path, "format": "cifs"}
    pools = [{"name": "smb", "type": "netfs", "path": "/srv/smb-mounted", "source": source}]
    (failure,) = host.converge(pools=pools).failures
    assert "Permission denied" in failure[1]
    sh(
        "sed -i 's/map to guest = never/map to guest = Bad User/; s/^read only/guest ok = yes\\nread only/' /tmp/smb.conf"
    )
    try:
        sh("smbcontrol --configfile=/tmp/smb.conf smbd reload-config")
        host.made(pools=pools, volumes=[{"pool": "smb", "name": "two", "capacity": "8 MiB"}])
        assert (smbd.folder / "two").exists()
    finally:
        (smbd.folder / "two").unlink(missing_ok=True)


def test_a_gluster_volume_is_mounted_and_holds_qcow2(host: Host, glusterd: Export) -> None:
    source = {"server": "127.0.0.1", "export": glusterd.path, "format": "glusterfs"}
    pools = [{"name": "gluster", "type": "netfs", "path": "/srv/gluster", "source": source}]
    host.made(pools=pools, volumes=[{"pool": "gluster", "name": "one", "capacity": "8 MiB"}])
    assert (glusterd.folder / "one").read_bytes().startswith(b"QFI\xfb")
    assert "/srv/gluster fuse.glusterfs" in Path("/proc/mounts").read_text()
    assert host.converge(allow={"prune": True}).failures == ()
    assert "/srv/gluster" not in Path("/proc/mounts").read_text()
    assert (glusterd.folder / "one").exists()


# iSCSI


def iscsi(target: str, **more: Any) -> dict[str, Any]:
    source = {"server": "127.0.0.1", "target": target, "user": "lab", "secret": "san", **more}
    return {"name": "san", "type": "iscsi", "source": source}


SECRET = {"name": "san", "usage_type": "iscsi"}


def test_a_target_is_logged_in_to_with_the_value_of_a_secret(
    host: Host, sh: Shell, iscsi_target: str, tmp_path: Path
) -> None:
    """POOL-12, POOL-13."""
    pools = [iscsi(iscsi_target)]
    host.secrets = {"san": b"wrong-password"}
    outcome = host.converge(pools=pools, secrets=[SECRET])
    (failure,) = outcome.failures
    assert failure[0] == "pool san"
    assert "authorization" in failure[1]
    assert "wrong-password" not in str(outcome)
    host.secrets = {"san": b"secret-of-lab1"}
    again = host.made(pools=pools, secrets=[SECRET])
    assert "pool san has been started" in again.performed
    assert "volume san/unit:0:0:1" in host.holds()
    assert iscsi_target in sh("iscsiadm -m session").stdout

    # A LUN that is made on the target is found by looking again.
    sh(
        f"truncate -s 32M {tmp_path}/lun2; tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 2 -b {tmp_path}/lun2"
    )
    lun = [{"pool": "san", "name": "unit:0:0:2", "format": "raw"}]
    found = host.made(pools=pools, secrets=[SECRET], volumes=lun)
    assert found.performed == ("volume san/unit:0:0:2 has been found",)
    missing = host.converge(pools=pools, secrets=[SECRET], volumes=[{**lun[0], "name": "unit:0:0:7"}])
    assert [name for name, _ in missing.failures] == ["volume san/unit:0:0:7"]
    assert "offers unit:0:0:1, unit:0:0:2" in missing.failures[0][1]

    gone = host.converge(allow={"prune": True})
    assert gone.failures == ()
    assert "pool san" not in host.holds()
    assert sh("iscsiadm -m session", check=False).returncode != 0, "still logged in"


# Volume groups


def group(*devices: str) -> dict[str, Any]:
    return {"name": "labvg", "type": "logical", "source": {"devices": list(devices)}}


def test_a_volume_group_is_made_its_volumes_grow_and_it_stays_when_the_pool_goes(
    host: Host, sh: Shell, disk: str
) -> None:
    """VOL-02 as LIMIT-08 and LIMIT-09 have it; VOL-06."""
    volumes = [{"pool": "labvg", "name": "one", "capacity": "33 MiB", "format": "raw"}]  # not a multiple of an extent
    done = host.made(pools=[group(disk)], volumes=volumes)
    assert "pool labvg has been built" in done.performed
    assert sh("lvs --noheadings -o lv_name,lv_size --units m labvg").stdout.split() == ["one", "36.00m"]
    size = sh("vgs --noheadings --nosuffix --units b -o vg_size labvg").stdout.strip()
    assert host.holds()["pool labvg"].xml.findtext("capacity") == size  # LIMIT-14
    sh("printf precious > /dev/labvg/one")
    grown = host.made(pools=[group(disk)], volumes=[{**volumes[0], "capacity": "128 MiB"}])
    assert grown.performed == ("volume labvg/one has been grown",)
    assert sh("head -c 8 /dev/labvg/one; lvs --noheadings -o lv_size --units m labvg").stdout.split() == [
        "precious",
        "128.00m",
    ]

    sh("lvcreate -qq -n theirs -L 8M labvg; virsh pool-refresh labvg")
    left = host.converge(allow={"prune": True}, dry_run=True)
    assert plan_of(left, "pool labvg").verdict == "left"
    # The pool is let go of by somebody; the group and what is in it are what a new one finds.
    sh("virsh pool-destroy labvg; virsh pool-undefine labvg")
    assert (
        "pool labvg has been built"
        not in host.made(pools=[group(disk)], volumes=[{**volumes[0], "capacity": "128 MiB"}]).performed
    )
    assert sh("head -c 8 /dev/labvg/one").stdout == "precious"
    assert "volume labvg/theirs" in host.holds()
    names = ["volume labvg/one", "volume labvg/theirs"]
    host.converge(pools=[group(disk)], allow={"prune": True, "data_loss": names})
    assert sh("lvs --noheadings labvg").stdout == ""
    sh(f"virsh pool-destroy labvg; vgremove -qq -y labvg; pvremove -qq -y {disk}")


@pytest.mark.parametrize("kind", ["logical", "disk"])
def test_a_device_with_data_is_taken_only_when_the_pool_is_named(host: Host, sh: Shell, disk: str, kind: str) -> None:
    pool = {"name": "labvg", "type": kind, "source": {"devices": [disk]}}
    sh(f"mkfs.ext4 -q {disk}")
    before = sh(f"head -c 4M {disk} | sha256sum").stdout
    withheld = plan_of(host.converge(pools=[pool]), "pool labvg")
    assert withheld.needs == "data_loss: [pool labvg]"
    assert "ext4" in withheld.reason
    assert "pool labvg" not in host.holds()
    assert sh(f"head -c 4M {disk} | sha256sum").stdout == before
    host.made(pools=[pool], allow={"data_loss": ["pool labvg"]})
    assert host.holds()["pool labvg"].active
    sh(f"virsh pool-destroy labvg; virsh pool-undefine labvg; vgremove -qq -y labvg || true; wipefs -qa {disk}")


@pytest.mark.parametrize("use", ["mounted", "a partition mounted", "swap", "in a volume group", "of an unknown kind"])
def test_what_the_host_uses_is_never_taken(host: Host, sh: Shell, disk: str, tmp_path: Path, use: str) -> None:
    """POOL-15: also not when the pool is named."""
    undo = "true"
    if use == "mounted":
        sh(f"mkfs.ext4 -q {disk}; mount {disk} {tmp_path}")
        undo = f"umount {tmp_path}"
    elif use == "a partition mounted":
        sh(
            f"parted -s {disk} mklabel gpt mkpart p 1MiB 65MiB; udevadm settle; mkfs.ext4 -q {disk}1; mount {disk}1 {tmp_path}"
        )
        undo = f"umount {tmp_path}"
    elif use == "swap":
        sh(f"mkswap {disk}; swapon {disk}")
        undo = f"swapoff {disk}"
    elif use == "in a volume group":
        sh(f"pvcreate -qq {disk}; vgcreate -qq hostvg {disk}; lvcreate -qq -n root -L 64M hostvg")
        undo = "vgremove -qq -ff -y hostvg"
    else:
        sh(f"head -c 4096 /dev/urandom | dd of={disk} bs=512 seek=8 conv=notrunc")
    before = sh(f"wipefs --json {disk}").stdout
    try:
        for kind in ("logical", "disk"):
            pool = {"name": "labvg", "type": kind, "source": {"devices": [disk]}}
            if use == "of an unknown kind":
                assert "unknown kind" in plan_of(host.converge(pools=[pool]), "pool labvg").reason
            else:
                with pytest.raises(ConflictError, match=f"{disk} is in use, and is never taken"):
                    host.converge(pools=[pool], allow={"data_loss": ["pool labvg"]})
        assert sh(f"wipefs --json {disk}").stdout == before
    finally:
        sh(undo)


def test_a_device_that_is_not_there_is_said_before_anything_is_done(host: Host) -> None:
    with pytest.raises(ConflictError, match="there is no block device /dev/nothing"):
        host.converge(pools=[group("/dev/nothing"), {"name": "beside", "path": "/srv/beside"}])
    assert "pool beside" not in host.holds()


# Disks


def test_a_disk_is_given_a_table_and_its_partitions_are_volumes(host: Host, sh: Shell, disk: str) -> None:
    pool = {"name": "parts", "type": "disk", "source": {"devices": [disk], "format": "gpt"}}
    first, second = (f"{Path(disk).name}{number}" for number in (1, 2))
    volumes = [{"pool": "parts", "name": first, "capacity": "64 MiB", "format": "raw"}]
    host.made(pools=[pool], volumes=volumes)
    assert "gpt" in sh(f"parted -s {disk} print").stdout
    sh(f"printf precious > {disk}1")
    # One that somebody makes beside appears when the pool is read again.
    sh(f"parted -s {disk} mkpart theirs 100MiB 164MiB; udevadm settle; virsh pool-refresh parts")
    assert f"volume parts/{second}" in host.holds()
    left = host.converge(allow={"prune": True})
    assert plan_of(left, "pool parts").verdict == "left"
    assert sh(f"head -c 8 {disk}1").stdout == "precious"
    sh("virsh pool-destroy parts; virsh pool-undefine parts")
    assert "pool parts has been built" not in host.made(pools=[pool], volumes=volumes).performed
    assert sh(f"head -c 8 {disk}1").stdout == "precious"


def test_a_pool_that_a_machine_runs_on_is_neither_stopped_nor_removed(
    host: Host, sh: Shell, disk: str, other_disk: str
) -> None:
    """A machine without a system, which waits at its firmware, has the volume open all the same."""
    volumes = [{"pool": "labvg", "name": "one", "capacity": "32 MiB", "format": "raw"}]
    disks = [{"pool": "labvg", "volume": "one", "format": "raw"}]
    domain = {"name": "small", "memory": "32 MiB", "disks": disks, "mark": {"site": "test"}, "stop_timeout": 0}
    outcome = host.converge(pools=[group(disk)], volumes=volumes, domains=[domain])
    assert outcome.failures == ()
    assert host.holds()["domain small"].active
    moved = group(other_disk)
    with pytest.raises(ConflictError, match="pool labvg holds volume labvg/one"):
        host.converge(pools=[moved], volumes=volumes, domains=[domain], allow={"recreate": True, "restart": True})
    grown = host.converge(pools=[group(disk)], volumes=[{**volumes[0], "capacity": "64 MiB"}], domains=[domain])
    assert grown.failures == ()
    assert Address("domain", "small") in host.hypervisor.observe("test")
    assert "67108864" in sh("virsh domblkinfo small vda").stdout
    sh("virsh destroy small")
    host.converge(pools=[group(disk)], allow={"prune": True, "data_loss": ["volume labvg/one"]})
    sh("virsh pool-destroy labvg; vgremove -qq -y labvg")


# From the site


def test_a_site_declares_what_the_host_then_has(
    host: Host, sh: Shell, nfsd: Export, iscsi_target: str, disk: str
) -> None:
    declared = {
        "dos_secrets": {"chap": {"usage_type": "iscsi", "usage": "the-san", "value": "secret-of-lab1"}},
        "dos_pools": {
            "nas": {
                "type": "netfs",
                "path": "/srv/mounted",
                "source": {"server": "127.0.0.1", "export": nfsd.path, "format": "nfs", "version": "4.2"},
            },
            "san": {
                "type": "iscsi",
                "source": {"server": "127.0.0.1", "target": iscsi_target, "user": "lab", "secret": "chap"},
            },
            "labvg": {"type": "logical", "host": "k1", "source": {"devices": [disk]}},
            "unused": {
                "type": "netfs",
                "path": "/srv/unused",
                "source": {"server": "192.0.2.1", "export": "/nobody/is/there", "format": "nfs"},
            },
        },
        "dos_volumes": {
            "file": {"pool": "nas", "capacity": "8 MiB"},
            "lun": {"pool": "san", "lun": 1, "format": "raw"},
            "lv": {"pool": "labvg", "capacity": "16 MiB", "format": "raw", "host": "k1"},
        },
    }
    states = {"k1": HostState(facts=host.hypervisor.facts())}
    held = compile_site(load(declared, hosts=("k1",)), states, now=0.0).slices["k1"]
    secrets = {"chap": b"secret-of-lab1"}
    first, again = (converge(held, host.hypervisor, permission=Permission(), secrets=secrets) for _ in range(2))
    assert first.failures == ()
    assert not again.changed
    found = host.hypervisor.observe(held.site)
    volumes = {str(address) for address in found if address.kind == "volume"}
    assert {"volume nas/file", "volume san/unit:0:0:1", "volume labvg/lv"} <= volumes
    active = {address.name: seen.active for address, seen in found.items() if address.kind == "pool"}
    assert active == {"nas": True, "san": True, "labvg": True, "unused": False}
    (nfsd.folder / "file").unlink()
