# SPDX-License-Identifier: GPL-3.0-or-later
"""How a domain comes to be as declared.

The definition is always brought to what is declared. The running guest gets what can change under it; the rest waits,
shown as pending, for the next start (INST-09), and a restart is done only where it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ..model.address import Address, KindName
from ..model.domain import Domain
from ..model.fragment import named
from ..model.host import HostFacts
from ..model.on_boot import with_host
from ..xml import device_record
from ..xml.build import compact
from ..xml.common import absent
from ..xml.compare import Change
from ..xml.domain import SHAPE, render, size
from ..xml.orders import as_ordered
from .action import Action, AttachDevice, DetachDevice, Replug, SetMemory, SetVcpus, Start, Stop, UpdateDevice
from .definition import (
    Difference,
    change,
    classified,
    creation,
    defined_again,
    differ,
    foreign,
    powered,
    redefined,
)
from .disks import Kept, kept
from .disruption import Disruption
from .fence import overtaken
from .hotplug import PLUGGABLE, Room, pluggable
from .injection import injected
from .layers import refuse_writing_a_base, written_bases
from .maxima import MEMORY, VCPUS, memory, vcpus, worded
from .outdated import needs_new_disk, with_old_disks
from .outside import notes, renamed
from .plan import Context, Observed, Plan, PlannedChange
from .seed import seeded
from .sources import spelled

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

FILTER = "domain/devices/interface/filterref"

# Devices that change in place while the guest runs: which part of them may, by xpath.
LIVE: Mapping[str, str] = {
    "domain/devices/interface/link": "interface",
    "domain/devices/interface/bandwidth": "interface",
    FILTER: "interface",
    "domain/devices/disk/source": "medium",
    "domain/devices/disk/driver/@type": "medium",
    "domain/devices/graphics/@passwd": "graphics",
    "domain/devices/graphics/@passwdValidTo": "graphics",
    # Not the boot order: libvirt before 9.1 takes the update, says that it was done, and does nothing.
}
# What a running guest is not told, or tells only of itself.
NOT_LIVE = (
    "domain/currentMemory",  # see _balloon
    "domain/metadata", "domain/title", "domain/description", "domain/@id", "domain/name", "domain/uuid",
    "domain/sysinfo",  # the firmware has told it; on another host after a move it is another serial number
    "domain/devices/disk/target/@tray",  # the guest opens and closes it as it likes
)  # fmt: skip

# What goes makes room for what comes; what the guest may not answer to at all is asked last.
SEQUENCE = (DetachDevice, AttachDevice, SetVcpus)
DEVICES = tuple(f"domain/devices/{tag}" for tag in PLUGGABLE)
DISRUPTION = {
    **dict.fromkeys(LIVE, Disruption.LIVE),
    **dict.fromkeys((VCPUS, MEMORY), Disruption.LIVE),
    **dict.fromkeys(NOT_LIVE, Disruption.NONE),
}


def settled(domain: Domain, host: HostFacts) -> Domain:
    """The domain with what only the host can decide: KVM where it truly works (INST-T1.2), and who the host is (DOMX-04)."""
    if domain.smbios is not None and domain.smbios.serial == "host" and host.identity:
        domain = replace(domain, smbios=replace(domain.smbios, serial=host.identity))
    if domain.virt_type != "auto":
        return domain
    if host.kvm and host.arch == domain.arch:
        return replace(domain, virt_type="kvm")
    passed_on = domain.cpu and domain.cpu.mode == "host-passthrough"
    cpu = replace(domain.cpu, mode="maximum") if domain.cpu and passed_on else domain.cpu
    return replace(domain, virt_type="qemu", cpu=cpu, hyperv=None)  # both need what KVM gives


def plan(domain: Domain, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one domain."""
    address = Address("domain", domain.name)
    domain = settled(domain, context.host)
    if observed is not None and not observed.ours and not context.permission.adopt:
        domain = replace(domain, mark=None)
    if (refused := refuse_writing_a_base(address, domain, context)) is not None:
        return refused
    if observed is None and (refused := overtaken(address, domain, context)) is not None:
        return refused
    blocked_by = tuple(needs_new_disk(domain, observed, context))
    return replace(_planned(address, domain, observed, context), blocked_by=blocked_by)


