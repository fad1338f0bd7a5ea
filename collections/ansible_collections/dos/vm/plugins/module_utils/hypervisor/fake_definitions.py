# SPDX-License-Identifier: GPL-3.0-or-later
"""What libvirt makes of a definition: the spelling and the additions of libvirt 9.0, for `fake.py`.

Written from what a real one answers (`tests/real/test_fake_is_honest.py` holds the two against each other), and on purpose
not from our own tables in `xml/`: a fake that shares them would agree with every mistake in them. PCI addresses are left
out but for disks; the controllers are those that libvirt adds without being asked.
"""

from __future__ import annotations

import posixpath
import random
import uuid
from copy import deepcopy
from typing import TYPE_CHECKING

from ..xml.build import E
from ..xml.build import parse as parse_xml

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
UNITS = {"b": 1, "bytes": 1, "kb": 10**3, "k": 2**10, "kib": 2**10, "mb": 10**6, "m": 2**20, "mib": 2**20}
UNITS |= {"gb": 10**9, "g": 2**30, "gib": 2**30, "tb": 10**12, "t": 2**40, "tib": 2**40}


class Chance:
    """What libvirt draws by lot; the same in each run with the same seed."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.source.getrandbits(128), version=4))

    def mac(self) -> str:
        return "52:54:00:" + ":".join(f"{self.source.randrange(256):02x}" for _ in range(3))


class NotInSchemaError(ValueError):
    """The definition has an element that libvirt does not know."""


def bytes_of(element: Element | None, default_unit: str = "bytes") -> int:
    """The size that an element states, in its unit."""
    if element is None or not element.text:
        return 0
    return int(element.text) * UNITS[element.get("unit", default_unit).lower()]


def with_uuid(element: Element, chance: Chance, after: str = "name") -> Element:
    """A definition without UUID gets one, also where an object of that name has another: libvirt then refuses it."""
    if element.find("uuid") is None:
        held = E("uuid", chance.uuid())
        found = element.find(after)
        element.insert(0 if found is None else element.index(found) + 1, held)
    held_uuid = element.find("uuid")
    assert held_uuid is not None
    held_uuid.text = (held_uuid.text or "").lower()
    return element


# Networks, pools, filters, secrets


def network(element: Element, chance: Chance, bridge: str) -> Element:
    """`bridge` is the name that is free."""
    with_uuid(element, chance)
    forward = element.find("forward")
    if forward is None or forward.get("mode", "nat") in ("nat", "route", "open"):
        _complete_bridge(element, bridge)
        if element.find("mac") is None:
            held = element.find("bridge")
            assert held is not None
            held.addnext(E("mac", address=chance.mac()))
    if forward is not None and "mode" not in forward.attrib:
        forward.set("mode", "nat")
    # The MACs of DHCP hosts keep the case in which they were written.
    for held in element.iterfind("mac"):
        held.set("address", held.get("address", "").lower())
    return element


def _complete_bridge(element: Element, name: str) -> None:
    held = element.find("bridge")
    if held is None:
        held = E("bridge")
        before = element.find("forward")
        if before is None:
            before = element.find("metadata")
        if before is None:
            before = element.find("uuid")
        assert before is not None
        before.addnext(held)
    for attribute, value in (("name", name), ("stp", "on"), ("delay", "0")):
        if attribute not in held.attrib:
            held.set(attribute, value)


def running_network(element: Element) -> Element:
    """The live XML of a network: libvirt says which ports it translates to."""
    live = deepcopy(element)
    forward = live.find("forward[@mode='nat']")
    if forward is not None and forward.find("nat") is None:
        forward.insert(0, E("nat", E("port", start=1024, end=65535)))
    return live


DIRECTORIES = ("dir", "netfs")  # pools whose volumes are files


def pool(element: Element, chance: Chance) -> Element:
    with_uuid(element, chance)
    target, held = element.find("target"), element.find("uuid")
    assert held is not None
    for name in ("available", "allocation", "capacity"):
        if element.find(name) is None:
            held.addnext(E(name, 0, unit="bytes"))
    if element.find("source") is None and target is not None:
        target.addprevious(E("source"))
    return element


def running_pool(element: Element) -> Element:
    """What a pool knows once it has read its directory."""
    held = deepcopy(element)
    for name, size in (("capacity", 100 * 2**30), ("allocation", 10 * 2**30), ("available", 90 * 2**30)):
        found = held.find(name)
        assert found is not None
        found.text = str(size)
    target = held.find("target")
    if target is not None and target.find("permissions") is None and held.get("type") in DIRECTORIES:
        target.append(E("permissions", E("mode", "0755"), E("owner", 0), E("group", 0)))
    return held


def nwfilter(element: Element, chance: Chance) -> Element:
    with_uuid(element, chance)
    if "chain" not in element.attrib:
        element.set("chain", "root")
    for rule in element.iterfind("rule"):
        if "priority" not in rule.attrib:
            rule.set("priority", "500")
    return element


def secret(element: Element, chance: Chance) -> Element:
    with_uuid(element, chance)
    for name in ("ephemeral", "private"):
        if name not in element.attrib:
            element.set(name, "no")
    return element


# Volumes


def volume(element: Element, directory: str, backing_capacity: int = 0) -> Element:
    """The XML of the file that a definition made; sizes in bytes. `backing_capacity` counts where no capacity is said."""
    name = element.findtext("name") or ""
    path = posixpath.join(directory, name)
    asked, source = element.find("target"), element.find("backingStore")
    kind = element.find("target/format")
    format_name = "raw" if kind is None else kind.get("type", "raw")
    capacity = bytes_of(element.find("capacity")) or backing_capacity
    if format_name == "qcow2":
        capacity = -(-capacity // 1024) * 1024  # libvirt gives qemu-img whole KiB; a raw file has any size
    allocated = bytes_of(element.find("allocation")) if format_name == "raw" else 196616
    return E(
        "volume",
        E("name", name),
        E("key", path),
        E("capacity", capacity, unit="bytes"),
        E("allocation", allocated, unit="bytes"),
        E("physical", capacity if format_name == "raw" else 196616, unit="bytes"),
        E(
            "target",
            E("path", path),
            E("format", type=format_name),
            _permissions(asked),
            E("timestamps", E("atime", "1.0"), E("mtime", "1.0"), E("ctime", "1.0"), E("btime", 0)),
            _copied(asked, "encryption"),
            _copied(asked, "compat"),
            _copied(asked, "features"),
        ),
        None if source is None else _backing(source),
        type="file",
    )


def reread(element: Element) -> None:
    """What libvirt adds to a volume when the pool is read again, in place."""
    target = element.find("target")
    for held in element.iterfind("target/encryption/secret"):
        held.getparent().remove(held)  # type: ignore[union-attr]  # it was found there
    if target is not None and target.find("format[@type='qcow2']") is not None and target.find("clusterSize") is None:
        before = target.find("features")
        held = E("clusterSize", 65536, unit="B")
        target.append(held) if before is None else before.addprevious(held)


def _permissions(target: Element | None) -> Element:
    def said(name: str, otherwise: str) -> str:
        return (target is not None and target.findtext(f"permissions/{name}")) or otherwise

    mode = said("mode", "0600").lstrip("0").rjust(4, "0")
    return E("permissions", E("mode", mode), E("owner", said("owner", "0")), E("group", said("group", "0")))


def _backing(source: Element) -> Element:
    held = deepcopy(source)
    held.append(E("permissions", E("mode", "0600"), E("owner", 0), E("group", 0)))
    held.append(E("timestamps", E("atime", "1.0"), E("mtime", "1.0"), E("ctime", "1.0"), E("btime", 0)))
    return held


def _copied(element: Element | None, tag: str) -> Element | None:
    found = None if element is None else element.find(tag)
    return None if found is None else deepcopy(found)


# Domains


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


def same(one: Element, other: Element) -> bool:
    """Whether two elements say the same: the name of a bridge, a path, a usage."""
    texts = [[part.strip() for part in held.itertext() if part.strip()] for held in (one, other)]
    names = [(held.get("name"), held.get("type")) for held in (one, other)]
    return texts[0] == texts[1] and names[0] == names[1]


def parse(text: str) -> Element:
    """A definition as text."""
    return parse_xml(text)
