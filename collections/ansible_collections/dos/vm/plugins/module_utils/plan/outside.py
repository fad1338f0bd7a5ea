# SPDX-License-Identifier: GPL-3.0-or-later
"""What was changed outside dos.vm, with virsh or another tool: each change that a plan leaves alone is a note of the plan.

The plan never takes away what it does not know. See docs/design/0066.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..model.address import Address
from ..model.overlay import layered
from ..xml.common import absent, mark_of, marked_for
from ..xml.device_record import identified
from ..xml.devices import SHAPE
from ..xml.merge import chosen
from .disk_files import called, disks, file_of, has_data, name_of, stack, target_of
from .plan import Context, Observed

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

Device = tuple[str, str]  # tag, and what it is found by


def notes(observed: Observed) -> Iterator[str]:
    """Sentences about a domain or network of ours as the host has it."""
    if not observed.persistent:
        yield "its definition was removed while it runs: the run writes it again, without an interruption"
    if observed.info.get("state") in STATES:
        yield STATES[observed.info["state"]]
    if observed.saved is not None:
        yield "its memory is saved: the next start goes on with what it had then, and later changes wait for a restart"


# Whether the guest goes on by itself, by libvirt's word for its state.
STATES = {
    "paused": "it is paused: dos.vm.power with dos_order=resume lets it go on",
    "crashed": "its guest has crashed: dos.vm.power with dos_order=stop ends it, and the next run starts it",
}


def copy_notes(observed: Observed, context: Context) -> Iterator[str]:
    """What a person should know of an object that bears the ownership mark of another one of the site."""
    vm = marked_for(observed.xml)
    if vm and (mark_of(observed.xml) or {}).get("site") == context.site:
        yield (
            f"it has the ownership mark of {vm}, so it is a copy of that or was renamed outside dos.vm: it is never touched; "
            "take the mark out of a copy (virsh edit), or rename it back"
        )


def renamed(domain: str, declared: Element, context: Context) -> Address | None:
    """The domain that a missing one was renamed to: it bears its mark and has one of its disks. A new definition would lose what
    libvirt keeps by name and UUID, such as settings of the firmware, a TPM and saved memory."""
    files = {file_of(disk, context) for _, disk in disks(declared) if has_data(disk)} - {""}
    for address, held in context.observed.items():
        if address.kind == "domain" and marked_for(held.xml) == domain:
            theirs = {file for _, disk in disks(held.xml) for file in stack(disk, context)}
            if files & theirs and (mark_of(held.xml) or {}).get("site") == context.site:
                return address
    return None


# --- layers --------------------------------------------------------------------------------------------------------------


def layer_note(domain: str, declared: Element, layer: Element, context: Context) -> Iterator[str]:
    """What a person should know of a disk that is on a layer over the declared one; nothing of our own checkpoints."""
    top, base, target = file_of(layer, context), file_of(declared, context), target_of(layer)
    own = layered(top)
    if own is not None and own.file == base:
        return
    text = f"disk {target} is on layer {top} over {called(declared, context)}, made outside dos.vm, and stays on it"
    if layer.find("mirror") is not None:
        yield f"{text}; a block job is at work on it (virsh blockjob {domain} {target})"
        return
    # Without a base, virsh merges into the lowest file, which may be an image that others share.
    merge = f"virsh blockcommit {domain} {target} --base {shlex.quote(base)} --active --pivot --wait"
    yield f"{text}: merge it while the VM runs with {merge}, then delete the layer"


class Layer(NamedTuple):
    """A layer that was made outside dos.vm: the volume it is over, and what `data_loss` calls it."""

    top: str
    base: str
    name: str


def layers(observed: Observed, context: Context) -> Iterator[Layer]:
    """The layers over volumes that a domain has for disks and that no checkpoint of ours made.

    dos.vm declares volumes by name, so a file that is layered over a volume was put there by another tool.
    """
    seen = set()
    for tree in (observed.xml, observed.live):
        for target, disk in disks(tree):
            top, *below = stack(disk, context) or ("",)
            base = next((context.layers.volumes[file] for file in below if file in context.layers.volumes), None)
            named = absent(disk.find("source"), "volume")
            if base and not named and has_data(disk) and layered(top) is None and target not in seen:
                seen.add(target)
                yield Layer(top, f"volume {base}", name_of(disk, observed.address.name, context))


# --- devices -------------------------------------------------------------------------------------------------------------


Unmanaged = Mapping[Device, "Element"]


def unmanaged(declared: Element, tree: Element, gave: Callable[[Device], bool]) -> Unmanaged:
    """The devices of a domain that were attached outside dos.vm. `gave` says which ones dos.vm gave it."""
    around, devices = declared.find("devices"), tree.find("devices")
    if around is None or devices is None:
        return {}
    found = {
        device: element
        for device, element in identified(devices)
        if not gave(device) and not chosen(SHAPE.children[device[0]].computed, element, around)
    }
    wanted = {device for device, _ in identified(around)} if found else set()
    return {device: element for device, element in found.items() if device not in wanted}


def device_notes(domain: str, defined: Unmanaged, running: Unmanaged, context: Context) -> Iterator[str]:
    """What a person should know of devices that were attached outside dos.vm."""
    for device, element in {**defined, **running}.items():
        words, detach = _words(device, element, context), _detach(domain, device, element)
        if device in defined:
            yield f"{words} was attached outside dos.vm, and stays: declare it, or detach it ({detach} --persistent)"
        else:
            yield (
                f"{words} was attached to the running guest outside dos.vm, and goes with its next stop: declare it to keep it, "
                f"or detach it ({detach} --live)"
            )


def _words(device: Device, element: Element, context: Context) -> str:
    source = element.find("source")
    held = file_of(element, context) if element.tag == "disk" else absent(source, "network") or absent(source, "bridge")
    return f"{' '.join(filter(None, device))}{f' ({held})' if held else ''}"


def _detach(domain: str, device: Device, element: Element) -> str:
    match device:
        case "disk", target:
            return f"virsh detach-disk {domain} {target}"
        case "interface", mac:
            return f"virsh detach-interface {domain} {element.get('type')} --mac {mac}"
        case _:
            return f"virsh detach-device {domain} FILE"
