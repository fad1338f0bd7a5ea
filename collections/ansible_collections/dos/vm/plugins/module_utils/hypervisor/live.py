# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes under a running guest that the guest itself must go along with: each is asked for, waited for, and bounded.

A guest that does not answer, for it has no ACPI or no driver, is an `Unanswered`: libvirt and we still know the last state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import Unanswered
from ..xml.build import parse
from ..xml.common import RECORD_NAMESPACE
from ..xml.device_record import PREFIX, changed
from ..xml.identity import device_identity
from .connection import allowing

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


@dataclass(frozen=True, slots=True)
class Until:
    """How long a guest is waited for, and what is said of one that does not answer."""

    operation: str
    what: str
    patience: float
    step: float

    def unanswered(self) -> Unanswered:
        return Unanswered(self.operation, f"the guest {self.what} after {self.patience:.0f} s")

    def wait(self, done: Callable[[], bool]) -> None:
        """Return when it is so. Raises `Unanswered`."""
        deadline = time.monotonic() + self.patience
        while not done():
            if time.monotonic() > deadline:
                raise self.unanswered()
            time.sleep(self.step)


def shut_down(domain: Any, deadline: float, step: float) -> None:
    """Ask a running guest to power off until `deadline`, then end it. One that is paused cannot hear the question."""
    with allowing("VIR_ERR_OPERATION_INVALID", "VIR_ERR_NO_DOMAIN"):  # it went off by itself: that is what we want
        if time.monotonic() < deadline and domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING:
            domain.shutdown()
            while domain.isActive() and time.monotonic() < deadline:
                time.sleep(step)
        if domain.isActive():
            domain.destroy()


def detach(domain: Any, xml: str, until: Until) -> None:
    """Unplug a device and return when the guest let go of it. Raises `Unanswered`."""
    # Asked before already, and not answered yet: libvirt says so, and what counts is whether it is gone in the end.
    with allowing("VIR_ERR_DEVICE_MISSING", "VIR_ERR_OPERATION_FAILED"):
        domain.detachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    until.wait(lambda: not _has_device(parse(domain.XMLDesc()), parse(xml)))


def record(domain: Any, xml: str, flags: int, *, attached: bool) -> None:
    """Note in a domain's record, where it has one, that a device of ours came or went. `flags` say in which of its sides."""
    with allowing("VIR_ERR_NO_DOMAIN_METADATA"):
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, RECORD_NAMESPACE, flags)
        text = changed(text, parse(xml), attached=attached)
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, PREFIX, RECORD_NAMESPACE, flags)


def set_vcpus(domain: Any, count: int, operation: str) -> None:
    """Plug or unplug vCPUs; libvirt itself waits for the guest, five seconds. Raises `Unanswered`."""
    try:
        domain.setVcpusFlags(count, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as refused:
        if refused.get_error_code() != libvirt.VIR_ERR_OPERATION_TIMEOUT:
            raise
        text = f"the guest has not given back its vCPUs down to {count}; at its next start it has no more"
        raise Unanswered(operation, text, refused.get_error_code()) from None


def set_memory(domain: Any, kib: int, until: Until) -> None:
    """Ask the guest's balloon for a size and return when it is there. Raises `Unanswered`."""
    domain.setMemoryFlags(kib, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    deadline = time.monotonic() + until.patience
    while parse(domain.XMLDesc()).findtext("currentMemory") != str(kib):
        if time.monotonic() > deadline:
            raise until.unanswered()
        time.sleep(until.step)


def _has_device(live: Element, device: Element) -> bool:
    """Whether a guest has `device`, by target, MAC or alias; one without them is gone when libvirt says so."""
    wanted, tag = device_identity(device), str(device.tag)
    return bool(wanted) and any(device_identity(held) == wanted for held in live.iterfind(f"devices/{tag}"))
