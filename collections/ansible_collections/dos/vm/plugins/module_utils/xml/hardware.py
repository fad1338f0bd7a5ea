# SPDX-License-Identifier: GPL-3.0-or-later
"""What few machines have: huge pages, NUMA, Hyper-V's interfaces, secure boot, and devices beside disks and cards.

As in `xml/domain.py` each part has three: how it is written, its rows for comparing, how it is read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..model.device import HostDevice, Share
from ..model.domain import Domain
from ..model.processor import NumaCell
from ..model.types import ByteSize
from .build import E, maybe
from .common import BOOT, absent, boot, number, pruned
from .shape import INDEX, Attr, Shape, shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

SPICE_AGENT = "com.redhat.spice.0"
ENROLLED, SECURE = "enrolled-keys", "secure-boot"
# What Windows is told of by any hypervisor that wants it fast, and the clocks that go with it; stimer needs synic and vpindex.
HYPERV = ("relaxed", "vapic", "spinlocks", "vpindex", "synic", "stimer")
RETRIES = 8191
TIMERS: Mapping[str, Mapping[str, object]] = {"rtc": {"tickpolicy": "catchup"}, "pit": {"tickpolicy": "delay"}, "hpet": {"present": False},
          "hypervclock": {"present": True}}  # fmt: skip


# --- memory and NUMA ---------------------------------------------------------------------------------------------------


def memory_backing(domain: Domain) -> Element | None:
    """Sizes are in KiB, which libvirt takes for granted. virtio-fs reads and writes the guest's memory from another process, so it must be shared."""
    pages = domain.hugepages
    return maybe(
        "memoryBacking",
        E("hugepages", E("page", size=pages.kib)) if pages else None,
        E("source", type="memfd") if domain.shares else None,
        E("access", mode="shared") if domain.shares else None,
        E("locked") if domain.memory_locked else None,
    )


def numatune(domain: Domain) -> Element | None:
    """Where on the host its memory comes from."""
    if domain.numa_nodes is None:
        return None
    return E("numatune", E("memory", mode=domain.numa_mode, nodeset=domain.numa_nodes))


def numa(cells: tuple[NumaCell, ...]) -> Element | None:
    """The cells, inside `<cpu>`."""
    return maybe(
        "numa",
        (E("cell", id=at, cpus=cell.vcpus, memory=cell.memory.kib) for at, cell in enumerate(cells)),
    )


def _tidy_cell(cell: Element) -> None:
    cell.set("memory", str(ByteSize(f"{cell.get('memory', '0')} {cell.attrib.pop('unit', 'KiB')}").kib))
    cell.attrib.pop("discard", None)


def _tidy_page(page: Element) -> None:
    page.set("size", str(ByteSize(f"{page.get('size', '0')} {page.attrib.pop('unit', 'KiB')}").kib))


MEMORY = (
    shape(
        "memoryBacking",
        shape("hugepages", shape("page", Attr("size", field="."), Attr("nodeset"), field=".", tidy=_tidy_page)),
        shape("source", Attr("type")),
        shape("access", Attr("mode")),
        shape("locked", flag=True, field="memory_locked"),
        field=".",
    ),
    shape(
        "numatune",
        shape("memory", Attr("mode", field="numa_mode"), Attr("nodeset", field="numa_nodes"), field="."),
        field=".",
    ),
)
NUMA = shape("numa", shape("cell", *(Attr(name) for name in ("id", "cpus", "memory")), key="@id", tidy=_tidy_cell))


def read_memory(domain: Element) -> dict[str, Any]:
    """The fields that say where the memory is and comes from."""
    page, tune = domain.find("memoryBacking/hugepages/page"), domain.find("numatune/memory")
    return {
        "hugepages": (page is not None and str(ByteSize(int(page.get("size", "0")) * 1024))) or None,
        "memory_locked": domain.find("memoryBacking/locked") is not None or None,
        "numa_nodes": absent(tune, "nodeset"),
        "numa_mode": absent(tune, "mode"),
        "numa": [
            {"vcpus": cell.get("cpus"), "memory": str(ByteSize(int(cell.get("memory", "0")) * 1024))}
            for cell in domain.iterfind("cpu/numa/cell")
        ],
    }


# --- Hyper-V -------------------------------------------------------------------------------------------------------------


def hyperv(domain: Domain) -> Element | None:
    """Inside `<features>`."""
    if not domain.hyperv:
        return None
    said = (E(name, state="on", retries=RETRIES if name == "spinlocks" else None) for name in HYPERV)
    return E("hyperv", said, mode="custom")


def timers(domain: Domain) -> Iterator[Element]:
    """Inside `<clock>`: Windows loses ticks that it was not given in time."""
    if domain.hyperv:
        yield from (E("timer", name=name, **how) for name, how in TIMERS.items())