def _planned(address: Address, domain: Domain, observed: Observed | None, context: Context) -> Plan:
    """The plan, where nothing is in its way."""
    if observed is not None:
        domain = with_old_disks(domain, observed, context)
    declared = render(domain)
    seed = seeded(domain, declared, observed)
    record = device_record.record_of(declared)
    if observed is None:
        device_record.lay(declared, record)
        difference = worded(differ(declared, None, SHAPE))
        found = Observed(address=address, xml=difference.desired)
        actions = [
            *injected(domain, observed),
            *seed,
            redefined(address, difference),
            *_power(address, domain, found, context),
        ]
        made = creation(address, difference, *actions)
        other = renamed(domain.name, declared, context)
        return made if other is None else _renamed(made, other)
    before = observed
    observed = _going_on(domain, observed, context)
    ordered = as_ordered(declared, observed.xml)
    record = tuple(sorted({*record, *device_record.record_of(ordered)}))
    disks = kept(ordered, record, observed, context)
    observed = observed if disks.may_start else before
    is_foreign = not (observed.ours or context.permission.adopt)
    if is_foreign and (refused := foreign(address, _recorded(disks.full, record, observed), observed, context)):
        return refused
    planned = _existing(domain, observed, disks, seed, context)
    if disks.blocked:
        named = (*context.permission.data_loss, *(left.name for left in disks.blocked))
        allowing = replace(context, permission=replace(context.permission, data_loss=named))
        allowed = kept(disks.full, record, observed, allowing)
        planned = _blocked(planned, _existing(domain, observed, allowed, seed, allowing), disks)
    if observed is not before:
        planned = replace(planned, verdict="change", reason="", actions=(Start(address=address), *planned.actions))
    told = (
        *notes(before),
        *disks.notes,
        *_drift(disks.full, before, planned),
        *written_bases(address, domain, context),
    )
    return replace(planned, notes=told)


def _going_on(domain: Domain, observed: Observed, context: Context) -> Observed:
    """The domain as it is after its start, where that brings back saved memory: it goes on with what it had, and what cannot change
    under a running guest waits. libvirt keeps a definition of its own with the memory."""
    waits = domain.name in context.waits or not domain.active
    return observed if observed.saved is None or waits else replace(observed, active=True, live=observed.saved)


def _renamed(plan: Plan, other: Address) -> Plan:
    """The plan of a domain that is there under another name: it waits until that has its name again."""
    return replace(
        plan,
        verdict="change",
        actions=(),
        withheld=plan.actions,
        needs=f"{other} to be renamed back",
        reason=f"{other} has its ownership mark and its disks, so it was renamed outside dos.vm: "
        f"virsh domrename {other.name} {plan.address.name}",
        blocked_by=(other,),
    )


def _recorded(declared: Element, record: device_record.Record, observed: Observed) -> Difference:
    """The difference of the definition, with what it is to remember of its devices. A definition that remembers none and is as
    declared is left as it is."""
    remembers = device_record.read(observed.xml)
    if remembers is None and observed.persistent:
        difference = worded(differ(declared, observed.xml, SHAPE))
        if not difference.changes:
            return difference
    device_record.lay(declared, record)
    difference = worded(differ(declared, observed.xml, SHAPE))
    others = tuple(held for held in difference.changes if held.xpath != device_record.XPATH)
    if others or not (difference.changes and observed.persistent):
        return replace(difference, changes=others)
    return replace(difference, changes=(_of_record(difference.changes[0], remembers or (), record),))


def _of_record(change: Change, before: device_record.Record, after: device_record.Record) -> Change:
    """A change of what a definition remembers of its devices, in words: it is shown where nothing else differs."""
    gone, new = (
        ", ".join(sorted({entry.words for entry in held}))
        for held in (set(before) - set(after), set(after) - set(before))
    )
    return replace(change, before=gone or None, after=new or None)


