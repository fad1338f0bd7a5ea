# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders to a real guest: waited for, told truly, and not undone by the next run of the site."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libvirt
import pytest
from guests import overlay, said

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.events import HearingHypervisor
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.power import Answer, carry_out
from dosvm.hypervisor.saved import saved_file
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.order import Ordering
from dosvm.model.slice import Permission, Slice
from dosvm.xml.orders import Orders, Override, read

pytestmark = pytest.mark.libvirt


class Guest:
    """One guest, and the orders it gets."""

    def __init__(self, hypervisor: HearingHypervisor, name: str, directory: Path) -> None:
        self.hypervisor, self.name, self.log = hypervisor, name, directory / "serial.log"
        self.root, self.directory = overlay(directory), directory

    def declare(self, **more: Any) -> Outcome:
        domain = {
            "name": self.name,
            "mark": {"site": "test", "stop_timeout": 240},
            "virt_type": "qemu",
            "memory": "128 MiB",
            "serial": {"log": str(self.log)},
            "graphics": [{"type": "vnc"}],
            "disks": [{"file": str(self.root), "format": "qcow2", "target": "vda"}],
            **more,
        }
        return converge(decode(Slice, {"site": "test", "domains": [domain]}), self.hypervisor, permission=Permission())

    def order(self, verb: str, *, dry_run: bool = False, **more: Any) -> Answer:
        asked = decode(Ordering, {"names": [self.name], "order": verb, "site": "test", **more})
        (answer,) = carry_out(asked, self.hypervisor, dry_run=dry_run, now=time.time())
        return answer

    def does(self, verb: str, **more: Any) -> Answer:
        answer = self.order(verb, **more)
        assert (answer.refused, answer.changed) == ("", True)
        again = self.order(verb, **more)
        assert verb in ("reboot", "reset", "screenshot") or (again.refused, again.changed) == ("", False)
        return answer

    @property
    def orders(self) -> Orders:
        return read(self.hypervisor.observe("test")[Address("domain", self.name)].xml)

    def booted(self, times: int) -> None:
        deadline = time.monotonic() + 90
        while said(self.log, "is up").count("is up") < times:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def guest(hypervisor: LibvirtHypervisor, prefix: str, tmp_path: Path) -> Iterator[Guest]:
    with closing(HearingHypervisor()) as held:
        yield Guest(held, prefix, tmp_path)


def test_a_guest_follows_every_order(guest: Guest) -> None:
    """VM-T2.1 to VM-T2.8 one after the other, VM-22, VM-23; GFX-T1.2, GFX-03 and VM-T1.5: where its console is."""
    guest.declare(active=False)
    told = guest.order("start", dry_run=True)
    assert (told.done, told.changed, told.after) == ("would be started", True, "shut off")
    assert guest.orders == Orders()
    started = guest.does("start", declared={guest.name: "off"})
    assert started.after == "running"
    assert started.console is not None
    assert started.console.startswith("vnc://127.0.0.1:")
    assert guest.orders.newest == Override(power="on", number=1, against="off")
    guest.booted(1)

    guest.does("suspend")
    assert "resume it" in guest.order("reboot").refused
    guest.does("resume")

    guest.does("save")
    assert guest.orders.power == "off"
    assert guest.hypervisor.observe("test")[Address("domain", guest.name)].info["state"] == "saved"
    assert "restore it" in guest.order("start").refused
    guest.does("restore")
    assert said(guest.log, "is up").count("is up") == 1, "it went on, and did not boot again"

    picture = guest.directory / "screen.png"
    assert "x" in guest.order("screenshot", file=str(picture)).note
    assert picture.read_bytes().startswith(b"\x89PNG")

    assert guest.does("reboot", timeout=240).note == ""
    guest.booted(2)
    stopped = guest.does("stop")
    assert (stopped.after, stopped.note) == ("shut off", "")
    assert "power button" in guest.log.read_text(errors="replace")
    assert "start it first" in guest.order("suspend").refused

    guest.does("start")
    guest.does("reset")
    assert guest.does("stop", force=True).note == "by force"

    released = guest.order("release")
    assert (released.changed, guest.orders) == (True, Orders())
    assert guest.orders.number > 1, "the count was lost"


