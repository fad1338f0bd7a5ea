# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt makes of a guest: its definition, its live XML and one device more, for `fake.py`; see `fake_definitions.py`.

PCI addresses are left out but for disks; the controllers are those that libvirt adds without being asked.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from ..xml.build import E, compact
from ..xml.common import RECORD
from ..xml.device_record import changed, given
from .fake_definitions import Chance, NotInSchemaError, bytes_of, with_uuid

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

MACHINES = {"pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"}
EMULATORS = {"x86_64": "/usr/bin/qemu-system-x86_64", "i686": "/usr/bin/qemu-system-i386"}
# The order in which libvirt writes; nothing else is in its schema, as far as we ever send.
DOMAIN_ORDER = [
    "name",
    "uuid",
    "title",
    "description",
    "metadata",
    "maxMemory",
    "memory",
    "currentMemory",
    "memoryBacking",
    "vcpu",
    "iothreads",
    "cputune",
    "numatune",
    "resource",
    "sysinfo",
    "os",
    "features",
    "cpu",
    "clock",
    "on_poweroff",
    "on_reboot",
    "on_crash",
    "pm",
    "devices",
    "seclabel",
]
DEVICE_ORDER = [
    "emulator",
    "disk",
    "controller",
    "lease",
    "filesystem",
    "interface",
    "smartcard",
    "serial",
    "parallel",
    "console",
    "channel",
    "input",
    "tpm",
    "graphics",
    "sound",
    "audio",
    "video",
    "hostdev",
    "redirdev",
    "watchdog",
    "memballoon",
    "rng",
    "shmem",
    "memory",
    "panic",
    "vsock",
]


def domain(element: Element, chance: Chance) -> Element:
    """Raises `NotInSchemaError`."""
    _refuse_unknown(element, DOMAIN_ORDER)
    with_uuid(element, chance)
    _memory(element)
    devices = element.find("devices")
    if devices is None:
        element.append(devices := E("devices"))
    _refuse_unknown(devices, DEVICE_ORDER)
    machine = _machine(element)
    for tag, text in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        if element.find(tag) is None:
            element.append(E(tag, text))
    for tag, made in (("clock", E("clock", offset="utc")), ("cpu", _cpu(element))):
        if element.find(tag) is None and made is not None:
            element.append(made)
    _devices(devices, element, machine, chance)
    _in_order(element, DOMAIN_ORDER)
    _in_order(devices, DEVICE_ORDER)
    return element


def _refuse_unknown(element: Element, known: list[str]) -> None:
    for child in element:
        if isinstance(child.tag, str) and child.tag not in known:
            raise NotInSchemaError(f"Extra element {child.tag} in interleave")


def _in_order(element: Element, order: list[str]) -> None:
    element[:] = sorted(element, key=lambda child: order.index(str(child.tag)))


