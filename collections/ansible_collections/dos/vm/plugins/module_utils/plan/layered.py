# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain on layers over its disks: those of our external checkpoints, and those that were made outside dos.vm.

The path of a layer of ours says which disk it stands for (`model/overlay.py`); of another, the host has read what it is over. While
it is on layers it stays on them (`plan/disks.py`), and is not removed: with its definition goes what its layers stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.overlay import Layer, layered
from . import outside
from .definition import removal
from .plan import Context, Observed, Plan

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def layers_of(domain: Element) -> Iterator[Layer]:
    """The layers that a machine has for disks."""
    for source in domain.iterfind("devices/disk/source[@file]"):
        if (layer := layered(source.get("file", ""))) is not None:
            yield layer


def leave(observed: Observed, context: Context) -> Plan:
    """What becomes of a domain that is no longer declared. It stays while it is on layers: they are merged first, those of our
    checkpoints by deleting these (CKPT-10); the loss of others may be allowed by name."""
    plan = removal(observed, context)
    if not context.permission.prune:
        return plan
    name = observed.address.name
    if next(layers_of(observed.xml), None) is not None:
        reason = (
            f"no longer declared, and kept: what it wrote is in the layers of its checkpoints. Delete those first, dos.vm.checkpoint "
            f"with vm: {name} and order: delete (CKPT-10)"
        )
        return _stays(plan, "its checkpoints to go", reason)
    made = [layer for layer in outside.layers(observed, context) if layer.name not in context.permission.data_loss]
    if not made:
        return plan
    needs = f"data_loss: [{', '.join(layer.name for layer in made)}]"
    listed = ", ".join(f"{layer.top} over {layer.base}" for layer in made)
    reason = f"no longer declared, and kept: what it wrote is in layers made outside dos.vm ({listed}). Merge them first, or allow {needs}"
    return _stays(plan, needs, reason)


def _stays(plan: Plan, needs: str, reason: str) -> Plan:
    return replace(plan, verdict="left", actions=(), withheld=plan.actions, needs=needs, reason=reason)
