# SPDX-License-Identifier: GPL-3.0-or-later
"""How a volume comes to be as declared: it is created, it grows, and only by name is it ever made anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ..model.address import Address
from ..model.overlay import image_of
from ..model.types import ByteSize
from ..model.volume import GROWING, Volume
from ..xml.build import to_text
from ..xml.volume import SHAPE, render
from .action import Action, CreateVolume, DeleteVolume, Find, ReplaceVolume, ResizeVolume
from .block_volume import FOUND, as_device, found, is_block, pool_type, rounded
from .definition import Difference, change, classified, creation, definition_of, differ
from .disruption import Disruption
from .layered import layers_of
from .loss import after, may_go, needed
from .missing import is_idle, is_looked_at, lost
from .outside import Layer
from .outside import layers as layers_outside
from .plan import Context, Observed, Plan, PlannedChange

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

DISRUPTION = {"volume/capacity": Disruption.LIVE}
NEWEST: Literal["1.1"] = "1.1"  # of qcow2
CYLINDER = 16 * 255 * 512  # the largest, in bytes
ALONE = "as declared, and stands alone: what it was layered over is in it"
SMALLEST_STEP = ByteSize("10 MB")  # VOL-04
LARGEST = ByteSize(2**62)  # bytes of a disk; a header that says more has been written over


def address_of(volume: Volume) -> Address:
    """A volume is found by its pool and its name."""
    return Address("volume", f"{volume.pool}/{volume.name}")


def plan(volume: Volume, observed: Observed | None, context: Context) -> Plan:
    """Pure: the plan for one volume."""
    address, kind = address_of(volume), pool_type(volume, context)
    if kind in FOUND:
        return found(address, observed)
    path, shown = _pool_path(volume, context), as_device if is_block(kind) else _as_file
    sized = rounded(_rounded(volume, observed), observed, kind)
    declared = shown(render(_new(sized) if observed is None else sized, path, _silent_capacity(volume, observed)))
    alone = _stands_alone(declared, observed)
    difference = differ(declared, definition_of(observed), SHAPE)

    def new() -> str:
        # As from nothing, also where another is in its place: what libvirt had computed for that one does not count.
        return to_text(differ(shown(render(_new(volume), path, None)), None, SHAPE).desired)

    if observed is None:
        return _absent(address, f"{path}/{volume.name}", difference, new(), context)
    if is_idle(address, context):
        return _deferred(address, "its file is there, and is compared when its pool has started")
    changes = classified(difference.changes, DISRUPTION, Disruption.DATA_LOSS)
    rest = [planned for planned in changes if planned.change.xpath != "volume/capacity"]
    if rest:
        return _anew(address, difference, new(), context)
    if not changes:
        return change(address, difference, (), **({"reason": ALONE} if alone else {}))
    before, after = _capacity(difference.observed), _capacity(difference.desired)
    if after < before <= LARGEST:
        return change(address, difference, (), notes=(_larger(before, after),), before="", after="")
    if (outside := _outside(address, observed, context)) is not None:
        return _under(address, difference, changes, [ResizeVolume(address=address, capacity=int(after))], outside)
    refused = _refuse_size(address, volume.format, before, after) or _refuse_layers(address, observed, context)
    if refused is not None:
        return refused
    user = next(users(observed, context), None)
    domain, target = (user[0].name, user[1]) if user else ("", "")
    felt = Disruption.LIVE if user else Disruption.NONE
    grow = ResizeVolume(address=address, capacity=int(after), domain=domain, target=target, disruption=felt)
    return change(address, difference, [grow], changes=changes)


def _new(volume: Volume) -> Volume:
    """The volume as it is made: a qcow2 file of version 3, which records what changes, unless it is declared otherwise.

    One that is there keeps its version: libvirt has none by default, and QEMU makes a file of another one only while it is off.
    """
    return replace(volume, compat=NEWEST) if volume.format == "qcow2" and volume.compat is None else volume


def _as_file(declared: Element) -> Element:
    return declared


def _stands_alone(declared: Element, observed: Observed | None) -> bool:
    """Whether the volume holds by itself what it was layered over, after a copy of all of it; then no backing is declared.

    A backing says what a volume is made of. One that was copied whole, by a migration or a restore, has lost nothing, and to
    make it anew would lose what its guest wrote.
    """
    backing = declared.find("backingStore")
    if observed is None or backing is None or observed.xml.find("backingStore/path") is not None:
        return False
    declared.remove(backing)
    return True


def _capacity(volume: Element | None) -> ByteSize:
    return ByteSize(int("0" if volume is None else volume.findtext("capacity") or "0"))


def _larger(before: ByteSize, after: ByteSize) -> str:
    """A volume that was grown outside dos.vm, or whose declaration became smaller, is left at its size."""
    return f"it has {before}, is larger than declared ({after}), and never shrinks (LIMIT-10): set capacity: {before}"


def _refuse_size(address: Address, format_: str, before: ByteSize, after: ByteSize) -> Plan | None:
    if before > LARGEST:
        problem = f"{address} is damaged: by its header it has {before}, as no disk has; put its file back from a backup, or remove it"
    elif format_ not in GROWING:
        problem = (
            f"{address} has {before}, and QEMU cannot make a {format_} file larger: "
            f"convert it into a qcow2 volume of {after} (dos.vm.image_convert)"
        )
    elif after - before <= SMALLEST_STEP:
        problem = f"{address} has {before}, and {after} is not more than 10 MB above it (VOL-04)"
    else:
        return None
    return Plan(address=address, verdict="conflict", problem=problem)


def _refuse_layers(address: Address, observed: Observed, context: Context) -> Plan | None:
    """A machine with external checkpoints writes to a layer, whose size is its own."""
    path = observed.info.get("path", "")
    for user in context.layers.opened.get(path, ()):
        if any(layer.file == path for layer in layers_of(context.observed[user].xml)):
            problem = f"{address} cannot grow while {user} has external checkpoints over it: delete those first"
            return Plan(address=address, verdict="conflict", problem=problem)
    return None


def _outside(address: Address, observed: Observed, context: Context) -> tuple[Address, Layer] | None:
    """The domain that writes to a layer over the volume, and the layer, where that was made outside dos.vm."""
    for user in context.layers.opened.get(observed.info.get("path", ""), ()):
        for layer in layers_outside(context.observed[user], context):
            if layer.base == str(address):
                return user, layer
    return None


def _under(
    address: Address,
    difference: Difference,
    changes: tuple[PlannedChange, ...],
    actions: Iterable[Action],
    outside: tuple[Address, Layer],
) -> Plan:
    """What is below a layer is left as it is: the layer would be ruined, and a grown volume has its size from the layer."""
    user, layer = outside
    reason = f"{user} is on layer {layer.top} over it, made outside dos.vm: merge the layer first"
    needs = "the layer over it to be merged"
    more = {"needs": needs, "reason": reason, "blocked_by": (user,)}
    return change(address, difference, (), changes=changes, withheld=tuple(actions), **more)


def _absent(address: Address, path: str, difference: Difference, xml: str, context: Context) -> Plan:
    """A volume that is not there is new; or its data is missing, and an empty disk in its place would hide the loss (VOL-08)."""
    create, why = CreateVolume(address=address, xml=xml), lost(address, path, context)
    if not why or may_go(address, context):
        maker = context.awaited.get(address.name)
        return _made_by(address, maker) if maker else creation(address, difference, create)
    if not is_looked_at(address.name, context):
        return _deferred(address, f"is looked for when its pool has started: {why}")
    return Plan(
        address=address,
        verdict="change",
        withheld=(create,),
        needs=needed(address, context=context),
        after=difference.after,
        reason=f"its file is missing and {why}: put the file back, or allow an empty one in its place",
    )


def _made_by(address: Address, host: str) -> Plan:
    """A volume of a shared pool is made by one host; the others wait for it."""
    return Plan(
        address=address, verdict="change", actions=(Find(address=address, maker=host),), reason=f"{host} makes it"
    )


def _deferred(address: Address, reason: str) -> Plan:
    return Plan(address=address, verdict="keep", reason=reason, deferred=True)


def _anew(address: Address, difference: Difference, xml: str, context: Context) -> Plan:
    changes = classified(difference.changes, {}, Disruption.DATA_LOSS)
    actions = (ReplaceVolume(address=address, xml=xml, wipe=context.permission.wipe),)
    held = context.observed.get(address)
    if held is not None and (outside := _outside(address, held, context)) is not None:
        return _under(address, difference, changes, actions, outside)
    user, elsewhere = next(users(held, context), None), after(address, context)
    lost = [address, *_layers(held, context)]
    if not all(may_go(each, context) for each in lost):
        needs = needed(*lost, context=context)
        return change(address, difference, (), changes=changes, withheld=actions, needs=needs)
    if user is not None:
        problem = f"{address} is open in {user[0]}, which runs: stop it before the volume is made anew"
        return Plan(address=address, verdict="conflict", problem=problem)
    if elsewhere:
        reason = f"is made anew after {elsewhere}"
        return change(address, difference, (), changes=changes, withheld=actions, needs=elsewhere, reason=reason)
    return change(address, difference, actions, changes=changes)


def _layers(observed: Observed | None, context: Context) -> list[Address]:
    """VSNP-09: the volumes that are layered over one, and would be ruined with it: their loss is allowed by name as well."""
    over = context.layers.over.get(observed.info.get("path", ""), ()) if observed is not None else ()
    return [at for at, held in context.observed.items() if at.kind == "volume" and held.info.get("path", "") in over]


def users(observed: Observed | None, context: Context) -> Iterator[tuple[Address, str]]:
    """The running domains that have a volume open, each with the target it has there."""
    path = None if observed is None else observed.info.get("path")
    for address, held in context.observed.items():
        if path is None or address.kind != "domain":
            continue
        yield from ((address, target) for found, target in opened(held, context) if found == path)


def opened(domain: Observed, context: Context) -> Iterator[tuple[str, str]]:
    """The paths of the volumes that a domain has open while it runs, each with its target."""
    for disk in () if domain.live is None else domain.live.iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is None or target is None:
            continue
        paths = {image_of(source.get("file", "")), _volume_path(source, context)}
        yield from ((path, target.get("dev", "")) for path in paths if path)


def _volume_path(source: Element, context: Context) -> str | None:
    held = context.observed.get(Address("volume", f"{source.get('pool')}/{source.get('volume')}"))
    return None if held is None else held.info.get("path")


def _pool_path(volume: Volume, context: Context) -> str:
    pool = context.observed.get(Address("pool", volume.pool))
    return context.pool_paths.get(volume.pool) or (pool.xml.findtext("target/path") or "" if pool else "")


def _rounded(volume: Volume, observed: Observed | None) -> Volume:
    """A vpc file has whole cylinders, so it is a little larger than it was declared."""
    found = ByteSize(int((observed.info.get("capacity") if observed else None) or 0))
    if volume.format != "vpc" or volume.capacity is None or not 0 < found - volume.capacity < CYLINDER:
        return volume
    return replace(volume, capacity=found)


def _silent_capacity(volume: Volume, observed: Observed | None) -> int | None:
    """Who is silent about the size gets that of the backing when the volume is made, and keeps what it has."""
    if volume.capacity is not None or observed is None:
        return None
    return int(observed.info.get("capacity", "0")) or None


def leave(observed: Observed, context: Context) -> Plan:
    """What becomes of a volume in a pool of ours that nobody declares: it stays, unless prune and its very name say otherwise."""
    address = observed.address
    if is_idle(address, context):
        return Plan(address=address, verdict="keep", reason="not declared, and in a pool that is not active")
    delete = DeleteVolume(address=address, wipe=context.permission.wipe)
    named, allowed = needed(address, context=context), context.permission.prune and may_go(address, context)
    if allowed and (wait := after(address, context)):
        reason = f"not declared, and deleted after {wait}"
        return Plan(address=address, verdict="left", withheld=(delete,), needs=wait, reason=reason)
    if allowed:
        return Plan(address=address, verdict="remove", actions=(delete,))
    why = f"not declared; dos_prune: true with dos_allow: {{{named}}} deletes it and its data"
    needs = named if context.permission.prune else f"prune, {named}"
    return Plan(address=address, verdict="left", withheld=(delete,), needs=needs, reason=why)


def needs(volume: Volume) -> Iterator[Address]:
    """A volume stands on its pool, on what encrypts it, and on the volume it is layered over."""
    yield Address("pool", volume.pool)
    if volume.encryption is not None:
        yield Address("secret", volume.encryption.secret)
    if volume.backing is not None and volume.backing.volume is not None:
        yield Address("volume", f"{volume.pool}/{volume.backing.volume}")
