# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do: read from libvirt's capabilities, and KVM from the host itself, since libvirt only believes in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


def offers_kvm(capabilities: Element, arch: str) -> bool:
    """Whether libvirt would start KVM guests of an architecture."""
    return any(
        held.get("name") == arch and any(domain.get("type") == "kvm" for domain in held.iterfind("domain"))
        for held in capabilities.iterfind("guest/arch")
    )


def kvm_works(arch: str, device: str = "/dev/kvm", cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether KVM truly works here: libvirt offers it for a device node alone, also where guests would hang."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    if arch not in ("x86_64", "i686"):
        return True
    flags = next((line.split() for line in Path(cpuinfo).read_text().splitlines() if line.startswith("flags")), [])
    return "vmx" in flags or "svm" in flags


def emulators(capabilities: Element) -> dict[str, str]:
    """The path of the emulator by architecture."""
    held = capabilities.iterfind("guest/arch")
    return {arch.get("name", ""): arch.findtext("emulator") or "" for arch in held if arch.findtext("emulator")}


def machines(capabilities: Element) -> dict[str, str]:
    """What each alias of a board stands for, x86_64."""
    found = capabilities.iterfind("guest/arch[@name='x86_64']/machine[@canonical]")
    return {machine.text or "": machine.get("canonical", "") for machine in found}


def memory(connection: Any) -> int | None:
    """Bytes of memory there are now; getInfo has what the NUMA nodes had at boot, which may be less."""
    try:
        return int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) * 1024
    except libvirt.libvirtError:
        return None  # a driver without such statistics
