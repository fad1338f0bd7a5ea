# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving a machine to another host while it runs, from the host that has it.

libvirt's own daemon on this host does the work with the other's (peer to peer), so nothing depends on whoever asked: a call
that ends leaves the migration going, and the next call watches on. What counts afterwards is not what was returned but where
the machine is found; every way out of here looks at both hosts and leaves it running on one.
See https://libvirt.org/migration.html and virDomainMigrateToURI3.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from .._thirdparty import libvirt
from ..errors import HypervisorError
from ..model.migration import Migration
from ..plan.migration import Question, copied, notes, reasons
from ..xml.build import parse, to_text
from . import carry, copies, records, sent
from .bridges import release
from .connection import allowing, constant, open_connection, saying
from .events import HearingHypervisor
from .libvirt import LibvirtHypervisor
from .moved import Moved, Progress, figures_of
from .ready import refuse_start, userfaultfd
from .sides import guest_of, question

KNOCK = 5.0  # seconds for the other host to answer at all
RETURN = 60.0  # seconds that a libvirt that went away gets to come back
STEP = 0.1


def migrate(wanted: Migration, source: LibvirtHypervisor, *, dry_run: bool = False) -> Moved:
    """Move one machine, or go on watching the migration of it that is under way.

    Raises `HypervisorError` when it failed; the text says where the machine is. What stands in the way beforehand is in the
    answer's `reasons`, and then nothing was touched.
    """
    with source.lock():
        if wanted.abort:
            return _abort(wanted, source, dry_run)
        run = _Run(wanted, source)
        if run.under_way():
            return Moved(remaining=True, progress=run.progress()) if dry_run else run.watch()
        with run.target() as target:
            if run.is_elsewhere(target):
                last = Progress() if wanted.watch else None
                return Moved(changed=run.is_unfinished(target)) if dry_run else run.finish(target, last)
            if not wanted.watch:
                return run.begin(target, dry_run)
            return run.carry_on(target) if run.is_carried(target) else run.settle(Progress())


def _abort(wanted: Migration, source: LibvirtHypervisor, dry_run: bool) -> Moved:
    run = _Run(wanted, source)
    if not run.under_way():
        with run.target() as target:
            if run.is_carried(target):
                return Moved(changed=True) if dry_run else run.put_back(target)
        return Moved(notes=(f"no migration of {wanted.domain} is under way on {wanted.source}",))
    if dry_run:
        return Moved(changed=True)
    with saying(f"abort the migration of {wanted.domain}"):
        run.domain().abortJob()
    while run.under_way():
        time.sleep(STEP)
    with suppress(HypervisorError), run.target() as target:
        return run.put_back(target)
    return run.aborted()