def _memory(element: Element) -> None:
    for tag in ("memory", "currentMemory"):
        held = element.find(tag)
        if held is not None:
            held.text = str(-(-bytes_of(held, "KiB") // 1024))
            held.set("unit", "KiB")
    memory = element.find("memory")
    if element.find("currentMemory") is None and memory is not None:
        element.append(E("currentMemory", memory.text, unit="KiB"))
    vcpu = element.find("vcpu")
    if vcpu is None:
        element.append(vcpu := E("vcpu", 1))
    if "placement" not in vcpu.attrib:
        vcpu.set("placement", "static")


def _machine(element: Element) -> str:
    held = element.find("os/type")
    if held is None:
        raise NotInSchemaError("an os <type> must be specified")
    alias = held.get("machine", "pc")
    held.attrib.pop("machine", None)
    if "arch" not in held.attrib:
        held.set("arch", "x86_64")
    held.set("machine", MACHINES.get(alias, alias))
    has_order = element.find("devices/*/boot[@order]") is not None
    system = element.find("os")
    if system is not None and system.find("boot") is None and not has_order:
        held.addnext(E("boot", dev="hd"))
    return held.get("machine", "")


def _cpu(element: Element) -> Element | None:
    if element.get("type") != "qemu":
        return None
    return E("cpu", E("model", "qemu64", fallback="forbid"), mode="custom", match="exact", check="none")


def _devices(devices: Element, element: Element, machine: str, chance: Chance) -> None:
    system = element.find("os/type")
    arch = "x86_64" if system is None else system.get("arch", "x86_64")
    if devices.find("emulator") is None:
        devices.append(E("emulator", EMULATORS.get(arch, f"/usr/bin/qemu-system-{arch}")))
    for held in devices:
        device(held, chance)
    _controllers(devices, machine)
    _number_serials(devices)
    for kind in ("mouse", "keyboard"):
        if devices.find(f"input[@type='{kind}'][@bus='ps2']") is None:
            devices.append(E("input", type=kind, bus="ps2"))
    if devices.find("memballoon") is None:
        devices.append(E("memballoon", model="virtio"))
    if devices.find("audio") is None:
        devices.append(E("audio", id=1, type="none"))


def device(element: Element, chance: Chance) -> None:
    """What libvirt adds to one device, in place."""
    match element.tag:
        case "disk":
            _disk(element)
        case "interface":
            _interface(element, chance)
        case "graphics":
            _graphics(element)
        case "video":
            _video(element)


def _disk(element: Element) -> None:
    if "device" not in element.attrib:
        element.set("device", "disk")
    driver = element.find("driver")
    if driver is None:
        element.insert(0, driver := E("driver"))
    if "name" not in driver.attrib:
        driver.set("name", "qemu")
    if "type" not in driver.attrib:
        driver.set("type", "raw")
    target = element.find("target")
    if target is not None and "bus" not in target.attrib:
        target.set("bus", {"vd": "virtio", "hd": "ide", "sd": "scsi"}.get(target.get("dev", "")[:2], "ide"))
    if element.get("device") == "cdrom" and element.find("readonly") is None:
        element.append(E("readonly"))
    if element.find("address") is None and target is not None and target.get("bus") in ("ide", "sata", "scsi"):
        unit = ord(target.get("dev", "sda")[2]) - ord("a")
        element.append(E("address", type="drive", controller=0, bus=0, target=0, unit=unit))


def _interface(element: Element, chance: Chance) -> None:
    held = element.find("mac")
    if held is None:
        element.insert(0, held := E("mac", address=chance.mac()))
    held.set("address", held.get("address", "").lower())
    if element.find("model") is None:
        element.append(E("model", type="rtl8139"))


def _graphics(element: Element) -> None:
    if element.get("autoport") == "yes" or "port" not in element.attrib:
        element.set("port", "-1")
        element.set("autoport", "yes")
    elif "autoport" not in element.attrib:
        element.set("autoport", "no")
    listen = element.find("listen")
    if listen is None:
        element.append(listen := E("listen", type="address", address=element.get("listen")))
    if listen.get("address"):
        element.set("listen", listen.get("address", ""))


def _video(element: Element) -> None:
    model = element.find("model")
    if model is None:
        return
    for name, value in (("vram", "16384"), ("heads", "1"), ("primary", "yes")):
        if name not in model.attrib and (name != "vram" or model.get("type") in ("vga", "cirrus", "vmvga")):
            model.set(name, value)


def _controllers(devices: Element, machine: str) -> None:
    express = "q35" in machine
    buses = {held.get("bus") for held in devices.iterfind("disk/target")}
    root = E("controller", type="pci", index=0, model="pcie-root" if express else "pci-root")
    storage = [E("controller", type=bus, index=0) for bus in ("ide", "sata") if bus in buses]
    wanted = [E("controller", type="usb", index=0, model="qemu-xhci" if express else "piix3-uhci")]
    wanted += [*storage, root] if express else [root, *storage]
    wanted += [E("controller", type="scsi", index=0, model="lsilogic")] if "scsi" in buses else []
    if express and devices.find("controller[@model='pcie-root-port']") is None:
        # One for each device; as devices have no addresses here, only the one that libvirt leaves free counts.
        devices.append(E("controller", type="pci", index=1, model="pcie-root-port"))
    for held in wanted:
        same = [one for one in devices.iterfind("controller") if one.get("model") != "pcie-root-port"]
        if all(one.get("type") != held.get("type") for one in same):
            devices.append(held)


def _number_serials(devices: Element) -> None:
    for index, held in enumerate(devices.iterfind("serial")):
        target = held.find("target")
        if target is None:
            held.append(target := E("target"))
        for name, value in (("type", "isa-serial"), ("port", str(index))):
            if name not in target.attrib:
                target.set(name, value)
        if target.find("model") is None:
            target.append(E("model", name="isa-serial"))
    first = devices.find("serial")
    if first is not None and devices.find("console") is None:
        devices.append(E("console", E("target", type="serial", port=0), type=first.get("type")))


def running_domain(element: Element, number: int) -> Element:
    """The live XML of a guest that is the `number`th to start: aliases, taps, a port for the console."""
    live = deepcopy(element)
    live.set("id", str(number))
    counts: dict[str, int] = {}
    for held in live.iterfind("devices/*"):
        running_device(held, counts, number)
    return live


def running_device(element: Element, counts: dict[str, int], number: int) -> None:
    tag = str(element.tag)
    index = counts[tag] = counts.get(tag, -1) + 1
    if tag == "interface" and element.find("target") is None:
        element.append(E("target", dev=f"vnet{number}{index}"))
    if tag == "graphics" and element.get("port") == "-1":
        element.set("port", str(5900 + number))
    if tag not in ("emulator", "graphics") and element.find("alias") is None:
        prefix = {"interface": "net", "disk": "disk-"}.get(tag, tag)
        element.append(E("alias", name=f"{prefix}{index}"))


def note(devices: Element, device: Element, *, attached: bool) -> None:
    """Keep the record of what a running guest was given, where it has one."""
    metadata = devices.find("../metadata")
    held = None if metadata is None else metadata.find(RECORD)
    if metadata is not None and held is not None:
        metadata.replace(held, given(changed(compact(held), deepcopy(device), attached=attached)))


def find_slot(devices: Element, element: Element) -> bool:
    """Plug a device that is on PCI into a free port, in place; whether there was one. Boards without ports always have room."""
    target = element.find("target")
    if element.tag == "disk" and target is not None and target.get("bus") != "virtio":
        if target.get("bus") != "scsi" or devices.find("controller[@type='scsi']") is not None:
            return True
        element = E("controller", type="scsi", index=0, model="lsilogic")
        devices.append(element)
    ports = [held.get("index", "") for held in devices.iterfind("controller[@model='pcie-root-port']")]
    if not ports:
        return True
    taken = {int(held.get("bus", "0"), 16) for held in devices.iterfind("*/address[@type='pci']")}
    free = next((port for port in ports if int(port) not in taken), None)
    if free is not None:
        element.append(E("address", type="pci", domain="0x0000", bus=f"0x{int(free):02x}", slot="0x00", function="0x0"))
    return free is not None