def _existing(domain: Domain, observed: Observed, disks: Kept, seed: list[Action], context: Context) -> Plan:
    """The plan for a domain that is there and may be treated as ours, but for what is blocked."""
    address, difference = observed.address, _recorded(disks.definition, disks.record, observed)
    define = [*seed, *(_losing(action, disks) for action in defined_again(address, difference, observed))]
    power = _power(address, domain, observed, context)
    if not disks.may_start:
        power = [action for action in power if not isinstance(action, Start)]
    if not (observed.active and domain.active):
        return change(address, difference, [*define, *power], changes=_stopped(difference.changes, disks))
    running = worded(differ(disks.running, spelled(observed.live, domain, context), SHAPE, ignore=NOT_LIVE))
    updates, waiting = _sorted(address, running)
    waiting = _with_losses(waiting, disks)
    changes = _with_losses(_distinct(difference.changes, running.changes, waiting), disks)
    return _running(
        address,
        domain,
        difference,
        [*_balloon(address, difference, running), *define, *updates, *_replug(address, observed), *power],
        changes,
        waiting,
        context if disks.may_start else _without_restart(context),
    )


def _without_restart(context: Context) -> Context:
    """A guest goes on with a disk that is not the declared one, and would not be started with it."""
    return replace(context, permission=replace(context.permission, restart=False))


def _power(address: Address, domain: Domain, observed: Observed, context: Context) -> list[Action]:
    waits = domain.name in context.waits and not observed.active
    actions = powered(address, domain.active and not waits, with_host(domain.on_boot, on=domain.active), observed)
    return [replace(action, timeout=domain.stop_timeout) if isinstance(action, Stop) else action for action in actions]


def _running(
    address: Address,
    domain: Domain,
    difference: Difference,
    actions: list[Action],
    changes: tuple[PlannedChange, ...],
    waiting: tuple[PlannedChange, ...],
    context: Context,
) -> Plan:
    if not waiting:
        return change(address, difference, actions, changes=changes)
    stop = Stop(address=address, timeout=domain.stop_timeout, disruption=Disruption.RESTART)
    restart: tuple[Action, ...] = (stop, Start(address=address))
    if context.permission.restart:
        # A guest that is started anew has all that from its definition.
        kept = [action for action in actions if action.disruption not in (Disruption.LIVE, Disruption.HOTPLUG)]
        return change(address, difference, [*kept, *restart], changes=changes)
    shown = tuple(planned for planned in changes if planned not in waiting)
    return change(address, difference, actions, changes=shown, pending=waiting, withheld=restart, needs="restart")


def _replug(address: Address, observed: Observed) -> list[Action]:
    """A network that is restarted leaves its guests in the air, whoever restarted it."""
    return [Replug(address=address)] if observed.info.get("unplugged") else []


def _blocked(plan: Plan, allowed: Plan, disks: Kept) -> Plan:
    """The plan with what is done besides once `data_loss` names the blocked disks, as `allowed` has it."""
    targets = {left.target for left in disks.blocked}
    lost = [
        held.change for held in (*allowed.changes, *allowed.pending) if targets.intersection(held.change.key("disk"))
    ]
    actions = (*allowed.actions, *allowed.withheld)
    return replace(
        plan,
        verdict="change",
        changes=(*plan.changes, *classified(lost, {}, Disruption.DATA_LOSS)),
        withheld=tuple(action for action in actions if action not in plan.actions),
        needs=", ".join(filter(None, (allowed.needs, disks.needs))),
        reason=disks.reason,
    )


def _losing(action: Action, disks: Kept) -> Action:
    return replace(action, disruption=Disruption.DATA_LOSS) if disks.changed else action


DISK = "domain/devices/disk"


def _with_losses(planned: Iterable[PlannedChange], disks: Kept) -> tuple[PlannedChange, ...]:
    """The changes, those of the source of a disk that gets other data in their class."""
    return tuple(
        replace(held, disruption=Disruption.DATA_LOSS)
        if (held.change.xpath == DISK or held.change.xpath.startswith(f"{DISK}/source"))
        and disks.changed.intersection(held.change.key("disk"))
        else held
        for held in planned
    )


def _stopped(changes: Iterable[Change], disks: Kept) -> tuple[PlannedChange, ...]:
    return _with_losses(classified(changes, {}, Disruption.NONE), disks)