class _Run:
    """One migration, seen from the host that has the machine."""

    def __init__(self, wanted: Migration, source: LibvirtHypervisor) -> None:
        self.wanted, self.source = wanted, source
        self.operation = f"migrate {wanted.domain} from {wanted.source} to {wanted.target}"
        self.notes: list[str] = []
        self.failed: list[str] = []
        self.told_limit = False
        self.awake, self.saved = wanted.awake, wanted.saved
        self.thread: threading.Thread | None = None  # that waits for libvirt's answer, in the call that began it

    # Both hosts

    @contextmanager
    def target(self) -> Iterator[LibvirtHypervisor]:
        """The other host. One that does not answer is told early: libvirt itself would wait for minutes."""
        wanted = self.wanted
        try:
            socket.create_connection((wanted.address, wanted.port), KNOCK).close()
        except OSError as refused:
            text = f"{wanted.target} cannot be reached from {wanted.source} ({wanted.address} port {wanted.port}): {refused}"
            raise HypervisorError(self.operation, text) from None
        with closing(HearingHypervisor(wanted.uri_of_target)) as held:
            yield held

    def domain(self) -> Any:
        return self.source._connection.lookupByName(self.wanted.domain)

    def state(self, host: LibvirtHypervisor) -> str:
        """`active`, `off` or `absent`."""
        with allowing("VIR_ERR_NO_DOMAIN"):
            return "active" if host._connection.lookupByName(self.wanted.domain).isActive() else "off"
        return "absent"

    # Before

    def under_way(self) -> bool:
        """Whether libvirt moves the machine right now."""
        with allowing("VIR_ERR_NO_DOMAIN", "VIR_ERR_OPERATION_INVALID"):
            held = self.domain().jobStats()
            return bool(held.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT and held.get("type"))
        return False

    def is_elsewhere(self, target: LibvirtHypervisor) -> bool:
        """Whether it already is where it should be: it runs there and not here, or is off there and not here at all."""
        here, there = self.state(self.source), self.state(target)
        if (here, there) == ("absent", "absent"):
            raise HypervisorError(self.operation, f"neither {self.wanted.source} nor {self.wanted.target} has it")
        return (there == "active" and here != "active" and self._same(target)) or (here == "absent")

    def _same(self, target: LibvirtHypervisor) -> bool:
        """Whether the definition that is left here is that of the machine there."""
        with allowing("VIR_ERR_NO_DOMAIN"):
            there = target._connection.lookupByName(self.wanted.domain).UUIDString()
            return bool(self.domain().UUIDString() == there)
        return True

    def is_unfinished(self, target: LibvirtHypervisor) -> bool:
        return self.state(self.source) != "absent"

    def begin(self, target: LibvirtHypervisor, dry_run: bool) -> Moved:
        with saying(self.operation):
            asked = question(self.wanted, self.source, target)
            refused = tuple(reasons(asked))
        self.notes += notes(asked)
        disks = copied(asked)
        names = tuple(disk.name for disk in disks)
        if refused:
            return Moved(reasons=refused, notes=tuple(self.notes), copied=names)
        if dry_run:
            return Moved(changed=True, notes=tuple(self.notes), copied=names)
        if asked.guest.saved and not asked.guest.active:
            asked = self._bring_back(target)
        with saying(f"bring the disc of {self.wanted.domain} to {self.wanted.target}"):
            sent.send(target._connection, asked.guest.xml)
        if disks and not asked.guest.active:
            return self._carry(target, asked)
        try:
            with saying(self.operation):
                connections = self.source._connection, target._connection
                same = copies.prepare(*connections, self.domain(), disks, self.wanted.target)
            self._start(asked, same)
            return self.watch()
        except HypervisorError:
            self.withdraw(target)
            self._save_again()
            raise

    def _bring_back(self, target: LibvirtHypervisor) -> Question:
        """Saved memory has no way to another host but in a machine that stands still: it is saved there again (VM-26)."""
        xml = parse(self.domain().XMLDesc())
        refuse_start(self.source._connection, xml, self.source.facts(), self.source.running)
        with saying(f"bring back the memory of {self.wanted.domain}"):
            self.domain().createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
            self.saved = True
            return question(self.wanted, self.source, target)

    def _save_again(self) -> None:
        with suppress(libvirt.libvirtError):
            if self.saved and self.state(self.source) == "active":
                self.domain().managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def _carry(self, target: LibvirtHypervisor, asked: Question) -> Moved:
        try:
            carry.begin(self.source._connection, target._connection, copied(asked), self.wanted.target)
        except HypervisorError:
            self.withdraw(target)
            raise
        return self.carry_on(target, asked)

    # While

    def is_carried(self, target: LibvirtHypervisor) -> bool:
        """Whether it is off, and its disks are on their way."""
        if self.state(self.source) != "off":
            return False
        return carry.is_begun(target._connection, guest_of(self.source._connection, self.wanted.domain).disks)

    def carry_on(self, target: LibvirtHypervisor, asked: Question | None = None) -> Moved:
        """The disks of one that is off go first, and its definition when they are there (MIG-12)."""
        until = None if self.wanted.seconds is None else time.monotonic() + self.wanted.seconds
        began = time.monotonic()
        try:
            with saying(self.operation):
                asked = asked or question(self.wanted, self.source, target)
                done = carry.carry(target._connection, copied(asked), until)
        except HypervisorError:
            self.withdraw(target)
            raise
        progress = Progress(sent=done.sent, left=done.left, seconds=time.monotonic() - began)
        if done.left:
            return Moved(changed=True, remaining=True, progress=progress, notes=tuple(self.notes))
        self._start(asked, same=True)
        return self.watch()

    def put_back(self, target: LibvirtHypervisor) -> Moved:
        """Nothing of it is left at the target."""
        self.withdraw(target)
        return self.aborted()

    def aborted(self) -> Moved:
        sentence = f"the migration of {self.wanted.domain} has been aborted, it is on {self.wanted.source}"
        return Moved(changed=True, performed=(sentence,))

    def _start(self, asked: Question, same: bool) -> None:
        flags, params = self._flags(asked, same), self._params(asked)
        self.awake = asked.guest.state == "running"
        with saying(self.operation):
            records.keep(self.domain())
        self.notes += [] if same else ["a backing file is not there: all of the disk is copied, and it stands alone"]

        def work() -> None:
            # On a connection of its own: asked on the same one how far it is, libvirt may not answer before it has ended.
            try:
                connection = open_connection(self.source.uri)
                connection.lookupByName(self.wanted.domain).migrateToURI3(self.wanted.uri_of_target, params, flags)
            except (HypervisorError, libvirt.libvirtError) as refused:
                self.failed.append(_text(refused))

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def _flags(self, asked: Question, same: bool) -> int:
        wanted, live, moved = self.wanted, asked.guest.active, copied(asked)
        words = {
            "peer2peer": True,
            "persist_dest": True,
            "undefine_source": True,
            "live": live,
            "offline": not live,
            "abort_on_error": live,
            "tunnelled": live and wanted.way == "tunnel",
            "tls": live and wanted.way == "tls",
            "auto_converge": live and wanted.auto_converge,
            "compressed": live and wanted.compression != "none",
            "parallel": live and wanted.parallel,
            "postcopy": live and self._may_follow(),
            "non_shared_inc": live and moved and same,
            "non_shared_disk": live and moved and not same,
            "unsafe": live and wanted.unsafe,
        }
        return sum(constant("VIR_MIGRATE", word) for word, said in words.items() if said)

    def _params(self, asked: Question) -> dict[str, Any]:
        wanted, moved = self.wanted, [disk.target for disk in copied(asked)]
        if not asked.guest.active:
            return {}
        found: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: wanted.bandwidth,
            libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS: wanted.parallel,
            libvirt.VIR_MIGRATE_PARAM_COMPRESSION: None if wanted.compression == "none" else wanted.compression,
            libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: moved or None,
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: self._by_file(asked) if moved else None,
        }
        if wanted.way != "tunnel":
            host = f"[{wanted.address}]" if ":" in wanted.address else wanted.address
            found[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://{host}"
        return {name: value for name, value in found.items() if value is not None}

    def _by_file(self, asked: Question) -> str:
        """The running machine with its copied disks called by their files: of volumes libvirt does not see that they are there.

        The definition is not touched by it, so the next start calls them volumes again.
        """
        xml = parse(self.domain().XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE))
        for disk in copied(asked):
            held = xml.find(f"devices/disk[@type='volume']/target[@dev='{disk.target}']/..")
            source = None if held is None else held.find("source")
            if held is not None and source is not None:
                held.set("type", "file")
                for name in ("pool", "volume", "mode"):
                    source.attrib.pop(name, None)
                source.set("file", disk.path)
        return to_text(xml)

    def _may_follow(self) -> bool:
        """Whether QEMU may fetch memory as the guest touches it; the kernel lets not everybody."""
        if not self.wanted.post_copy:
            return False
        missing = userfaultfd()
        self.notes += [f"no post-copy: {missing}"] if missing else []
        return not missing

    def progress(self) -> Progress:
        with allowing("VIR_ERR_NO_DOMAIN", "VIR_ERR_OPERATION_INVALID"):
            held = self.domain().jobStats()
            return Progress(
                sent=held.get("data_processed", 0),
                left=held.get("data_remaining", 0),
                seconds=held.get("time_elapsed", 0) / 1000,
            )
        return Progress()

    def watch(self) -> Moved:
        """Until it ends, its time is over, or that of this call."""
        wanted, started, last, moved_on = self.wanted, time.monotonic(), Progress(), time.monotonic()
        calm = False
        while self.thread.is_alive() if self.thread else self._still():
            now = time.monotonic()
            with self._patiently():
                seen = self.progress()
                if seen.sent and not calm:
                    calm = self._be_gentle()
                if seen.sent != last.sent:
                    last, moved_on = seen, now
                if seen.sent and now - moved_on > wanted.stall:
                    self._give_up(f"nothing was sent for {wanted.stall} s")
                if wanted.limit and seen.seconds > wanted.limit and not self.told_limit:
                    self._at_limit()
            # What was given up is waited for, or nobody could tell why it ended.
            if wanted.seconds is not None and not self.failed and now - started > wanted.seconds:
                return Moved(
                    changed=True,
                    remaining=True,
                    awake=self.awake,
                    saved=self.saved,
                    progress=last,
                    notes=tuple(self.notes),
                )
            time.sleep(STEP)
        return self.settle(last)

    def _still(self) -> bool:
        going = True
        with self._patiently():
            going = self.under_way()
        return going

    @contextmanager
    def _patiently(self) -> Iterator[None]:
        """libvirt on this host may go away under us; what became of the machine is seen at the end."""
        try:
            yield
        except libvirt.libvirtError as refused:
            if self._answers():
                raise HypervisorError(self.operation, str(refused)) from None
            time.sleep(STEP)

    def _be_gentle(self) -> bool:
        with allowing("VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_DOMAIN"):  # it is over already
            self.domain().migrateSetMaxDowntime(self.wanted.downtime, 0)
        return True

    def _at_limit(self) -> None:
        """The time is over. Post-copy where it was agreed, else what the operator wants."""
        self.told_limit = True
        with allowing("VIR_ERR_NO_DOMAIN"):
            if self.wanted.post_copy and not userfaultfd():
                self.domain().migrateStartPostCopy()
            elif self.wanted.at_limit == "suspend":
                self.domain().suspend()
                self.notes.append(f"it stood still after {self.wanted.limit} s, so that the rest could be sent")
            else:
                self._give_up(f"the limit of {self.wanted.limit} s has passed")

    def _give_up(self, why: str) -> None:
        self.failed.append(why)
        with allowing("VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_DOMAIN"):
            self.domain().abortJob()

    # After

    def settle(self, last: Progress) -> Moved:
        """It has ended: see where the machine is, and leave it there alone."""
        self._reconnect()
        here = self.state(self.source)
        try:
            with self.target() as target:
                there = self.state(target)
                if here == "active" and there == "active":
                    # The other host's last word was lost on its way: libvirt took the machine up again here, and is right.
                    target._connection.lookupByName(self.wanted.domain).destroy()
                elif there == "active" or (here == "absent" and there == "off"):
                    return self.finish(target, last)
                self.withdraw(target)
        except HypervisorError as unreachable:
            if here == "absent" and not self.failed:
                self.notes.append(unreachable.text)
                return self._done(last, {})
            self.failed.append(unreachable.text)
        self._save_again()
        state = self._awake() if self.state(self.source) == "active" else {"absent": "is not"}.get(here, "is off")
        why = (
            "; ".join(dict.fromkeys(self.failed))
            or "it ended without coming there; libvirt's log on both hosts says why, if nobody aborted it"
        )
        raise HypervisorError(self.operation, f"{why}. {self.wanted.domain} {state} on {self.wanted.source}")

    def _awake(self) -> str:
        """A machine that the other host could not take up may still stand still here: it goes on, if it ran before."""
        domain = self.domain()
        state, why = domain.state()
        if state == libvirt.VIR_DOMAIN_PAUSED and why in (
            libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
            libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
        ):
            try:
                domain.resume()
            except libvirt.libvirtError as refused:
                return f"stands still ({refused.get_error_message()}) and has to be resumed (virsh resume)"
        return "runs"

    def _answers(self) -> bool:
        """Whether libvirt of this host does. `isAlive` says so of one that died a moment ago."""
        with suppress(libvirt.libvirtError):
            return bool(self.source._connection.getLibVersion())
        return False

    def _reconnect(self) -> None:
        deadline = time.monotonic() + RETURN
        while not self._answers():
            with suppress(HypervisorError):
                self.source.close()
                self.source.__init__(self.source.uri)  # type: ignore[misc]  # the same host again
            if time.monotonic() > deadline:
                text = f"libvirt on {self.wanted.source} went away and does not come back; the machine itself may run"
                raise HypervisorError(self.operation, text)
            time.sleep(STEP)

    def finish(self, target: LibvirtHypervisor, last: Progress | None = None) -> Moved:
        """The machine is there: nothing of it stays here, and it starts with its host there if it did here."""
        wanted, performed = self.wanted, []
        with saying(f"clean up after {wanted.domain} on {wanted.source}"):
            there = target._connection.lookupByName(wanted.domain)
            with allowing("VIR_ERR_NO_DOMAIN"):
                left = self.domain()
                if left.autostart():
                    records.keep(left)  # what ended without us, or was begun by an older dos.vm
                left.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
                performed.append(f"domain {wanted.domain} has been undefined on {wanted.source}")
            if self.awake and there.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                there.resume()  # it stood still so that the rest could be sent
            elif self.saved and there.isActive():
                # Awake for a moment: until then QEMU has not taken up the disks, and saving what stands still it dies of that.
                there.resume()
                there.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)
                performed.append(f"the memory of {wanted.domain} has been saved on {wanted.target}")
            if lost := records.give(there):
                self.notes.append(
                    f"the record of changes of {', '.join(lost)} did not come along: the next backup is in full"
                )
            gone = self._release(target)
            sent.leave_nothing(wanted.domain)
            # What stays for now is taken away when the host is next brought to its slice.
            with suppress(HypervisorError):
                bridges = release(parse(there.XMLDesc())) if self.source._here else []
                performed += [f"bridge {name} has been removed from {wanted.source}" for name in bridges]
        performed += [f"volume {disk.name} has been removed from {wanted.source}" for disk in gone]
        figures = figures_of(there)
        return (
            self._done(last, figures, performed)
            if last is not None
            else Moved(changed=bool(performed), performed=tuple(performed), figures=figures)
        )

    def _release(self, target: LibvirtHypervisor) -> list[Any]:
        disks = guest_of(target._connection, self.wanted.domain).disks
        for pool in {disk.pool for disk in disks if disk.pool}:
            target._connection.storagePoolLookupByName(pool).refresh()
        return copies.settle(self.source._connection, target._connection, disks, keep=self.wanted.keep_source)

    def _done(self, last: Progress, figures: dict[str, int], performed: list[str] | None = None) -> Moved:
        wanted = self.wanted
        sentence = f"domain {wanted.domain} has been moved from {wanted.source} to {wanted.target}"
        return Moved(
            changed=True,
            performed=(sentence, *(performed or ())),
            notes=tuple(self.notes),
            progress=last,
            figures=figures,
        )

    def withdraw(self, target: LibvirtHypervisor) -> None:
        """Nothing came of it: take away what was made for it. What cannot be now is found by its mark the next time."""
        with suppress(libvirt.libvirtError, HypervisorError):
            guest = guest_of(self.source._connection, self.wanted.domain)
            records.take_back(self.domain())
            if self.state(target) == "absent":
                copies.discard(target._connection, guest.disks)
                sent.take_back(target._connection, guest.xml)


def _text(refused: Exception) -> str:
    return refused.text if isinstance(refused, HypervisorError) else str(refused)