HYPERV_ROW = shape(
    "hyperv",
    Attr("mode", default="custom"),
    *(shape(name, Attr("state"), Attr("retries")) for name in HYPERV),
)
TIMER = shape("timer", Attr("name"), Attr("tickpolicy"), Attr("present"), key="@name", field="timers")


def read_hyperv(domain: Element) -> bool | None:
    """Whether all that we would say is said; what else there is, is not ours to say."""
    found = domain.find("features/hyperv")
    return (found is not None and all(found.find(name) is not None for name in HYPERV)) or None


# --- SMBIOS --------------------------------------------------------------------------------------------------------------


def smbios(domain: Domain) -> Element | None:
    """The fields of the system; libvirt adds the machine's UUID by itself."""
    if domain.smbios is None:
        return None
    said = ((name, getattr(domain.smbios, name)) for name in SYSTEM)
    return E("sysinfo", E("system", [E("entry", value, name=name) for name, value in said if value]), type="smbios")


# What libvirt calls them, and we, in the order in which it writes them.
SYSTEM = ("manufacturer", "product", "version", "serial", "sku", "family")
SMBIOS = (
    shape(
        "sysinfo",
        Attr("type", field="smbios"),
        shape("system", shape("entry", Attr("name"), text=True, key="@name", field="smbios"), field="."),
        field=".",
    ),
    shape("smbios", Attr("mode", field="smbios"), field="."),
)


def read_smbios(domain: Element) -> dict[str, Any] | None:
    """What there is to declare of it; nothing where the firmware is told something else, or nothing."""
    mode = domain.find("os/smbios")
    if mode is None or mode.get("mode") != "sysinfo":
        return None
    told = {str(entry.get("name")): entry.text for entry in domain.iterfind("sysinfo/system/entry")}
    return {name: told[name] for name in SYSTEM if told.get(name)}


# --- secure boot ---------------------------------------------------------------------------------------------------------


def secure_boot(domain: Domain) -> Element | None:
    """Inside `<os firmware="efi">`: what the firmware must have, or must not."""
    if domain.secure_boot is None:
        return None
    return E("firmware", (E("feature", enabled=domain.secure_boot, name=name) for name in (ENROLLED, SECURE)))


def _of_uefi(observed: Element, declared: Element) -> bool:
    return declared.get("firmware") == "efi"


def _of_that_firmware(observed: Element, declared: Element) -> bool:
    """Files that libvirt found stay while they are what is asked for: secure or not must not change under them."""
    asked = {held.get("name"): held.get("enabled") for held in declared.iterfind("firmware/feature")}
    had = {held.get("name"): held.get("enabled") for held in observed.iterfind("../firmware/feature")}
    return _of_uefi(observed, declared) and all(had.get(name) == enabled for name, enabled in asked.items())


FIRMWARE = (
    shape(
        "firmware",
        shape("feature", Attr("enabled"), Attr("name"), key="@name", field="secure_boot", computed=True),
        computed=_of_uefi,
        field=".",
    ),
    *(shape(tag, whole=True, computed=_of_that_firmware) for tag in ("loader", "nvram")),
)


def read_secure_boot(domain: Element) -> bool | None:
    """`None` when nothing is said."""
    said = domain.find(f"os/firmware/feature[@name='{SECURE}']")
    return None if said is None else said.get("enabled") == "yes"


# --- devices -------------------------------------------------------------------------------------------------------------


def devices(domain: Domain) -> Iterator[Element | None]:
    """Those that have no place among the common ones."""
    yield from (_share(held) for held in domain.shares)
    if domain.spice_agent:
        yield E("channel", E("target", type="virtio", name=SPICE_AGENT), type="spicevmc")
    if domain.tpm:
        backend = E("backend", type="emulator", version=domain.tpm.version)
        yield E("tpm", backend, model=f"tpm-{domain.tpm.model}")
    yield domain.sound and E("sound", model=domain.sound)
    yield from (_host_device(held) for held in domain.host_devices)
    yield from (E("redirdev", bus="usb", type="spicevmc") for _ in range(domain.usb_redirection))
    if domain.watchdog:
        yield E("watchdog", model=domain.watchdog.model, action=domain.watchdog.action)
    yield E("panic", model="isa") if domain.panic else None


def _share(share: Share) -> Element:
    source, target = E("source", dir=share.path), E("target", dir=share.tag)
    return E("filesystem", E("driver", type="virtiofs"), source, target, type="mount", accessmode="passthrough")


