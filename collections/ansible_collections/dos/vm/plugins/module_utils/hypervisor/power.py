# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders to single machines, carried out: each is judged by the state the machine is in, waited for, and bounded in time.

What is said about power is noted on the machine first (`xml/orders.py`) and done second: a process that dies in between leaves
an intent that the next run of the site makes true. Whatever fails leaves the machine in the last state that libvirt knows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from .._thirdparty import libvirt
from ..errors import DosVmError, HypervisorError, Unanswered
from ..model.order import Ordering
from ..plan.order import TABLE, judge, no_room
from ..xml.build import parse
from ..xml.common import mark_of, not_of
from ..xml.identity import device_identity
from ..xml.orders import NAMESPACE, PREFIX, Orders, read, write
from . import live
from .connection import allowing, saying
from .events import HearingHypervisor
from .look import SAVED, STATES
from .ready import refuse_attach, refuse_more, refuse_restore, refuse_resume, refuse_start, start_pools
from .saved import keep_saved
from .screenshot import take

GRACE = 120  # seconds (AMB-32)
AGAIN = 15.0  # seconds until a guest that is just booting, and hears nothing, is asked to stop once more
LIMITS: Mapping[str, int] = {"start": 120, "restore": 300, "save": 600, "reboot": 60}
AT_ONCE = 8  # machines that are waited for side by side
NO_METADATA = 80  # VIR_ERR_NO_DOMAIN_METADATA


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an order to one machine. `note` is for people; `refused` says why nothing was done or what failed."""

    name: str
    before: str = ""
    after: str = ""
    changed: bool = False
    done: str = ""
    note: str = ""
    refused: str = ""
    number: int = 0  # of its power overrides, as far as they have come; none where nothing was noted
    console: str | None = None
    serial: str | None = None


def carry_out(asked: Ordering, hypervisor: HearingHypervisor, *, dry_run: bool, now: float) -> list[Answer]:
    """The order to every machine, side by side; one that is refused or fails does not stop the others."""
    room = _Room(asked, hypervisor, dry_run, now)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(room.one, asked.names))


class _Room:
    """One order, and the host it is given on."""

    def __init__(self, asked: Ordering, hypervisor: HearingHypervisor, dry_run: bool, now: float) -> None:
        self.asked, self.hypervisor, self.dry_run, self.now = asked, hypervisor, dry_run, now
        self.connection = hypervisor._connection
        self.row = TABLE[asked.order]
        self.notes = threading.Lock()  # the lock of the host is one for all threads of this process

    def one(self, name: str) -> Answer:
        try:
            with saying(f"{self.asked.order} domain {name}"):
                domain = self.connection.lookupByName(name)
                return self._ours(name, domain)
        except DosVmError as failed:
            return Answer(name=name, before="", after=self._state_now(name), refused=str(failed))

    def _state_now(self, name: str) -> str:
        with allowing("VIR_ERR_NO_DOMAIN"):
            return state_of(self.connection.lookupByName(name))
        return ""

    def _ours(self, name: str, domain: Any) -> Answer:
        before = state_of(domain)
        xml = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        if why := not_of(self.asked.site, xml):
            return Answer(name=name, before=before, after=before, refused=why)
        verdict = judge(self.asked.order, before)
        if refused := verdict.refused or _undefined(self.asked.order, domain):
            return Answer(name=name, before=before, after=before, refused=refused)
        noted = self._wanted(name, read(xml))
        answer = _placed(Answer(name=name, before=before, number=noted.number), domain)
        if self.dry_run:
            done = f"would be {self.row.done}" if verdict.do and self.row.done else ""
            return replace(answer, changed=bool(done) or noted != read(xml), done=done)
        remembered = self._note(domain, noted, read(xml))
        self._set_at_boot(name, domain, xml)
        if not verdict.do:
            return replace(answer, changed=remembered, note=f"is {before} already")
        try:
            with saying(f"{self.asked.order} domain {name}"):
                note = self._do(domain, xml)
        except Unanswered as silent:
            return _placed(replace(answer, changed=True, note=str(silent)), domain)
        except HypervisorError as failed:
            if self.row.power == "on":
                self._note(domain, replace(noted, error=str(failed)), noted)
            return replace(answer, changed=remembered, after=state_of(domain), refused=str(failed))
        changed = self.asked.order not in ("console", "release") or remembered
        done = f"has been {self.row.done}" if self.row.done and changed else ""
        return _placed(replace(answer, changed=changed, done=done, note=note), domain)

    # What is remembered

    def _wanted(self, name: str, before: Orders) -> Orders:
        """The orders that the VM should carry from now on, under the number that the store gave, where it gave one."""
        least = (self.asked.numbers or {}).get(name, 0)  # type: ignore[call-overload]  # a Name is a str
        if self.asked.order == "release":
            return replace(before.released(), number=max(before.released().number, least), error="")
        if self.row.power is None or not self.asked.keep:
            return before
        declared = (self.asked.declared or {}).get(name)  # type: ignore[call-overload]
        return before.overridden(
            self.row.power, until=self.asked.until, against=declared, by=self.asked.by or "", least=least
        )

    def _note(self, domain: Any, orders: Orders, before: Orders) -> bool:
        """Write the orders onto the machine; whether they were others. Held while it is written: no run is in its middle."""
        if orders == before:
            return False
        with self.notes, self.hypervisor.lock():
            remember(domain, orders)
        return True

    def _set_at_boot(self, name: str, domain: Any, xml: Any) -> None:
        """Have a VM start with its host, or not, as the operation means it to be on, also if the host loses power next."""
        declared = (self.asked.declared or {}).get(name)  # type: ignore[call-overload]  # a Name is a str
        power = declared if self.asked.order == "release" else self.row.power if self.asked.keep else None
        on_boot = (mark_of(xml) or {}).get("on_boot", "stay_off")
        if power is None or on_boot == "stay_off":
            return
        # What is off by a power override does not come back with its host.
        on = power == "on" or (on_boot == "start" and declared == "off")
        if bool(domain.autostart()) != on:
            domain.setAutostart(int(on))

    # What is done

    def _do(self, domain: Any, xml: Any) -> str:
        match self.asked.order:
            case "start":
                return self._start(domain, xml)
            case "stop":
                return self._stop(domain, xml)
            case "reboot":
                return self._reboot(domain)
            case "reset":
                domain.reset(0)
            case "suspend":
                domain.suspend()
            case "resume":
                refuse_resume(domain, self.hypervisor.running)
                self._wake(domain) if state_of(domain) == "pmsuspended" else domain.resume()
            case "save":
                kept = keep_saved(self.connection, domain.name(), self.now)
                note = self._within(domain, lambda: domain.managedSave(0), give_up=domain.abortJob)
                return f"what was saved before is kept as {kept}" if kept else note
            case "restore":
                saved = parse(domain.managedSaveGetXMLDesc(0))
                with self.hypervisor.running.claim(saved):
                    refuse_restore(domain, self.hypervisor.facts(), self.hypervisor.running)
                    self._refuse_more(saved)
                    return self._within(domain, domain.create)
            case "attach" | "detach":
                return self._device(domain, xml)
            case "screenshot":
                return take(self.connection, domain, str(self.asked.file))
        return ""

    def _limit(self) -> int:
        given = self.asked.timeout
        return LIMITS[self.asked.order] if given is None else given

    def _start(self, domain: Any, xml: Any) -> str:
        with self.hypervisor.running.claim(xml):
            refuse_start(self.connection, xml, self.hypervisor.facts(), self.hypervisor.running)
            self._refuse_more(xml)
            return self._within(domain, domain.create)

    def _refuse_more(self, xml: Any) -> None:
        if self.asked.max_vcpus is not None or self.asked.max_memory is not None:
            refuse_more(self.connection, xml, self.asked.max_vcpus, self.asked.max_memory)

    def _within(self, domain: Any, work: Callable[[], object], give_up: Callable[[], object] | None = None) -> str:
        """Do what libvirt may wait with for a lease or a slow disk, within the time."""
        failed: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
            except libvirt.libvirtError as refused:
                failed.append(refused)

        # A daemon: a start that hangs in libvirt must not keep this process from telling of it.
        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        thread.join(self._limit())
        if thread.is_alive():
            if give_up is not None:
                with allowing("VIR_ERR_OPERATION_INVALID"):
                    give_up()
                thread.join(self._limit())
            text = f"not done within {self._limit()} s, it is {state_of(domain)}; libvirt may still finish it"
            raise HypervisorError(f"{self.asked.order} domain {domain.name()}", text)
        if failed:
            raise failed[0]
        return ""

    def _stop(self, domain: Any, xml: Any) -> str:
        remembered = (mark_of(xml) or {}).get("stop_timeout")
        grace = (
            self.asked.timeout if self.asked.timeout is not None else GRACE if remembered is None else int(remembered)
        )
        with allowing("VIR_ERR_OPERATION_INVALID"):  # it went off by itself: that is what we want
            if not self.asked.force and self._went_off(domain, grace):
                return ""
            if domain.isActive():
                domain.destroy()
                return (
                    "by force" if self.asked.force else f"by force, since the guest had not gone off within {grace} s"
                )
        return ""

    def _went_off(self, domain: Any, grace: float) -> bool:
        """Ask the guest, more than once: one that is just booting hears nothing yet. One that is paused never does."""
        deadline = time.monotonic() + grace
        ask = 0.0
        while domain.isActive() and time.monotonic() < deadline:
            if domain.state()[0] not in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_SHUTDOWN):
                return False
            if time.monotonic() >= ask:
                ask = time.monotonic() + AGAIN
                with allowing("VIR_ERR_OPERATION_FAILED", "VIR_ERR_AGENT_UNRESPONSIVE"):
                    domain.shutdown()
            time.sleep(self.hypervisor.step)
        return not domain.isActive()

    def _wake(self, domain: Any) -> None:
        """libvirt only asks for it, and hears from QEMU a moment later that it is so."""
        domain.pMWakeup(0)
        self._until(domain, "is still asleep").wait(lambda: state_of(domain) != "pmsuspended")

    def _until(self, domain: Any, what: str) -> live.Until:
        return live.Until(f"{self.asked.order} domain {domain.name()}", what, self.asked.timeout or 10, 0.05)

    def _reboot(self, domain: Any) -> str:
        limit = self._limit()
        begun = self.hypervisor.rebooted(domain, limit)
        if begun:
            return ""
        if self.asked.reset_after:
            domain.reset(0)
            return f"reset, since the guest had not rebooted within {limit} s"
        raise Unanswered(f"reboot domain {domain.name()}", f"the guest has not begun to within {limit} s (VM-20)")

    def _device(self, domain: Any, xml: Any) -> str:
        """Now and in the definition, both or neither; noted, so that the site leaves it so (HOT-01)."""
        text, attach = str(self.asked.device), self.asked.order == "attach"
        element = parse(text, path="device")
        identity = device_identity(element)
        key = (str(element.tag), identity[1] if identity else "")
        if not key[1]:
            raise HypervisorError(f"{self.asked.order} a device", "name it by target, MAC or alias")
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
        there = any(device_identity(held) == identity for held in xml.iterfind(f"devices/{key[0]}"))
        if attach and not there:
            if why := no_room(xml, element):
                raise HypervisorError(f"attach a disk to domain {domain.name()}", why)
            refuse_attach(domain, element, self.hypervisor.running)
        self._note(domain, read(xml).with_device(key, attached=attach), read(xml))
        if there == attach and not domain.isActive():
            return "was so already"
        if attach:
            if not there:
                start_pools(domain.connect(), element)
                domain.attachDeviceFlags(text, flags)
                self._record(domain, text, attached=True)
            return ""
        if there:
            domain.detachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        if key in read(xml).attached:
            self._record(domain, text, attached=False)
        if domain.isActive():
            live.detach(domain, text, self._until(domain, "still holds the device"))
        return ""

    def _record(self, domain: Any, device: str, *, attached: bool) -> None:
        """Note that a device of ours came or went: once the operation is released, it is one that nothing declares."""
        sides = [libvirt.VIR_DOMAIN_AFFECT_CONFIG, *([libvirt.VIR_DOMAIN_AFFECT_LIVE] if domain.isActive() else [])]
        for side in sides:
            live.record(domain, device, side, attached=attached)


def state_of(domain: Any) -> str:
    """libvirt's word for the state, or `saved` for one whose memory is on disk."""
    number = domain.state()[0]
    if number == libvirt.VIR_DOMAIN_SHUTOFF and domain.hasManagedSaveImage(0):
        return SAVED
    return STATES.get(number, "no state")


