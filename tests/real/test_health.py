# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real guest tells of itself: its agent answers, or hangs, or is gone; and it panics. And who waits for an agent."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import guests
import pytest
from operators import state_of, status

from dosvm.hypervisor.health import health
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.power import carry_out
from dosvm.hypervisor.readiness import wait
from dosvm.model.decode import decode
from dosvm.model.order import Ordering
from dosvm.model.readiness import Waiting

PORT = "p=/dev/$(basename $(dirname $(grep -l guest_agent /sys/class/virtio-ports/*/name)))"
# An agent in a few lines: every question has a line, and so has every answer; what is asked first is whether we are in step. It
# starts no program, for an answer that takes more than a second is none. Its port is at an end until libvirt has opened its side.
AGENT = (
    "while :; do while read -r l; do case $l in",
    """*guest-sync*) n=${l##*:}; echo '{"return": '${n%%[!0-9 ]*}'}';;""",
    """*guest-get-time*) echo '{"return": 1700000000000000000}';;""",
    """*) echo '{"error": {"class": "CommandNotFound", "desc": "no"}}';;""",
    "esac; done; usleep 100000; done",
)


@pytest.fixture
def cloud(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> guests.Cloud:
    made = guests.Cloud(hypervisor, prefix, folder)
    machine = made.machine("guest", agent=True, panic=True, on_crash="preserve", stop_timeout=0)
    made.converge(dos_instances={f"{prefix}guest": machine, f"{prefix}plain": made.machine("plain", stop_timeout=0)})
    return made


def agent(hypervisor: LibvirtHypervisor, name: str) -> str:
    return health(hypervisor.uri, hypervisor.observe("test").values())[name]["agent"]


def unready(hypervisor: LibvirtHypervisor, name: str, **wish: object) -> list[str]:
    asked = decode(Waiting, {"checks": [{"name": name, "ready": "agent", "within": 2, **wish}]})
    return [one.reason for one in wait(asked, hypervisor).unready]


def test_a_guest_is_seen_to_answer_to_hang_and_to_panic(
    cloud: guests.Cloud, hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path
) -> None:
    name = f"{prefix}guest"
    assert agent(hypervisor, f"{prefix}plain") == "", "it declares none"
    assert agent(hypervisor, name) == "is not connected"
    assert unready(hypervisor, name) == ["its agent does not answer"]

    with cloud.shell("guest") as shell:
        shell.becomes_true("ls -d /sys/class/virtio-ports/*")
        for line in AGENT:
            shell.run(f"printf '%s\\n' {shlex.quote(line)} >>/run/agent")
        shell.run(f"{PORT}; sh /run/agent <>$p >&0 & echo $! >/run/agent.pid")
        guests.wait_for("the agent", lambda: agent(hypervisor, name) == "answers")
        assert unready(hypervisor, name, within=int(guests.PATIENCE)) == []
        guests.wait_for("the answer in the status", lambda: state_of(name, tmp_path).split()[-1] == "answers")

        shell.run(f"kill $(cat /run/agent.pid); {PORT}; sleep 1000 <>$p & sleep 1")
        guests.wait_for("the port", lambda: agent(hypervisor, name) != "is not connected")
        assert agent(hypervisor, name) == "does not answer within 1 s", "a hanging agent holds nobody up"

        shell.type("echo c >/proc/sysrq-trigger")
        guests.wait_for("the panic", lambda: "crashed (panicked)" in status(tmp_path))
    assert unready(hypervisor, name) == ["it is crashed"]


# What the driver of an i6300esb writes when somebody opens /dev/watchdog, by the device's own registers, since Debian's cloud kernel
# has no driver for it: a clock of 1 MHz (0x60), so that its longest time is two seconds, and on (0x68).
UNFED = """for d in /sys/bus/pci/devices/*; do [ $(cat $d/device) = 0x25ab ] && c=$d/config; done
printf '\\004\\000' | dd of=$c bs=2 seek=48 conv=notrunc 2>/dev/null; printf '\\002' | dd of=$c bs=1 seek=104 conv=notrunc 2>/dev/null"""


def order(hypervisor: LibvirtHypervisor, name: str, verb: str) -> None:
    asked = decode(Ordering, {"names": [name], "order": verb, "site": "test"})
    (answer,) = carry_out(asked, hypervisor, dry_run=False, now=time.time())
    assert (answer.refused, answer.changed) == ("", True)


def test_a_guest_that_does_not_feed_its_watchdog_is_paused_and_said_to_be(
    hypervisor: LibvirtHypervisor, prefix: str, folder: Path, tmp_path: Path
) -> None:
    cloud, name = guests.Cloud(hypervisor, prefix, folder), f"{prefix}dog"
    cloud.converge(dos_instances={name: cloud.machine("dog", watchdog={"action": "pause"}, stop_timeout=0)})
    with cloud.shell("dog") as shell:
        shell.becomes_true("ls /sys/bus/pci/devices")
        shell.type(UNFED)
        guests.wait_for(
            "the pause",
            lambda: health(hypervisor.uri, hypervisor.observe("test").values())[name]["reason"] == "watchdog",
        )
        assert "paused (watchdog)" in state_of(name, tmp_path)
        order(hypervisor, name, "resume")
        assert "running" in state_of(name, tmp_path)


@pytest.fixture
def small(prefix: str) -> Iterator[Path]:
    """A file system of 8 MiB that a pool is on."""
    path = Path("/var/lib/dos-vm") / f"small-{prefix}"
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0755", "tmpfs", path], check=True)
    yield path
    for machine in subprocess.run(
        ["virsh", "list", "--name"], capture_output=True, text=True, check=True
    ).stdout.split():
        if machine.startswith(prefix):
            subprocess.run(["virsh", "destroy", machine], check=True, capture_output=True)
    subprocess.run(["umount", path], check=True)
    shutil.rmtree(path)


def test_a_guest_whose_disk_has_no_room_is_paused_and_goes_on_when_there_is(
    hypervisor: LibvirtHypervisor, prefix: str, folder: Path, small: Path, tmp_path: Path
) -> None:
    """A thin volume promises more than its pool has: what the guest wrote is not lost, and the disk is named."""
    cloud, name = guests.Cloud(hypervisor, prefix, folder), f"{prefix}full"
    cloud.declared["dos_pools"] = {prefix: {"path": str(small / "pool")}}
    disks = [{"pool": prefix, "capacity": "32 MiB"}]
    cloud.converge(dos_instances={name: cloud.machine("full", disks=disks, stop_timeout=0)})
    with cloud.shell("full") as shell:
        shell.becomes_true("ls /dev/vda")
        shell.run(
            "( (tr '\\0' y </dev/zero | dd of=/dev/vda bs=1M count=20 iflag=fullblock conv=fsync; echo $? >/run/done) & )"
        )
        guests.wait_for(
            "the pause",
            lambda: "disk error" in health(hypervisor.uri, hypervisor.observe("test").values())[name]["reason"],
        )
        assert "paused (disk error: vda has no room)" in state_of(name, tmp_path)
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        order(hypervisor, name, "resume")
        shell.becomes_true("test -e /run/done")
        assert shell.says_yes("test $(cat /run/done) = 0"), "no write failed in the guest"
        volume = small / "pool" / f"{name}-vda"
        subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", volume, tmp_path / "raw"], check=True)
        assert (tmp_path / "raw").read_bytes().startswith(b"y" * 20 * 2**20), "all of it is there"
        assert "running" in state_of(name, tmp_path)
