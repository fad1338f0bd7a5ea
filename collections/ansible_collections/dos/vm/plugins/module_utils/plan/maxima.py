# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and vCPUs in the operator's words: `memory` is what a machine has, `memory_max` what it may come to.

libvirt writes it the other way round, `<memory>` for the most and `<currentMemory>` for now, and leaves out the second where it is
the first; so a change of one number may be two in XML, or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..xml.compare import Change
from ..xml.domain import size
from .definition import Difference

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

VCPUS, MEMORY = "domain/vcpu/@current", "domain/currentMemory"
MOST_VCPUS, MOST_MEMORY = "domain/vcpu", "domain/memory"


class Count(NamedTuple):
    """One of the two: its number now, and whether it may become more without a restart."""

    now: int
    grows: bool


def vcpus(domain: Element | None) -> Count:
    """How many vCPUs a machine has now. libvirt says it where it may have more."""
    vcpu = None if domain is None else domain.find("vcpu")
    if vcpu is None:
        return Count(1, False)
    return Count(int(vcpu.get("current") or vcpu.text or 1), vcpu.get("current") is not None)


def memory(domain: Element | None) -> Count:
    """How many KiB a machine is given now."""
    most, now = (None if domain is None else domain.findtext(tag) for tag in ("memory", "currentMemory"))
    return Count(int(now or most or 0), now is not None)


def worded(difference: Difference) -> Difference:
    """The difference with its changes of memory and vCPUs said as they were declared, each where there is one."""
    return replace(difference, changes=tuple(_worded(difference)))


def _worded(difference: Difference) -> Iterator[Change]:
    for held in difference.changes:
        if held.xpath in (VCPUS, MEMORY):
            yield from _now(difference, held)
        elif held.xpath in (MOST_VCPUS, MOST_MEMORY) and _grows(difference, held.xpath == MOST_VCPUS):
            yield replace(held, path="vcpus_max" if held.xpath == MOST_VCPUS else "memory_max")
        else:
            yield held


def _grows(difference: Difference, of_vcpus: bool) -> bool:
    count = vcpus if of_vcpus else memory
    return any(count(side).grows for side in (difference.observed, difference.desired))


def _now(difference: Difference, held: Change) -> Iterator[Change]:
    count, word = (vcpus, "vcpus") if held.xpath == VCPUS else (memory, "memory")
    before, after = (count(side).now for side in (difference.observed, difference.desired))
    if before != after:  # else only the maximum changes, and that is a change of its own
        texts = (str(before), str(after)) if word == "vcpus" else (size(str(before)), size(str(after)))
        yield Change("replace", held.xpath, word, *texts, held.within)