def _undefined(order: str, domain: Any) -> str:
    """Why an operation that is noted in the definition is refused where the definition was removed; empty where it is there."""
    if domain.isPersistent() or not (TABLE[order].power or order in ("attach", "detach")):
        return ""
    return f"{order} is not possible while its definition is missing: run dos.vm.site, which writes it again"


def remember(domain: Any, orders: Orders) -> None:
    """Write orders onto a machine, in its definition and where it runs."""
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
    try:
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, write(orders), PREFIX, NAMESPACE, flags)
    except libvirt.libvirtError as refused:
        if refused.get_error_code() != NO_METADATA:  # it carried none, and should carry none
            raise


def _placed(answer: Answer, domain: Any) -> Answer:
    """The answer with the state a machine is in now, and where its consoles are, which changes with each start (GFX-03)."""
    state = state_of(domain)
    if not domain.isActive():
        return replace(answer, after=state, console=None, serial=None)
    xml = parse(domain.XMLDesc())
    graphics, serial = xml.find("devices/graphics"), xml.find("devices/serial/source")
    where = None
    if graphics is not None and graphics.get("port", "-1") != "-1":
        where = f"{graphics.get('type')}://{graphics.get('listen', '127.0.0.1')}:{graphics.get('port')}"
    return replace(answer, after=state, console=where, serial=None if serial is None else serial.get("path"))