def _host_device(held: HostDevice) -> Element:
    if held.usb:
        vendor, product = (f"0x{part}" for part in held.usb.split(":"))
        source = E("source", E("vendor", id=vendor), E("product", id=product))
        return E("hostdev", source, boot(held.boot_order), mode="subsystem", type="usb")
    domain, bus, rest = str(held.pci).split(":")
    slot, function = rest.split(".")
    place = {"domain": domain, "bus": bus, "slot": slot, "function": function}
    address = E("address", **{name: f"0x{value}" for name, value in place.items()})
    return E("hostdev", E("source", address), boot(held.boot_order), mode="subsystem", type="pci", managed=True)


def _boards_own(watchdog: Element, declared: Element) -> bool:
    # Part of the q35 board, listed since libvirt 9.1.
    return watchdog.get("model") == "itco"


PCI = ("domain", "bus", "slot", "function")


def rows(place: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Inside `<devices>`; `place` are the rows that every device has."""
    return (
        shape(
            "filesystem",
            Attr("type"),
            Attr("accessmode", default="passthrough"),
            shape("driver", Attr("type")),
            shape("binary", whole=True, computed=True),
            shape("source", Attr("dir", field="path"), field="."),
            shape("target", Attr("dir", field="tag"), field="."),
            *place,
            key="target/@dir",
            field="shares",
        ),
        shape("tpm", Attr("model"), shape("backend", Attr("type"), Attr("version")), *place),
        shape("sound", Attr("model"), *place, key=INDEX),
        shape(
            "hostdev",
            Attr("mode"),
            Attr("type"),
            Attr("managed", default="no"),
            shape("driver", whole=True, computed=True),
            shape(
                "source",
                shape("address", *(Attr(name) for name in PCI)),
                shape("vendor", Attr("id")),
                shape("product", Attr("id")),
                field=".",
            ),
            BOOT,
            *place,
            key=("@type", *(f"source/address/@{name}" for name in PCI), "source/vendor/@id", "source/product/@id"),
            field="host_devices",
        ),
        shape("redirdev", Attr("bus"), Attr("type"), *place, key=INDEX, field="usb_redirection"),
        shape("watchdog", Attr("model"), Attr("action", default="reset"), *place, key="@model", computed=_boards_own),
        shape("panic", Attr("model"), *place, key="@model"),
    )


def read_devices(devices: Element) -> dict[str, Any]:
    """The fields that such devices give; what no field can say of them is nobody's here."""
    tpm, watchdog = devices.find("tpm[backend]"), devices.find("watchdog")
    redirected = len(devices.findall("redirdev"))
    return {
        "shares": [_read_share(held) for held in devices.iterfind("filesystem") if _is_share(held)],
        "spice_agent": devices.find(f"channel/target[@name='{SPICE_AGENT}']") is not None or None,
        "tpm": None if tpm is None else _read_tpm(tpm),
        "sound": absent(devices.find("sound"), "model"),
        "host_devices": [found for held in devices.iterfind("hostdev") if (found := _read_host_device(held))],
        "usb_redirection": redirected or None,
        "watchdog": None if watchdog is None or watchdog.get("model") == "itco" else _read_watchdog(watchdog),
        "panic": devices.find("panic[@model='isa']") is not None or None,
    }


def _is_share(held: Element) -> bool:
    return absent(held.find("driver"), "type") == "virtiofs" and held.find("source[@dir]") is not None


def _read_share(held: Element) -> dict[str, Any]:
    return {"path": absent(held.find("source"), "dir"), "tag": absent(held.find("target"), "dir")}


def _read_tpm(tpm: Element) -> dict[str, Any] | None:
    if absent(tpm.find("backend"), "type") != "emulator":
        return None
    return {"model": tpm.get("model", "").removeprefix("tpm-"), "version": absent(tpm.find("backend"), "version")}


def _read_watchdog(held: Element) -> dict[str, Any]:
    return {"model": held.get("model"), "action": held.get("action", "reset")}


def host_device(held: Element) -> tuple[str, str] | None:
    """Which device of the host a `<hostdev>`, or a card that is one, means: `pci` or `usb`, and what a declaration calls it."""
    place, vendor, product = (held.find(f"source/{tag}") for tag in ("address", "vendor", "product"))
    kind = "pci" if (held.tag, held.get("type")) == ("interface", "hostdev") else held.get("type")
    if kind == "pci" and place is not None:
        with suppress(ValueError):  # of numbers that are none libvirt itself speaks
            numbers = (_place(place.get(name, "0")) for name in PCI)
            return "pci", "{:04x}:{:02x}:{:02x}.{:x}".format(*numbers)
    if kind == "usb" and vendor is not None and product is not None:
        return "usb", ":".join(part.get("id", "").removeprefix("0x") for part in (vendor, product))
    return None


def _place(text: str) -> int:
    return int(text, 16 if text.startswith("0x") else 10)


def _read_host_device(held: Element) -> dict[str, Any] | None:
    found = host_device(held)
    if found is None:
        return None
    kind, name = found
    return pruned(**{kind: name}, boot_order=number(held.find("boot"), "order"))