def _distinct(
    defined: Iterable[Change], running: Iterable[Change], waiting: Iterable[PlannedChange]
) -> tuple[PlannedChange, ...]:
    """Both sides' changes, each once, with what it disturbs: what need not wait for a restart is plugged."""
    late = {planned.change: planned for planned in waiting}
    defined, running = tuple(defined), tuple(running)
    found = {(held.xpath, held.path): held for side in (defined, running) for held in side}
    felt = {(held.xpath, held.path) for held in running}
    told = classified(found.values(), DISRUPTION, Disruption.RESTART)
    return tuple(
        replace(planned, disruption=Disruption.HOTPLUG)
        if planned.change.xpath in DEVICES and planned.change.op != "replace" and planned.change not in late
        else late.get(planned.change, planned)
        if (planned.change.xpath, planned.change.path) in felt
        else replace(
            planned, disruption=Disruption.NONE
        )  # what differs in the definition alone, the guest does not feel
        for planned in told
    )


def _sorted(address: Address, running: Difference) -> tuple[list[Action], tuple[PlannedChange, ...]]:
    """What the running guest can be given now, device by device, and what must wait for its next start."""
    devices: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    waiting: list[PlannedChange] = []
    plugged: list[Action] = []
    room = Room(running.observed, (gone for held in running.changes if (gone := _gone(running, held)) is not None))
    for planned in classified(running.changes, DISRUPTION, Disruption.RESTART):
        held = planned.change
        row = next((row for row in LIVE if held.xpath == row or held.xpath.startswith(row + "/")), None)
        tag = row.split("/")[2] if row else ""
        key = held.key(tag)
        if held.xpath == VCPUS:
            count = vcpus(running.desired).now
            if count <= _number(running.observed, "vcpu"):
                plugged.append(SetVcpus(address=address, count=count))
            else:
                waiting.append(replace(planned, disruption=Disruption.RESTART))
        elif (done := _plugged(address, running, held, room)) is not None:
            plugged.append(done)
        elif row is None or not key or not _in_place(running, row, key):
            waiting.append(replace(planned, disruption=Disruption.RESTART))
        else:
            devices.setdefault((tag, key), []).append(row)
    updates: list[Action] = [
        UpdateDevice(address=address, xml=compact(element), device=f"{LIVE[rows[0]]} {' '.join(key)}")
        for (tag, key), rows in devices.items()
        if (element := _given(running, tag, key, rows)) is not None
    ]
    return [*updates, *sorted(plugged, key=lambda action: SEQUENCE.index(type(action)))], tuple(waiting)


def _number(domain: Element | None, tag: str) -> int:
    return 0 if domain is None else int(domain.findtext(tag) or 0)


def _balloon(address: Address, defined: Difference, running: Difference) -> list[Action]:
    """The memory of a running guest follows its definition, within what it was started with.

    What the guest has now says nothing: libvirt tells where the balloon is and not where it was asked to go, and a guest that
    is just booting has none yet. So the definition remembers what was last asked for, and is written after it.
    """
    wanted, asked = (memory(side).now for side in (defined.desired, defined.observed))
    if wanted == asked or wanted > _number(running.observed, "memory"):
        return []
    return [SetMemory(address=address, kib=wanted)]


def _drift(declared: Element, observed: Observed, planned: Plan) -> Iterator[str]:
    """What a person should know of a balloon that is not where it was asked to be. It is not asked again: a guest that is
    booting, or has no driver, would be asked in every run."""
    asked = any(isinstance(action, SetMemory) for action in planned.actions)
    most = _number(observed.live, "memory")
    now, wanted = memory(observed.live).now, min(memory(declared).now, most)
    if observed.live is not None and not asked and now != wanted:
        yield (
            f"the guest has {size(str(now))} of memory, and is to have {size(str(wanted))}: its balloon was set outside dos.vm, or "
            f"it does not follow (virsh setmem {observed.address.name} {wanted} --live asks again)"
        )


def _gone(running: Difference, held: Change) -> Element | None:
    """The device that a change takes out of the running guest."""
    tag = held.xpath.removeprefix("domain/devices/")
    if tag not in PLUGGABLE or held.op != "remove" or running.observed is None:
        return None
    element = device(running.observed, tag, held.key(tag))
    return element if element is not None and pluggable(element) else None