def test_what_was_saved_before_is_kept_under_a_dated_name(guest: Guest) -> None:
    """VM-25: libvirt would write over it."""
    guest.declare(disks=[])
    old = saved_file(guest.name)
    old.write_bytes(b"memory of before")
    try:
        told = guest.order("save")
        assert (told.refused, told.after) == ("", "saved")
        (kept,) = old.parent.glob(f"{guest.name}.*.saved")
        assert str(kept) in told.note
        assert kept.read_bytes() == b"memory of before"
        assert guest.order("restore").after == "running"
        assert not old.exists()
        assert guest.order("save").note == "", "what was brought back is not kept for ever"
    finally:
        for left in old.parent.glob(f"{guest.name}.*"):
            left.unlink()


def test_a_guest_that_hears_nothing_is_told_of_and_then_forced(guest: Guest) -> None:
    """VM-14, LIMIT-41."""
    guest.declare(disks=[])
    answer = guest.order("reboot", timeout=1)
    assert "has not begun to within 1 s" in answer.note
    assert (answer.refused, answer.after) == ("", "running")
    assert "reset, since" in guest.order("reboot", timeout=1, reset_after=True).note
    stopped = guest.order("stop", timeout=1)
    assert (stopped.after, stopped.note) == ("shut off", "by force, since the guest had not gone off within 1 s")


def test_what_cannot_start_says_why_and_stays_off(guest: Guest) -> None:
    """VM-12, VM-13, VM-T1.9, LIMIT-43: the order itself tells it, and the machine remembers."""
    guest.declare(active=False)
    guest.root.unlink()
    answer = guest.order("start")
    assert f"{guest.root} is not there" in answer.refused
    assert answer.after == "shut off"
    assert f"{guest.root} is not there" in guest.orders.error
    overlay(guest.directory)
    guest.does("start")
    assert guest.orders.error == ""
    guest.order("stop", force=True)


def test_memory_that_the_host_has_not_is_not_promised(guest: Guest) -> None:
    guest.declare(active=False, memory="8 TiB")
    assert "(VM-18)" in guest.order("start").refused


def test_a_device_that_was_attached_by_order_outlives_the_next_run(guest: Guest) -> None:
    guest.declare(disks=[])
    data = guest.directory / "data.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(data), "4M"], check=True)
    disk = f"""<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{data}'/>
        <target dev='vdb' bus='virtio'/></disk>"""
    assert guest.order("attach", device=disk).changed
    outcome = guest.declare(disks=[])
    assert (outcome.performed, outcome.failures) == ((), ())
    live = guest.hypervisor.observe("test")[Address("domain", guest.name)].live
    assert live is not None
    assert live.find("devices/disk/target[@dev='vdb']") is not None
    # The declaration has it back: nobody is there to let go of it, so it waits, and goes with the guest.
    guest.order("release")
    LibvirtHypervisor.guest_patience, before = 0.5, LibvirtHypervisor.guest_patience
    try:
        assert guest.declare(disks=[]).unanswered != ()
    finally:
        LibvirtHypervisor.guest_patience = before
    guest.order("stop", force=True, keep=False)
    guest.declare(disks=[])
    assert guest.hypervisor.observe("test")[Address("domain", guest.name)].xml.find("devices/disk") is None


def test_others_machines_are_not_given_orders(guest: Guest, prefix: str) -> None:
    guest.declare(active=False)
    asked = decode(Ordering, {"names": [prefix, "nobody"], "order": "start", "site": "elsewhere"})
    told = carry_out(asked, guest.hypervisor, dry_run=False, now=0.0)
    assert "is for site elsewhere" in told[0].refused
    assert "nobody" in told[1].refused
    assert guest.hypervisor._find(Address("domain", prefix)).state()[0] == libvirt.VIR_DOMAIN_SHUTOFF
