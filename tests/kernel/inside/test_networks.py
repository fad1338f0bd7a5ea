# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates that are declared of a guest's card, measured: what the kernel of this machine lets through, and no more.

The shaping is libvirt's (htb and sfq towards the guest, a policer away from it); that a declaration becomes it, and holds, is ours.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

TREE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TREE / "tests" / "real"))
sys.path.insert(1, str(TREE / "src"))

Shell = Callable[..., CompletedProcess[str]]

GUEST = TREE / ".cache" / "guest"
ADDRESS, MAC = "10.88.2.11", "52:54:00:88:02:0b"
INWARDS, OUTWARDS = 300, 200  # KiB/s, as the guest sees it
UNSHAPED = 2**20  # KiB/s, more than any emulated card moves
KIB = 1024
# Of the declared rate. What htb counts are frames, so of what is in them less than all arrives; a policer throws away what
# is too much, and how near TCP then comes to the rate is TCP's affair. A burst at the beginning is let through.
TOLERATED = {"inwards": (0.75, 1.25), "outwards": (0.5, 1.25)}
SECONDS = 8.0
BURST = 256  # KiB; with less TCP stays far below what a policer lets through
SETTLING = 3.0  # seconds, in which the burst goes and TCP finds its rate
BOOT = 300.0  # a guest in a kernel that is a process, on a machine that has other things to do

Declare = Callable[[int, int], None]


def _slice(inwards: int, outwards: int) -> dict[str, Any]:
    hosts = [{"mac": MAC, "ip": ADDRESS, "name": "rated"}]
    limits = {"inbound": {"average": inwards, "burst": BURST}, "outbound": {"average": outwards, "burst": BURST}}
    network = {
        "name": "rated",
        "bridge": "vb-rated",
        "forward": "none",
        "subnets": [{"address": "10.88.2.1/24", "dhcp": {"hosts": hosts}}],
        "port_groups": [{"name": "slow", "default": True, "bandwidth": limits}],
        "mark": {"site": "kernel"},
    }
    domain = {
        "name": "rated",
        "virt_type": "qemu",
        "machine": "pc",
        "memory": "128 MiB",
        "kernel": str(GUEST / "vmlinuz"),
        "initrd": str(GUEST / "initrd"),
        "cmdline": (GUEST / "cmdline").read_text().strip(),
        "interfaces": [{"network": "rated", "mac": MAC, "bandwidth": limits, "boot_rom": False}],
        "stop_timeout": 0,
        "mark": {"site": "kernel"},
    }
    return {"site": "kernel", "networks": [network], "domains": [domain]}


@pytest.fixture(scope="module")
def declare(sh: Shell, libvirtd: None) -> Iterator[Declare]:
    """Brings the guest to these rates, inwards and outwards, as `dos.vm.host` would."""
    from dosvm.apply import converge
    from dosvm.hypervisor.libvirt import LibvirtHypervisor
    from dosvm.model.decode import decode
    from dosvm.model.slice import Permission, Slice

    with contextlib.closing(LibvirtHypervisor()) as hypervisor:

        def done(inwards: int, outwards: int) -> None:
            held = decode(Slice, _slice(inwards, outwards))
            outcome = converge(held, hypervisor, permission=Permission())
            assert outcome.failures == ()
            assert not converge(held, hypervisor, permission=Permission()).changed

        yield done
        sh("virsh destroy rated; virsh undefine rated; virsh net-destroy rated; virsh net-undefine rated", check=False)


def _connected(port: int) -> socket.socket:
    """A connection to the guest, once its program listens, which it starts anew for each."""
    deadline = time.monotonic() + BOOT
    while True:
        try:
            return socket.create_connection((ADDRESS, port), timeout=30)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody listens at port {port}"
            time.sleep(0.2)


def _got(seconds: float) -> float:
    """KiB a second that the guest gives, from the first byte on."""
    with _connected(81) as wire:
        wire.recv(1)
        _counted(lambda: len(wire.recv(65536)), SETTLING)
        return _counted(lambda: len(wire.recv(65536)), seconds)


def _given(seconds: float) -> float:
    """KiB a second that the guest takes. Little is kept on the way, so that what is sent has nearly arrived."""
    with _connected(82) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)
        _counted(lambda: wire.send(b"x" * 4 * KIB), SETTLING)
        return _counted(lambda: wire.send(b"x" * 4 * KIB), seconds)


def _counted(step: Callable[[], int], seconds: float) -> float:
    started, moved = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        moved += step()
    return moved / KIB / (time.monotonic() - started)


def _until_it_answers(sh: Shell) -> None:
    deadline = time.monotonic() + BOOT
    while sh(f"ping -c 1 -W 2 {ADDRESS}", check=False).returncode:
        assert time.monotonic() < deadline, f"the guest was not there within {BOOT:.0f} s"


def _within(rate: float, declared: int, unshaped: float, what: str) -> None:
    """At the declared rate, or at what this machine moves without one where that is less."""
    least, most = TOLERATED[what]
    expected = min(declared, unshaped)
    assert least * expected <= rate <= most * declared, (
        f"{what}: {rate:.0f} KiB/s where {declared} are declared, and {unshaped:.0f} without a limit"
    )


@pytest.mark.not_emulated("a guest in an emulated machine takes eight minutes to boot")
def test_a_guest_gets_and_gives_at_the_declared_rates(sh: Shell, declare: Declare) -> None:
    """NET-19, NET-20, PGRT-01: measured through the guest's card: without a rate that it could feel, at the declared one and at
    another one laid on live."""
    from guests import Shell as Serial

    declare(UNSHAPED, UNSHAPED)
    with Serial.of("rated", seconds=BOOT) as guest:
        _until_it_answers(sh)
        assert ADDRESS in guest.run("cat /run/leases/*", seconds=BOOT)
        guest.run("(while true; do nc -l -p 81 </dev/zero; done >/dev/null 2>&1 &)", seconds=BOOT)
        guest.run("(while true; do nc -l -p 82; done >/dev/null 2>&1 &)", seconds=BOOT)
        boot = guest.run("cat /proc/sys/kernel/random/boot_id", seconds=BOOT)
        unshaped = _given(SECONDS), _got(SECONDS)
        for inwards, outwards in ((INWARDS, OUTWARDS), (3 * INWARDS, 3 * OUTWARDS)):
            declare(inwards, outwards)
            _within(_given(SECONDS), inwards, unshaped[0], "inwards")
            _within(_got(SECONDS), outwards, unshaped[1], "outwards")
        assert guest.run("cat /proc/sys/kernel/random/boot_id", seconds=BOOT).split()[-2] in boot, (
            "the guest was started again"
        )
    assert "sfq" in sh("tc qdisc show").stdout
