# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine with external checkpoints: it runs on layers over its declared disks, and is as declared all the same.

The path of a layer says which disk it stands for (`model/overlay.py`), so nothing need be asked. Were the declared disk written into
the definition instead, the next start would write under every checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.address import Address
from ..model.overlay import Layer, layered
from .definition import removal
from .plan import Context, Observed, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

FORM = "qcow2"  # of every layer


def layers_of(domain: Element) -> Iterator[Layer]:
    """The layers that a machine has for disks."""
    for source in domain.iterfind("devices/disk/source[@file]"):
        if (layer := layered(source.get("file", ""))) is not None:
            yield layer


def with_layers(declared: Element, observed: Element, context: Context) -> Element:
    """What is declared, in place, with the layers of checkpoints where the machine has them over these very disks."""
    for layer in layers_of(observed):
        disk = declared.find(f"devices/disk/target[@dev='{layer.target}']/..")
        source = None if disk is None else disk.find("source")
        driver = None if disk is None else disk.find("driver")
        if disk is None or source is None or driver is None or _path(source, context) != layer.file:
            continue
        for name in ("file", "dev", "pool", "volume"):
            source.attrib.pop(name, None)
        source.set("file", layer.path)
        disk.set("type", "file")
        driver.set("type", FORM)
    return declared


def _path(source: Element, context: Context) -> str:
    volume = context.observed.get(Address("volume", f"{source.get('pool')}/{source.get('volume')}"))
    return source.get("file") or (volume.info.get("path", "") if volume else "")


def leave(observed: Observed, context: Context) -> Plan:
    """What becomes of a machine that nobody declares. With its last definition goes what its layers stand for: they are merged
    first, by the order that deletes checkpoints (CKPT-10)."""
    plan = removal(observed, context)
    if not context.permission.prune or next(layers_of(observed.xml), None) is None:
        return plan
    reason = (
        f"no longer declared, and kept: what it wrote is in the layers of its checkpoints. Delete those first, dos.vm.checkpoint "
        f"with vm: {observed.address.name} and order: delete (CKPT-10)"
    )
    return replace(
        plan, verdict="left", actions=(), withheld=plan.actions, needs="its checkpoints to go", reason=reason
    )
