# SPDX-License-Identifier: GPL-3.0-or-later
"""An order: what an operator wants done to machines besides what is declared of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import Connection
from .types import AbsolutePath, ByteSize, Name

Verb = Literal[
    "start", "stop", "reboot", "reset", "suspend", "resume", "save", "restore", "attach", "detach", "screenshot",
    "console", "release",
]  # fmt: skip
Power = Literal["on", "off"]


@declaration
class Ordering(Connection):
    """What the `vm` module takes."""

    names: tuple[Name, ...] = option("The machines, each by its name.", spec="VM-T1.2")
    order: Verb = option(
        "What is to be done. V(release) takes back what was ordered before, so that the declaration counts again; V(console) "
        "tells where the consoles are.",
        spec="VM-T2",
    )
    timeout: int | None = option(
        "Seconds the order may take. A guest that is asked to stop and has not by then is forced off; its own "
        "C(stop_timeout), or 120, when not given.",
        spec="VM-14",
        default=None,
        low=0,
        high=3600,
    )
    force: bool = option("Stop without asking the guest.", spec="VM-14", default=False)
    reset_after: bool = option(
        "Reset a guest that has not begun to reboot within the time.", spec="LIMIT-41", default=False
    )
    keep: bool = option(
        "Whether the order outranks the declaration until it is released or the declaration changes. Without, the next "
        "C(dos.vm.site) makes of the machine what is declared.",
        spec="VM-15",
        default=True,
    )
    declared: dict[Name, Power] | None = option(
        "What is declared of the machines; an order to that is no exception and is not kept.", default=None
    )
    until: float | None = option("When an order that is kept ends by itself, in seconds since 1970.", default=None)
    max_vcpus: int | None = option(
        "vCPUs that all VMs of the host may have together; a VM that does not fit is not started.",
        spec="VM-18",
        default=None,
        low=0,
    )
    max_memory: ByteSize | None = option(
        "Memory that all VMs of the host may have together; a VM that does not fit is not started.",
        spec="VM-18",
        default=None,
        low=0,
    )
    numbers: dict[Name, int] | None = option(
        "The numbers that the store gave to the power overrides, by VM. Without, the host counts them.", default=None
    )
    clock: float | None = option(
        "The controller's time. O(until) is refused where the host's clock differs by more than 30 seconds.",
        default=None,
    )
    by: str | None = option("Who gave the order, for those who find it.", default=None)
    device: str | None = option("The device to attach or detach, as XML.", spec="HOT-01", default=None)
    file: AbsolutePath | None = option("Where on the host a screenshot is written, as PNG.", spec="VM-27", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        if (self.order in ("attach", "detach")) != (self.device is not None):
            yield "device", "goes with order: attach or detach, and only with them"
        if (self.order == "screenshot") != (self.file is not None):
            yield "file", "goes with order: screenshot, and only with it"
        if self.order == "screenshot" and len(self.names) > 1:
            yield "names", "is one machine for a screenshot"
        if self.force and self.order != "stop":
            yield "force", "is for order: stop; what always works is order: reset"
        if self.reset_after and self.order != "reboot":
            yield "reset_after", "is for order: reboot"