def _plugged(address: Address, running: Difference, held: Change, room: Room) -> Action | None:
    """A whole disk or card that comes or goes, where its bus allows that under a running guest."""
    if (gone := _gone(running, held)) is not None:
        return DetachDevice(address=address, xml=compact(gone), device=_called(held))
    tag = held.xpath.removeprefix("domain/devices/")
    if tag not in PLUGGABLE or held.op != "add":
        return None
    element = device(running.desired, tag, held.key(tag))
    if element is None or not pluggable(element) or not room.takes(element):
        return None
    return AttachDevice(address=address, xml=compact(element), device=_called(held))


def _called(held: Change) -> str:
    tag = held.xpath.removeprefix("domain/devices/")
    return f"{PLUGGABLE[tag]} {' '.join(filter(None, held.key(tag)))}"


def _given(running: Difference, tag: str, key: tuple[str, ...], rows: Iterable[str]) -> Element | None:
    """The device as it runs, and of what is desired only those rows: libvirt refuses them together with what must wait."""
    old = None if running.observed is None else device(running.observed, tag, key)
    new = device(running.desired, tag, key)
    if old is None or new is None:
        return None
    given = deepcopy(old)
    for row in dict.fromkeys(rows):
        path, _, attribute = row.removeprefix(f"domain/devices/{tag}").removeprefix("/").partition("@")
        _lay(given, new, path.rstrip("/"), attribute)
    return given


def _lay(given: Element, new: Element, path: str, attribute: str) -> None:
    """Make the attribute, or the element where none is named, that of `new`."""
    old, wanted = (held.find(path) if path else held for held in (given, new))
    if not attribute:
        if old is not None:
            given.remove(old)
        if wanted is not None:
            given.append(deepcopy(wanted))
    elif old is not None:
        old.attrib.pop(attribute, None)
        if wanted is not None and attribute in wanted.attrib:
            old.set(attribute, wanted.get(attribute, ""))


def _in_place(running: Difference, row: str, key: tuple[str, ...]) -> bool:
    """Only a removable medium is exchanged under a running guest; a disk is not, nor does one become a drive. A card that is to
    be plugged in elsewhere gets its filter there: where it is, libvirt may have no way to lay one on it (HOT-05)."""
    tag = row.split("/")[2]
    sides = [None if side is None else device(side, tag, key) for side in (running.observed, running.desired)]
    if row == FILTER:
        before, after = (None if card is None else _plug(card) for card in sides)
        return before == after
    if LIVE[row] != "medium":
        return True
    return all(disk is not None and disk.get("device") in ("cdrom", "floppy") for disk in sides)


def _plug(card: Element) -> tuple[str | None, ...]:
    """What a card is plugged into."""
    source = card.find("source")
    network = absent(source, "network")
    return card.get("type"), network, None if network else absent(source, "bridge")


def device(domain: Element, tag: str, key: tuple[str, ...]) -> Element | None:
    """The device of that tag and identity."""
    shape = SHAPE.children["devices"].children[tag]
    for index, element in enumerate(domain.iterfind(f"devices/{tag}")):
        if shape.identity(element, index) == key:
            return element
    return None


def needs(domain: Domain) -> Iterator[Address]:
    """A domain stands on its volumes, networks, bridges, filters, and the secrets of its consoles and its seed."""
    for disk in domain.disks:
        if disk.volume is not None:
            yield Address("pool", str(disk.pool))
            yield Address("volume", f"{disk.pool}/{disk.volume}")
        if disk.encryption is not None:
            yield Address("secret", disk.encryption.secret)
    for card in domain.interfaces:
        if card.network is not None:
            yield Address("network", card.network)
        if card.bridge is not None:
            yield Address("bridge", card.bridge)
        if card.filter is not None:
            yield Address("nwfilter", card.filter)
    for fragment in domain.xml:
        plugged = named(fragment, "source", "network", "bridge")
        yield from (Address(cast(KindName, kind), name) for kind, name in plugged)
    for console in domain.graphics:
        if console.password is not None:
            yield Address("secret", console.password)
    for held in (domain.seed, domain.injection):
        yield from (Address("secret", name) for name in (held.secrets() if held else ()))
