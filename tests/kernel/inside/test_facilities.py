# SPDX-License-Identifier: GPL-3.0-or-later
"""Each thing that this kernel is there for is there, and does what it is for."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol

import pytest

Shell = Callable[..., CompletedProcess[str]]
Wait = Callable[[str, Callable[[], bool]], None]


class Export(Protocol):
    """What `nfsd` gives: the folder to clients of version 4, and to others."""

    path: str
    folder: Path


@pytest.fixture
def two(sh: Shell) -> Iterator[tuple[str, str]]:
    """Two network namespaces to send something between."""
    sh("for each in one two; do ip netns add $each; ip -n $each link set lo up; done")
    yield "one", "two"
    sh("for each in one two; do ip netns del $each; done")


def reaches(sh: Shell, namespace: str, address: str) -> bool:
    return sh(f"ip netns exec {namespace} ping -c 1 -W 2 {address}", check=False).returncode == 0


# Network


def test_8021q_keeps_vlans_apart(sh: Shell, two: tuple[str, str]) -> None:
    sh("ip link add v1 netns one type veth peer name v2 netns two")
    for number, (namespace, device) in enumerate((("one", "v1"), ("two", "v2")), 1):
        sh(f"ip -n {namespace} link set {device} up")
        for vlan in (30, 40):
            sh(f"""
                ip -n {namespace} link add link {device} name {device}.{vlan} type vlan id {vlan}
                ip -n {namespace} addr add 10.9.{vlan}.{number}/24 dev {device}.{vlan}
                ip -n {namespace} link set {device}.{vlan} up
            """)
    assert reaches(sh, "one", "10.9.30.2")
    assert reaches(sh, "one", "10.9.40.2")
    # The address moves to the other VLAN, and the frames with the old tag have nobody to take them.
    sh("ip -n two link del v2.40; ip -n two addr add 10.9.40.2/24 dev v2.30")
    assert not reaches(sh, "one", "10.9.40.2")


@pytest.fixture
def ovs(sh: Shell) -> Iterator[None]:
    ctl = "/usr/share/openvswitch/scripts/ovs-ctl"
    sh(f"{ctl} start --system-id=random --no-monitor </dev/null >/dev/null 2>&1")
    yield
    sh(f"{ctl} stop </dev/null >/dev/null 2>&1")


def test_ovs_switches_tagged_frames_in_the_kernel(sh: Shell, wait_for: Wait, two: tuple[str, str], ovs: None) -> None:
    sh("ovs-vsctl -t 20 add-br lab0")
    try:
        for number, namespace in enumerate(two, 1):
            sh(f"""
                ovs-vsctl -t 20 add-port lab0 o{number} tag={10 * number} -- set interface o{number} type=internal
                ip link set o{number} netns {namespace}
                ip -n {namespace} addr add 10.9.1.{number}/24 dev o{number}
                ip -n {namespace} link set o{number} up
            """)
        assert "system@ovs-system" in sh("ovs-appctl dpctl/dump-dps").stdout
        assert not reaches(sh, "one", "10.9.1.2"), "VLAN 10 reached VLAN 20"
        sh("ovs-vsctl -t 20 set port o2 tag=10")
        wait_for("the flow that dropped is gone", lambda: reaches(sh, "one", "10.9.1.2"))
        assert "in_port" in sh("ovs-appctl dpctl/dump-flows system@ovs-system").stdout
    finally:
        sh("ovs-vsctl -t 20 del-br lab0")


def _send(address: str, seconds: float) -> float:
    """Bytes per second that arrive through TCP, from here to a namespace where somebody listens."""
    arrived = 0
    with socket.create_connection((address, 5001), timeout=10) as connection:
        connection.settimeout(seconds + 10)
        end = time.monotonic() + seconds
        started = time.monotonic()
        while time.monotonic() < end:
            arrived += connection.send(b"x" * 16384)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)  # the other end says when the last byte is there
    return arrived / (time.monotonic() - started)


LISTEN = (
    "import socket; s = socket.create_server(('', 5001)); print('up', flush=True); c, _ = s.accept()\n"
    "while c.recv(65536): pass\n"
    "c.send(b'.')"
)


@pytest.mark.parametrize(
    "limit",
    [
        # What libvirt writes for <bandwidth>: htb with sfq below it for what comes in to a guest, a policer for what goes out.
        "tc qdisc add dev q1 root handle 1: htb default 1;"
        "tc class add dev q1 parent 1: classid 1:1 htb rate 4mbit ceil 4mbit;"
        "tc qdisc add dev q1 parent 1:1 handle 2: sfq perturb 10",
        "tc -n one qdisc add dev q2 ingress;"
        "tc -n one filter add dev q2 parent ffff: protocol all u32 match u32 0 0 police rate 4mbit burst 64k drop flowid :1",
    ],
    ids=["htb and sfq", "police"],
)
def test_a_rate_is_limited(sh: Shell, two: tuple[str, str], limit: str) -> None:
    sh("""
        ip link add q1 type veth peer name q2 netns one
        ip addr add 10.9.2.1/24 dev q1; ip link set q1 up
        ip -n one addr add 10.9.2.2/24 dev q2; ip -n one link set q2 up
    """)
    command = ["ip", "netns", "exec", "one", "/usr/bin/python3", "-c", LISTEN]

    def rate() -> float:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "up\n"
            return _send("10.9.2.2", 2)

    free = rate()
    sh(limit)
    limited = rate()
    assert limited < 1.5 * 4e6 / 8 < free, (limited, free)


SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh")


def test_ipvs_has_its_schedulers(sh: Shell) -> None:
    services = {f"10.9.3.1:{80 + number}": name for number, name in enumerate(SCHEDULERS)}
    sh("; ".join(f"ipvsadm -A -t {address} -s {name}" for address, name in services.items()))
    held = re.findall(r"^TCP +(\S+) (\w+)", sh("ipvsadm -Ln").stdout, re.MULTILINE)
    sh("ipvsadm -C")
    assert dict(held) == services


# Storage


def test_lvm_makes_a_group_a_volume_and_a_snapshot(sh: Shell, disk: str) -> None:
    sh(f"pvcreate -qq {disk}; vgcreate -qq labvg {disk}; lvcreate -qq -n one -L 64M labvg")
    try:
        sh("printf before > /dev/labvg/one; lvcreate -qq -s -n snap -L 16M labvg/one; printf after_ > /dev/labvg/one")
        assert sh("head -c 6 /dev/labvg/snap").stdout == "before"
        sh("lvremove -qq -y labvg/snap; lvextend -qq -L 96M labvg/one")
        assert sh("blockdev --getsize64 /dev/labvg/one").stdout.strip() == str(96 << 20)
    finally:
        sh(f"vgremove -qq -ff -y labvg; pvremove -qq -ff -y {disk}")


def test_partitions_of_a_disk_are_seen(sh: Shell, disk: str) -> None:
    sh(f"parted -s {disk} mklabel gpt mkpart first 1MiB 65MiB; udevadm settle")
    assert Path(f"{disk}1").is_block_device()


@pytest.mark.parametrize("version", ["4.2", "3"])
def test_nfs_serves_a_file_with_locks(sh: Shell, nfsd: Export, tmp_path: Path, version: str) -> None:
    place = nfsd.path if version == "4.2" else nfsd.folder
    sh(f"mount -t nfs -o vers={version} 127.0.0.1:{place} {tmp_path}")
    try:
        (tmp_path / "file").write_text("over the wire")
        assert (nfsd.folder / "file").read_text() == "over the wire"
        if version == "4.2":  # locks of version 3 are rpc.statd's, which is not started
            sh(f"flock --nonblock {tmp_path}/file true")
    finally:
        sh(f"rm {nfsd.folder}/file; umount {tmp_path}")


def test_iscsi_logs_in_with_the_right_password_only(sh: Shell, wait_for: Wait, iscsi_target: str) -> None:
    node = f"iscsiadm -m node -T {iscsi_target} -p 127.0.0.1"

    def name(key: str, value: str) -> None:
        sh(f"{node} --op update -n node.session.auth.{key} -v {value}")

    sh(f"{node} --op new")
    try:
        sh(f"{node} --op update -n node.session.initial_login_retry_max -v 1")
        name("authmethod", "CHAP")
        name("username", "lab")
        name("password", "wrong-password")
        assert "authorization" in sh(f"{node} --login", check=False).stderr
        name("password", "secret-of-lab1")
        sh(f"{node} --login")
        path = Path(f"/dev/disk/by-path/ip-127.0.0.1:3260-iscsi-{iscsi_target}-lun-1")
        wait_for("the LUN is there", path.exists)
        sh(f"printf lun | dd of={path} conv=fsync")
        assert sh("head -c 3 /tmp/lun1").stdout == "lun"
        sh(f"{node} --logout")
    finally:
        sh(f"{node} --op delete", check=False)


# Fencing


def test_softdog_opens_and_closes(sh: Shell) -> None:
    # User-mode Linux has a /dev/watchdog of its own, of another kind; softdog's is the one that comes with the module.
    sh("modprobe softdog soft_margin=600 nowayout=0")
    try:
        (watchdog,) = (Path("/dev", path.name) for path in Path("/sys/class/watchdog").iterdir())
        handle = os.open(watchdog, os.O_WRONLY)
        os.write(handle, b"V")  # the magic word: closing it now stops the count
        os.close(handle)
    finally:
        sh("rmmod softdog")


def test_tun_and_threads(sh: Shell) -> None:
    """What guests' cables hang on, and what libvirtd runs on."""
    sh("ip tuntap add t0 mode tap; ip link del t0")
    told: list[int] = []
    threads = [threading.Thread(target=told.append, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(told) == list(range(8))
    assert re.match(r"\d+\.\d+\.\d+", os.uname().release)
