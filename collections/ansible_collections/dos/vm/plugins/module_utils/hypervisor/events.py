# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor that hears what happens on its host: libvirt's events, and the loop that they need."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from .._thirdparty import libvirt, require
from .libvirt import LibvirtHypervisor


class HearingHypervisor(LibvirtHypervisor):
    """As `LibvirtHypervisor`, with events. The loop is one for the whole process and ends with it."""

    def __init__(self, uri: str = "qemu:///system") -> None:
        require("libvirt", "lxml")
        _loop()  # before the connection: libvirt looks for a loop when it is opened
        super().__init__(uri)

    def rebooted(self, domain: Any, seconds: float) -> bool:
        """Ask a guest to reboot; whether it has begun to within the time."""
        heard = threading.Event()
        number = self._connection.domainEventRegisterAny(
            domain, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, lambda *told: heard.set(), None
        )
        try:
            domain.reboot(0)
            return heard.wait(seconds)
        finally:
            self._connection.domainEventDeregisterAny(number)


@cache
def _loop() -> threading.Thread:
    libvirt.virEventRegisterDefaultImpl()
    # Wakes the loop, so that what is registered from another thread is seen.
    libvirt.virEventAddTimeout(200, lambda timer, opaque: None, None)

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    thread = threading.Thread(target=run, name="libvirt events", daemon=True)
    thread.start()
    return thread
