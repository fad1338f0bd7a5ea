# SPDX-License-Identifier: GPL-3.0-or-later
"""`<domain>`: how one is written, read back, and compared; see https://libvirt.org/formatdomain.html.

What a declaration leaves open and we decide (names of disks, buses, the video card) is settled by `explicit`; what it leaves
open and libvirt decides is `computed` in the tables. Devices are in `xml/devices.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import DeclarationError, InternalError
from ..model.domain import Domain
from ..model.types import ByteSize
from . import device_habits, devices, hardware
from .build import E, maybe
from .build import parse as parse_xml
from .common import METADATA, RECORD, absent, flag, mark_element, mark_of, number, pruned
from .compare import Change
from .explicit import explicit
from .merge import overlay, same_identity
from .overrides import overridden
from .shape import Attr, Shape, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

REBOOT, CRASH = "restart", "destroy"  # what libvirt does when nothing is said


def render(domain: Domain) -> Element:
    """The XML of a declared domain, its own fragments laid over. Raises `DeclarationError` for a fragment that is none."""
    full = explicit(domain)
    if domain.xml:
        replace(full, xml=domain.xml)  # judged beside the disks as they are named now
    rendered = _render(full)
    for index, text in enumerate(domain.xml):
        with same_identity(rendered, f"xml[{index}]"):
            _lay_over(rendered, text, f"xml[{index}]")
    return rendered


def _render(domain: Domain) -> Element:
    if domain.virt_type == "auto":
        raise InternalError(f"domain {domain.name}: virt_type auto must be settled for a host before it is rendered")
    return E(
        "domain",
        E("name", domain.name),
        domain.uuid and E("uuid", domain.uuid),
        domain.title and E("title", domain.title),
        domain.description and E("description", domain.description),
        mark_element(domain.mark),
        E("memory", (domain.memory_max or domain.memory).kib, unit="KiB"),
        E("currentMemory", domain.memory.kib, unit="KiB") if domain.memory_max else None,
        hardware.memory_backing(domain),
        _vcpu(domain),
        hardware.numatune(domain),
        hardware.smbios(domain),
        _os(domain),
        # Without acpi no soft shutdown, without apic Windows does not run (DOMX-08).
        E("features", E("acpi"), None if domain.arch == "aarch64" else E("apic"), hardware.hyperv(domain)),
        _cpu(domain),
        E("clock", hardware.timers(domain), offset=domain.clock or "utc"),
        E("on_reboot", domain.on_reboot) if domain.on_reboot != REBOOT else None,
        E("on_crash", domain.on_crash) if domain.on_crash != CRASH else None,
        devices.render(domain),
        type=domain.virt_type,
    )


def _vcpu(domain: Domain) -> Element:
    now = domain.vcpus if domain.vcpus_max else None
    return E("vcpu", domain.vcpus_max or domain.vcpus, cpuset=domain.cpuset, current=now)


def _os(domain: Domain) -> Element:
    return E(
        "os",
        E("type", "hvm", arch=domain.arch, machine=domain.machine),
        hardware.secure_boot(domain),
        domain.kernel and E("kernel", domain.kernel),
        domain.initrd and E("initrd", domain.initrd),
        domain.cmdline and E("cmdline", domain.cmdline),
        (E("boot", dev=device) for device in domain.boot),
        maybe("bootmenu", enable=domain.boot_menu or None, timeout=domain.boot_menu_timeout),
        E("smbios", mode="sysinfo") if domain.smbios else None,
        maybe("bios", useserial=domain.bios_serial or None, rebootTimeout=_unless_never(domain.reboot_timeout)),
        firmware="efi" if domain.firmware == "uefi" else None,
    )


def _unless_never(timeout: int) -> int | None:
    return None if timeout == -1 else timeout


def _cpu(domain: Domain) -> Element | None:
    cells = hardware.numa(domain.numa)
    cpu = domain.cpu
    if cpu is None:
        return cells if cells is None else E("cpu", cells)
    return E(
        "cpu",
        cpu.model and E("model", cpu.model),
        maybe("topology", sockets=cpu.sockets, cores=cpu.cores, threads=cpu.threads),
        (E("feature", policy=policy, name=name) for name, policy in sorted((cpu.features or {}).items())),
        cells,
        mode=cpu.mode,
        match="exact" if cpu.mode == "custom" else None,
    )


# --- the operator's own XML (CUST) -------------------------------------------------------------------------------------


def fragment_overrides(domain: Domain) -> Iterator[tuple[int, Change]]:
    """What the fragments change of what the fields of the domain say, with the number of each: worth a warning (CUST-02)."""
    rendered = _render(explicit(domain))
    for index, text in enumerate(domain.xml):
        before = deepcopy(rendered)
        _lay_over(rendered, text, f"xml[{index}]")
        yield from ((index, change) for change in overridden(before, rendered, SHAPE))


def _lay_over(rendered: Element, text: str, path: str) -> None:
    fragment = _fragment(text, path)
    if fragment.tag == "domain":
        overlay(rendered, fragment, SHAPE)
    else:
        overlay(_devices(rendered), fragment, devices.SHAPE)


def _fragment(text: str, path: str) -> Element:
    fragment = parse_xml(text, path=path)
    if fragment.tag not in ("domain", "devices"):
        raise DeclarationError.at(path, f"has the root <{fragment.tag!s}>, write <domain> or <devices> around it")
    return fragment


def _devices(domain: Element) -> Element:
    found = domain.find("devices")
    return E("devices") if found is None else found


# --- spellings, and what libvirt chose ---------------------------------------------------------------------------------


def _tidy_domain(domain: Element) -> None:
    memory, current = domain.find("memory"), domain.find("currentMemory")
    if memory is not None and current is not None and _kib(memory) == _kib(current):
        domain.remove(current)
    vcpu = domain.find("vcpu")
    if vcpu is not None and vcpu.get("current") == vcpu.text:
        del vcpu.attrib["current"]


def _tidy_os(os: Element) -> None:
    # While the machine runs, libvirt shows the files that the firmware became.
    loader = os.find("loader")
    if loader is not None and loader.get("type") == "pflash" and device_habits.is_live(os):
        os.set("firmware", "efi")


def _tidy_memory(element: Element) -> None:
    domain = element.getparent()
    cells = domain is not None and domain.find("cpu/numa/cell") is not None
    element.text = str(_kib(element) if cells else device_habits.whole(_kib(element)))
    element.attrib.pop("unit", None)


def _kib(element: Element) -> int:
    count, unit = element.text or "0", element.get("unit") or "KiB"
    return ByteSize(" ".join((count.strip(), unit))).kib


def size(kib: str) -> str:
    """A number of KiB as it is written in a declaration."""
    return str(ByteSize(int(kib) * 1024))


def _tidy_cpu(cpu: Element) -> None:
    # While the machine runs, libvirt shows the processor that a mode or a model became, every feature by name.
    if cpu.get("check") == "full" and cpu.get("mode") == "custom" and device_habits.is_live(cpu):
        cpu.set("mode", EXPANDED)


EXPANDED = "expanded"  # our word for it


def _is_expanded(declared: str, observed: str) -> bool:
    return observed == EXPANDED


def _expansion(observed: Element, declared: Element) -> bool:
    cpu = observed.getparent()
    return cpu is not None and declared.get("mode") is not None and cpu.get("mode") == EXPANDED


def _empty_or_expansion(model: Element, declared: Element) -> bool:
    # Older libvirt writes an empty <model> below mode host-model.
    return not (model.text or "").strip() or _expansion(model, declared)


def _of_cpu(observed: Element, declared: Element) -> bool:
    return declared.get("mode") is not None


def _libvirts_own_cpu(cpu: Element, declared: Element) -> bool:
    # A model that somebody asked for may fall back; the one that libvirt writes for a silent declaration may not.
    return cpu.get("mode") in ("custom", EXPANDED) and absent(cpu.find("model"), "fallback") == "forbid"


def _is_versioned(alias: str, machine: str) -> bool:
    """Whether `machine` is a version of the board `alias`: `pc-q35-7.2` is of `q35`, `pc-i440fx-7.2` of `pc`."""
    return "-" not in alias and "-" in machine and alias == device_habits.family(machine)


def _live(observed: Element, declared: Element) -> bool:
    return device_habits.is_live(observed)


UNIT = Attr("unit", default="KiB")

SHAPE: Shape = shape(
    "domain",
    Attr("type", field="virt_type"),
    Attr("id", computed=True),
    shape("name"),
    shape("uuid", computed=True),
    shape("title"),
    shape("description"),
    replace(METADATA, rows=(*METADATA.rows, shape(RECORD, whole=True, computed=True, field="recorded_devices"))),
    shape("memory", UNIT, text=True, tidy=_tidy_memory, show=size),
    # Only a running machine may have less than it was given; in a definition it would be less at the next start.
    shape("currentMemory", UNIT, text=True, tidy=_tidy_memory, show=size, computed=_live, field="current_memory"),
    hardware.MEMORY[0],
    shape(
        "vcpu",
        Attr("placement", default="static"),
        Attr("cpuset", field="cpuset"),
        Attr("current", field="current"),
        text=True,
        field="vcpus",
    ),
    hardware.MEMORY[1],
    shape("resource", whole=True, computed=_live),
    hardware.SMBIOS[0],
    shape(
        "os",
        Attr("firmware"),
        shape("type", Attr("arch"), Attr("machine", settles=_is_versioned), text=True, field="."),
        *hardware.FIRMWARE,
        shape("kernel"),
        shape("initrd"),
        shape("cmdline"),
        shape("boot", Attr("dev"), key="@dev", ordered=True),
        shape(
            "bootmenu",
            Attr("enable", field="boot_menu", default="no"),
            Attr("timeout", field="boot_menu_timeout"),
            field=".",
        ),
        hardware.SMBIOS[1],
        shape(
            "bios",
            Attr("useserial", field="bios_serial", default="no"),
            Attr("rebootTimeout", field="reboot_timeout", default="-1"),
            field=".",
        ),
        field=".",
        tidy=_tidy_os,
    ),
    shape(
        "features",
        shape("acpi", flag=True),
        shape("apic", flag=True),
        shape("gic", whole=True, computed=True),
        shape("smm", whole=True, computed=True),
        hardware.HYPERV_ROW,
    ),
    shape(
        "cpu",
        Attr("mode", settles=_is_expanded),
        Attr("match", default="exact"),
        Attr("check", computed=_of_cpu),
        Attr("migratable", computed=_of_cpu),
        shape("model", Attr("fallback", computed=True), text=True, computed=_empty_or_expansion),
        shape("vendor", computed=_expansion),
        shape(
            "topology",
            *(Attr(name) for name in ("sockets", "cores", "threads")),
            Attr("dies", default="1"),
            field=".",
        ),
        shape("feature", Attr("policy"), Attr("name"), key="@name", field="features", computed=_expansion),
        replace(hardware.NUMA, field="numa"),
        computed=_libvirts_own_cpu,
        tidy=_tidy_cpu,
    ),
    shape("clock", Attr("offset", field=".", default="utc"), hardware.TIMER),
    shape("on_poweroff", computed=True),
    shape("on_reboot", default=REBOOT),
    shape("on_crash", default=CRASH),
    shape("pm", whole=True, computed=True),
    devices.SHAPE,
    shape("seclabel", whole=True, key="@model", computed=True),
    tidy=_tidy_domain,
)


# --- reading back ------------------------------------------------------------------------------------------------------


def parse(element: Element) -> dict[str, Any]:
    """What a `Domain` must declare to render like the normalised `element`; the inverse of `render`, but for fragments."""
    machine, menu, bios = element.find("os/type"), element.find("os/bootmenu"), element.find("os/bios")
    memory, current = element.findtext("memory"), element.findtext("currentMemory")
    vcpu = element.find("vcpu")
    most = int((vcpu.text if vcpu is not None else None) or 1)
    now = most if vcpu is None else int(vcpu.get("current") or most)
    return pruned(
        name=element.findtext("name"),
        uuid=element.findtext("uuid"),
        title=element.findtext("title"),
        description=element.findtext("description"),
        mark=mark_of(element),
        virt_type=element.get("type"),
        arch=absent(machine, "arch"),
        machine=absent(machine, "machine"),
        vcpus=now,
        vcpus_max=most if most != now else None,
        memory=(current or memory) and str(ByteSize(int(current or memory or 0) * 1024)),
        memory_max=str(ByteSize(int(memory) * 1024)) if current and memory else None,
        cpu=_read_cpu(element.find("cpu")),
        firmware="uefi" if absent(element.find("os"), "firmware") == "efi" else None,
        boot=[boot.get("dev") for boot in element.iterfind("os/boot")],
        boot_menu=flag(absent(menu, "enable")),
        boot_menu_timeout=number(menu, "timeout"),
        bios_serial=flag(absent(bios, "useserial")),
        reboot_timeout=number(bios, "rebootTimeout"),
        kernel=element.findtext("os/kernel"),
        initrd=element.findtext("os/initrd"),
        cmdline=element.findtext("os/cmdline"),
        clock=absent(element.find("clock"), "offset"),
        hyperv=hardware.read_hyperv(element),
        secure_boot=hardware.read_secure_boot(element),
        smbios=hardware.read_smbios(element),
        on_reboot=element.findtext("on_reboot"),
        on_crash=element.findtext("on_crash"),
        cpuset=absent(vcpu, "cpuset"),
        **hardware.read_memory(element),
        **devices.parse(_devices(element)),
    )


def _read_cpu(cpu: Element | None) -> dict[str, Any] | None:
    if cpu is None or cpu.get("mode") is None or _libvirts_own_cpu(cpu, cpu):
        return None
    topology = cpu.find("topology")
    return pruned(
        mode=cpu.get("mode"),
        model=cpu.findtext("model"),
        features={str(held.get("name")): held.get("policy", "require") for held in cpu.iterfind("feature")} or None,
        **{name: number(topology, name) for name in ("sockets", "cores", "threads")},
    )


__all__ = ["SHAPE", "explicit", "fragment_overrides", "parse", "render", "size"]
