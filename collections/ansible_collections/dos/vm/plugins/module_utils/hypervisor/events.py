# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor that hears what happens on its host, its silence as well: libvirt's events, and the loop that they need."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from .._thirdparty import libvirt, require
from .libvirt import LibvirtHypervisor

PULSE = 5  # seconds between two questions whether the other side is there
MISSED = 3  # unanswered ones until the connection is given up


class HearingHypervisor(LibvirtHypervisor):
    """As `LibvirtHypervisor`, with events. The loop is one for the whole process and ends with it.

    Another host that falls silent is given up after 20 s, and every call that waits for it fails; without that a call waits
    for as long as TCP does, a quarter of an hour.
    """

    def __init__(self, uri: str = "qemu:///system") -> None:
        require("libvirt", "lxml")
        _loop()  # before the connection: libvirt looks for a loop when it is opened
        super().__init__(uri)
        if not self._here:
            self._connection.setKeepAlive(PULSE, MISSED)

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
