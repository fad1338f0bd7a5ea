# SPDX-License-Identifier: GPL-3.0-or-later
"""Section 16's state diagram on a real libvirt: each order in each state that a machine can be brought to, and what becomes of it."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import guests
import libvirt
import pytest

from dosvm.apply import converge
from dosvm.hypervisor.events import HearingHypervisor
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.hypervisor.power import Answer, carry_out
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.order import Ordering
from dosvm.model.slice import Permission, Slice
from dosvm.plan.order import STATES, TABLE

pytestmark = pytest.mark.libvirt

SITE = "tstates"  # of its own: what is no longer declared in it goes
# The state after the order; = where the machine is so already and nothing is done; - where the order is refused.
DIAGRAM = """
            running   paused    shut-off  saved
start       =         -         running   -
stop        shut-off  shut-off  =         =
reboot      running   -         -         -
reset       running   -         -         -
suspend     paused    =         -         -
resume      =         running   -         -
save        saved     -         -         =
restore     =         -         -         running
screenshot  running   paused    -         -
console     running   paused    shut-off  saved
release     running   paused    shut-off  saved
"""
# Where only a guest's own doing brings a machine.
OF_A_SYSTEM = """
            crashed   pmsuspended
start       -         -
reboot      -         -
reset       -         -
suspend     -         -
save        -         -
restore     -         -
screenshot  crashed   -
console     crashed   pmsuspended
release     crashed   pmsuspended
resume      -         running
stop        shut-off  shut-off
"""
DOING = {"crashed": "echo c >/proc/sysrq-trigger", "pmsuspended": "echo mem >/sys/power/state"}


def pairs(diagram: str) -> list[tuple[str, str, str]]:
    """Order, state, and the state after it, as above."""
    head, *rows = (line.split() for line in diagram.strip().splitlines())
    return [
        (row[0], state.replace("-", " "), becomes.replace("-", " ").strip())
        for row in rows
        for state, becomes in zip(head, row[1:], strict=True)
    ]


PAIRS = pairs(DIAGRAM)


class Machine:
    """One without a system: it is in any state at once, and hears nothing."""

    def __init__(self, hypervisor: HearingHypervisor, name: str) -> None:
        self.hypervisor, self.name = hypervisor, name
        self.declare(active=False)

    def declare(self, *, prune: bool = False, **more: Any) -> Any:
        machine = {
            "name": self.name,
            "mark": {"site": SITE, "stop_timeout": 0},
            "virt_type": "qemu",
            "memory": "16 MiB",
            **more,
        }
        held = {"site": SITE, "domains": [] if prune else [{**machine, "graphics": [{}], "video": "vga"}]}
        return converge(decode(Slice, held), self.hypervisor, permission=Permission(prune=prune))

    @property
    def domain(self) -> Any:
        return self.hypervisor._connection.lookupByName(self.name)

    @property
    def state(self) -> str:
        return str(self.hypervisor.observe(SITE)[Address("domain", self.name)].info["state"])

    def brought_to(self, state: str) -> None:
        """By libvirt itself, so that no order is tested by another one."""
        domain = self.domain
        if domain.isActive():
            domain.destroy()
        if domain.hasManagedSaveImage():
            domain.managedSaveRemove()
        if state != "shut off":
            domain.create()
        if state == "paused":
            domain.suspend()
        if state == "saved":
            domain.managedSave()
        assert self.state == state

    def order(self, verb: str, **more: Any) -> Answer:
        asked = decode(Ordering, {"names": [self.name], "order": verb, "site": SITE, **more})
        (answer,) = carry_out(asked, self.hypervisor, dry_run=False, now=time.time())
        return answer

    def follows(self, verb: str, state: str, becomes: str, folder: Path) -> None:
        """One pair of a diagram."""
        more: dict[str, Any] = {"reboot": {"timeout": 1}, "stop": {"timeout": 0}}.get(verb, {})
        if verb == "screenshot":
            more = {"file": f"{folder}/screen.png"}
        answer = self.order(verb, **more)
        if not becomes:
            assert all(word in answer.refused for word in (verb, state, "(VM-T2)"))
        else:
            assert answer.refused == ""
            assert answer.changed or becomes == "=" or TABLE[verb].power is None
            assert answer.after == self.state
        assert self.state == (state if becomes in ("", "=") else becomes)


@pytest.fixture(scope="module")
def machine(hypervisor: LibvirtHypervisor) -> Iterator[Machine]:
    with closing(HearingHypervisor()) as held:
        made = Machine(held, "tstates")
        yield made
        with suppress(libvirt.libvirtError):
            made.brought_to("shut off")
        made.declare(prune=True)


@pytest.mark.parametrize(("verb", "state", "becomes"), PAIRS)
def test_every_order_in_every_state(machine: Machine, tmp_path: Any, verb: str, state: str, becomes: str) -> None:
    """VM-T2.1, VM-T2.2, VM-T2.3, VM-T2.4, VM-T2.5, VM-T2.6, VM-T2.7, VM-T2.8, VM-20, VM-21, VM-22, VM-23; any other pair is refused with both named and changes nothing."""
    machine.brought_to(state)
    machine.follows(verb, state, becomes, tmp_path)


@pytest.mark.parametrize("state", DOING)
def test_every_order_where_a_guests_own_doing_has_brought_it(
    machine: Machine, folder: Path, tmp_path: Path, state: str
) -> None:
    """VM-T2, VM-21: a guest that crashed is kept to be looked at, and one that sleeps is woken."""
    files = {"kernel": str(folder / "vmlinuz"), "initrd": str(folder / "initrd")}
    booted = {**files, "cmdline": (folder / "cmdline").read_text().strip(), "boot": ["network"], "memory": "96 MiB"}
    kept = {**booted, "serial": {}, "panic": True, "on_crash": "preserve"}
    guest = Machine(machine.hypervisor, f"{SITE}-{state}")
    guest.declare(**kept, active=False)
    for verb, at, becomes in pairs(OF_A_SYSTEM):
        if at != state:
            continue
        if guest.state != state:
            guest.brought_to("running")  # anew: QEMU lets nobody sleep twice
            with guests.Shell.of(guest.name) as shell:
                shell.becomes_true("test -e /sys/power/state")
                shell.type(DOING[state])
                guests.wait_for(state, lambda: guest.state == state)
            assert not guest.declare(**kept).changed, "what a guest does itself is nothing to repair"
        guest.follows(verb, state, becomes, tmp_path)


def test_the_diagrams_have_every_order_that_takes_no_device_and_every_state_that_lasts() -> None:
    """Only a machine that is going down is missing: it is so for a moment."""
    both = (*PAIRS, *pairs(OF_A_SYSTEM))
    assert {verb for verb, _, _ in both} == set(TABLE) - {"attach", "detach"}
    assert {state for _, state, _ in both} == set(STATES) - {"in shutdown"}
    assert len(both) == len({pair[:2] for pair in both}) == len({verb for verb, _, _ in both}) * 6


def test_a_suspended_machine_is_on_and_loses_its_memory_when_it_is_stopped(machine: Machine) -> None:
    """VM-21: it keeps its memory on the host and does not execute; a stop leaves nothing that could go on."""
    machine.brought_to("paused")
    assert machine.hypervisor.observe(SITE)[Address("domain", machine.name)].active
    assert machine.domain.info()[1] == 16 * 1024
    assert not machine.declare().changed, "a site that declares it on has nothing to do"
    assert machine.state == "paused"
    number = machine.domain.ID()
    assert machine.order("stop", timeout=0).after == "shut off"
    assert not machine.domain.hasManagedSaveImage()
    assert "restore is not possible while it is shut off" in machine.order("restore").refused
    assert machine.order("start").after == "running"
    assert machine.domain.ID() != number, "it began anew"


@pytest.mark.parametrize("state", ["running", "paused", "shut off", "saved"])
def test_what_is_no_longer_declared_goes_only_when_that_is_allowed(machine: Machine, state: str) -> None:
    """VM-T2.12, INST-08, AMB-15, VM-06: unasked nothing goes; asked, all of it, whatever state it is in."""
    machine.declare(active=state != "shut off")
    machine.brought_to(state)
    empty = decode(Slice, {"site": SITE})
    kept = converge(empty, machine.hypervisor, permission=Permission())
    (plan,) = (held for held in kept.plans if held.address.name == machine.name)
    assert (plan.verdict, plan.needs, plan.reason) == (
        "left",
        "prune",
        "no longer declared; dos_prune: true removes it",
    )
    assert machine.state == state
    assert machine.declare(prune=True).failures == ()
    assert Address("domain", machine.name) not in machine.hypervisor.observe(SITE)
    machine.declare(active=False)
    assert machine.state == "shut off", "nothing of its memory is left to come back"


def test_saved_memory_comes_back_only_where_all_of_its_disks_are(machine: Machine) -> None:
    """VM-24: the file that is missing is named, and the memory is kept until it is there again."""
    folder = Path("/var/tmp") / f"saved-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    disk, away = folder / "disk.raw", folder / "away.raw"
    disk.write_bytes(bytes(2**20))
    try:
        machine.declare(disks=[{"file": str(disk), "format": "raw"}])
        machine.brought_to("saved")
        disk.rename(away)
        assert f"{disk} is not there" in machine.order("restore").refused
        assert machine.state == "saved"
        away.rename(disk)
        assert machine.order("restore").after == "running"
    finally:
        machine.brought_to("shut off")
        machine.declare(active=False)
        shutil.rmtree(folder)
