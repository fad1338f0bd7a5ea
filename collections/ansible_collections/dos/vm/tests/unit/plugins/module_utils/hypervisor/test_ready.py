# SPDX-License-Identifier: GPL-3.0-or-later
"""VM-18 on the host itself: what runs there when a VM is started, whoever started it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dosvm.errors import HypervisorError
from dosvm.hypervisor.ready import refuse_more
from dosvm.xml.build import parse

GIB = 2**30
VM = parse(
    "<domain><name>new</name><memory>2097152</memory><currentMemory>1048576</currentMemory><vcpu>2</vcpu></domain>"
)


def host(*running: tuple[int, int]) -> Any:
    """A connection to a host that runs VMs of these vCPUs and KiB."""
    domains = [SimpleNamespace(info=lambda cpus=cpus, kib=kib: [1, 2 * kib, kib, cpus, 0]) for cpus, kib in running]
    return SimpleNamespace(listAllDomains=lambda flags: domains)


def test_a_vm_fits_exactly() -> None:
    refuse_more(host((2, 2**20)), VM, 4, 2 * GIB)
    refuse_more(host((99, 99 * 2**20)), VM, None, None)


@pytest.mark.parametrize(
    ("vcpus", "memory", "text"),
    [
        (3, 9 * GIB, "it needs 2 vCPUs, and 1 are left of the host's 3"),
        (9, 2 * GIB - 1, "it needs 1 GiB, and 1023 MiB are left of the"),
    ],
)
def test_a_vm_that_does_not_fit_is_refused_with_the_numbers(vcpus: int, memory: int, text: str) -> None:
    with pytest.raises(HypervisorError, match=f"start domain new: {text}"):
        refuse_more(host((2, 2**20)), VM, vcpus, memory)
