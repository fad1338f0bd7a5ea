# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do: read from libvirt's capabilities, and KVM from the host itself, since libvirt only believes in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..model.host import NumaNode
from ..model.types import ByteSize
from ..xml.build import parse

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


def memory(connection: Any) -> tuple[int, int] | None:
    """Bytes of memory there are now, and those not in use; getInfo has what the NUMA nodes had at boot, which may be less."""
    try:
        held = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError:
        return None  # a driver without such statistics
    unused = sum(int(held.get(part, 0)) for part in ("free", "buffers", "cached"))
    return int(held["total"]) * 1024, unused * 1024


def boards(capabilities: Element, arch: str) -> tuple[str, ...]:
    """Every board of an architecture, aliases as well."""
    found = capabilities.iterfind(f"guest/arch[@name='{arch}']/machine")
    return tuple(sorted({machine.text for machine in found if machine.text}))


def numa(capabilities: Element) -> tuple[NumaNode, ...]:
    """The NUMA nodes with their processors, and what of their memory is in huge pages: of every size but the usual one."""
    return tuple(
        NumaNode(
            memory=ByteSize(int(cell.findtext("memory") or 0) * 1024),
            cpus=len(cell.findall("cpus/cpu")),
            hugepages={
                str(ByteSize(int(pages.get("size", "0")) * 1024)): ByteSize(
                    int(pages.get("size", "0")) * 1024 * int(pages.text or 0)
                )
                for pages in cell.findall("pages")[1:]
                if int(pages.text or 0)
            }
            or None,
        )
        for cell in capabilities.iterfind("host/topology/cells/cell")
    )


def cpu_models(connection: Any, arch: str) -> tuple[str, ...]:
    """The models that KVM can show to guests here."""
    try:
        told = parse(connection.getDomainCapabilities(None, arch, None, "kvm"))
    except libvirt.libvirtError:
        return ()  # a driver without such an answer
    usable = told.iterfind("cpu/mode[@name='custom']/model[@usable='yes']")
    return tuple(sorted({model.text for model in usable if model.text}))


def devices(connection: Any) -> dict[str, int] | None:
    """PCI devices in an IOMMU group, which alone can be given to guests, by vendor and product."""
    found: dict[str, int] = {}
    try:
        listed = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV)
        for held in map(parse, (device.XMLDesc() for device in listed)):
            capability = held.find("capability[@type='pci']")
            if capability is not None and capability.find("iommuGroup") is not None:
                name = ":".join(_digits(capability, part) for part in ("vendor", "product"))
                found[name] = found.get(name, 0) + 1
    except libvirt.libvirtError:
        return None  # a driver that knows no devices
    return found or None


def _digits(capability: Element, part: str) -> str:
    held = capability.find(part)
    return "" if held is None else held.get("id", "").removeprefix("0x")


def load(cpus: int) -> int:
    """Busy share of the processors over five minutes, in percent. It is this machine's, as KVM is."""
    return int(100 * os.getloadavg()[1] / max(1, cpus))
