# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a VM when its host boots, and how libvirt is told: by its autostart."""

from __future__ import annotations

from typing import Literal

OnBoot = Literal["start", "stay_off", "last"]
#: What `autostart` of domains and instances became.
RENAMED = {"autostart": "is no field of a VM any more: use on_boot: start, or on_boot: stay_off for autostart: false"}


def with_host(on_boot: OnBoot, *, on: bool) -> bool:
    """libvirt's autostart. `on` is whether the VM is meant to be on, so that after a power cut as well it is as it was."""
    return on_boot == "start" or (on_boot == "last" and on)
