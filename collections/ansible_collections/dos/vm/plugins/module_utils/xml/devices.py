# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of a domain: how they are written, read back, and compared; see https://libvirt.org/formatdomain.html#devices.

Names and buses that a declaration leaves open are settled before anything is written here: see `xml/domain.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..model.domain import Disk, Domain, Interface
from ..model.graphics import Graphics
from ..model.overlay import SUFFIX, link, split
from . import hardware
from .build import E, maybe, on_off
from .common import absent, flag, lower, pruned
from .network import BANDWIDTH, VLAN, bandwidth, read_bandwidth, read_vlan, vlan
from .shape import INDEX, Attr, Shape, shape
from .volume import encryption, read_encryption

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

AGENT = "org.qemu.guest_agent.0"
SECRET = "secret:"  # begins the reference that stands for a password until the hypervisor is called


def render(domain: Domain) -> Element:
    """`<devices>` of a domain in which nothing is left open."""
    return E(
        "devices",
        (disk(held, domain.name) for held in domain.disks),
        (interface(held) for held in domain.interfaces),
        _serial(domain),
        E("channel", E("target", type="virtio", name=AGENT), type="unix") if domain.agent else None,
        E("input", type="tablet", bus="usb") if domain.tablet else None,
        (graphics(held) for held in domain.graphics),
        domain.video and E("video", E("model", type=domain.video)),
        _balloon(domain),
        E("rng", E("backend", "/dev/urandom", model="random"), model="virtio") if domain.rng else None,
        hardware.devices(domain),
    )


def disk(disk: Disk, machine: str) -> Element:
    """One disk of a machine, as `virDomainAttachDevice` takes it too."""
    return E(
        "disk",
        _driver(disk),
        _source(disk, machine),
        E(
            "target",
            dev=disk.target,
            bus=disk.bus,
            tray=_unless(disk.tray, "closed"),
            removable=on_off(disk.removable or None),
        ),
        E("readonly") if disk.read_only else None,
        E("shareable") if disk.shareable else None,
        # Without sharing, the overlay needs the disk to be locked for this machine alone, and an image serves many.
        E("transient", shareBacking="yes") if disk.transient else None,
        disk.serial and E("serial", disk.serial),
        disk.boot_order and E("boot", order=disk.boot_order),
        type="volume" if disk.volume else "file",
        device=disk.device,
    )


def _driver(disk: Disk) -> Element:
    return E(
        "driver",
        name="qemu",
        type=disk.format,
        cache=disk.cache,
        io=disk.io,
        copy_on_read=on_off(disk.copy_on_read or None),
        discard=disk.discard,
    )


def _source(disk: Disk, machine: str) -> Element | None:
    return maybe(
        "source",
        # libvirt refuses to start a disk whose label names no security model, and DAC is the one that every host has.
        E("seclabel", model="dac", relabel=False) if disk.relabel is False else None,
        encryption(disk.encryption),
        file=link(disk.overlays, machine, disk.target or "", disk.file) if disk.overlays and disk.file else disk.file,
        pool=disk.pool,
        volume=disk.volume,
        startupPolicy=disk.startup_policy,
    )


def interface(card: Interface) -> Element:
    """One network card, as `virDomainAttachDevice` takes it too."""
    return E(
        "interface",
        card.mac and E("mac", address=card.mac),
        E("source", network=card.network, bridge=card.bridge, portgroup=card.port_group),
        vlan(card.vlan),
        card.port_id and E("virtualport", E("parameters", interfaceid=card.port_id), type="openvswitch"),
        bandwidth(card.bandwidth) if card.bandwidth else None,
        maybe("target", dev=card.tap),
        E("model", type=card.model),
        maybe("driver", queues=card.queues),
        card.filter and E("filterref", _parameters(card), filter=card.filter),
        E("link", state="down") if card.link == "down" else None,
        card.mtu and E("mtu", size=card.mtu),
        card.boot_order and E("boot", order=card.boot_order),
        None if card.boot_rom else E("rom", enabled=False),
        type="network" if card.network else "bridge",
    )


def _parameters(card: Interface) -> list[Element]:
    given = (card.filter_parameters or {}).items()
    return [E("parameter", name=name, value=value) for name, values in given for value in values.split(",")]


def _serial(domain: Domain) -> Element:
    log = domain.serial.log if domain.serial else None
    # The console that libvirt adds to the first serial port is a copy of it: nothing to write.
    return E("serial", log and E("log", file=log, append="on"), type="pty")


def graphics(console: Graphics) -> Element:
    """One remote console. Its password is a reference, `secret:NAME`."""
    fixed = console.port is not None or console.tls_port is not None
    return E(
        "graphics",
        E("listen", type="address", address=console.listen),
        (E("channel", name=name, mode=mode) for name, mode in sorted((console.channels or {}).items())),
        maybe("image", compression=console.image_compression),
        maybe("jpeg", compression=console.jpeg_compression),
        maybe("zlib", compression=console.zlib_compression),
        maybe("playback", compression=on_off(console.playback_compression)),
        maybe("streaming", mode=console.streaming),
        maybe("filetransfer", enable=console.file_transfer),
        type=console.type,
        port=console.port,
        tlsPort=console.tls_port,
        autoport=not fixed,
        keymap=console.keymap,
        passwd=console.password and f"{SECRET}{console.password}",
        passwdValidTo=console.password_valid_to,
        connected="keep" if console.keep_connections else None,
        sharePolicy=console.share_policy,
        defaultMode=_unless(console.default_mode, "any"),
    )


def _balloon(domain: Domain) -> Element:
    # Silence would not do: libvirt adds a balloon to a machine that has none.
    stats = maybe("stats", period=domain.balloon_period)
    return E("memballoon", stats, model="virtio" if domain.balloon else "none")


def _unless(value: str, usual: str) -> str | None:
    return None if value == usual else value


# --- what libvirt chose, and where it may stay -------------------------------------------------------------------------


def card_model(domain: Domain) -> Any:
    """The card of a guest that has a driver for it (DOMX-07)."""
    if domain.guest != "windows":
        return "virtio"
    return "e1000" if family(domain.machine) == "pc" else "e1000e"


def is_live(element: Element) -> bool:
    """Whether the element belongs to the XML of a running domain: only that has a number."""
    return _top(element).get("id") is not None


def _top(element: Element) -> Element:
    # Not the root of its tree: an element that lxml made for another's document believes in the other's root.
    while (above := element.getparent()) is not None:
        element = above
    return element


def _live(observed: Element, declared: Element) -> bool:
    return is_live(observed)


def board(element: Element) -> str:
    """The family of the board that the element is plugged into, `q35`; empty when it stands alone."""
    machine = _top(element).find("os/type")
    return "" if machine is None else family(machine.get("machine", ""))


def family(machine: str) -> str:
    """`q35` of `pc-q35-7.2`, `pc` of `pc-i440fx-7.2`, `virt` of `virt-7.2`."""
    if machine.startswith("pc-i440fx"):
        return "pc"
    return machine.removeprefix("pc-").split("-")[0]


def same_board(observed: Element, declared: Element) -> bool:
    """Controllers and addresses of one board mean nothing on another."""
    wanted = board(declared)
    return not wanted or wanted == board(observed)


# Where a device is plugged in depends on these: another bus, another place.
PLACED_BY = {"disk": ("target", "bus"), "interface": ("model", "type"), "video": ("model", "type")}


def _in_place(address: Element, declared: Element) -> bool:
    device = address.getparent()
    if device is None or not same_board(address, declared):
        return False
    tag, attribute = PLACED_BY.get(str(device.tag), ("", ""))
    return not tag or absent(device.find(tag), attribute) == absent(declared.find(tag), attribute)


def _cache_of_shared(driver: Element, declared: Element) -> bool:
    # libvirt starts a disk that several machines write without the host's cache, and says so only in the live XML.
    return is_live(driver) and driver.get("cache") == "none" and driver.find("../shareable") is not None


def _same_source(backing: Element, declared: Element) -> bool:
    before, after = backing.find("../source"), declared.find("source")
    names = ("file", "pool", "volume", "dev")
    return before is not None and after is not None and all(before.get(name) == after.get(name) for name in names)


def _same_type(observed: Element, declared: Element) -> bool:
    return observed.get("type") == declared.get("type")


def _rounded(declared: str, observed: str) -> bool:
    # libvirt gives a video card its memory in powers of two.
    return declared.isdigit() and observed == str(1 << max(int(declared) - 1, 0).bit_length())


def _of_network(source: Element, declared: Element) -> bool:
    # The bridge of the network it is plugged into, in the live XML.
    return source.get("network") is not None and declared.get("network") is not None


def _always_there(device: Element, declared: Element) -> bool:
    return device.get("type") in ("mouse", "keyboard")


# --- spellings -----------------------------------------------------------------------------------------------------------


def _tidy_disk(disk: Element) -> None:
    source, driver = disk.find("source"), disk.find("driver")
    if source is not None and driver is not None and disk.find("transient") is not None:
        _see_through_overlay(disk, source, driver)
    names = [] if source is None else [name for name in source.attrib if name not in ("index", "startupPolicy")]
    if driver is not None and not names:
        # libvirt gives a format to a drive without a medium, and takes it away while the machine runs.
        driver.attrib.pop("type", None)


def _see_through_overlay(disk: Element, source: Element, driver: Element) -> None:
    """While it runs, a transient disk's source is an overlay; what was declared is the overlay's backing."""
    backing = disk.find("backingStore")
    below = None if backing is None else backing.find("source")
    if backing is None or below is None or SUFFIX not in source.get("file", ""):
        return
    policy = source.get("startupPolicy")
    disk.replace(source, below)
    if policy is not None:
        below.set("startupPolicy", policy)
    disk.set("type", backing.get("type", "file"))
    driver.set("type", absent(backing.find("format"), "type") or "raw")
    disk.remove(backing)


def _tidy_interface(interface: Element) -> None:
    """While it runs, a card on a bridged network has the type of what it is plugged into, and says where."""
    source = interface.find("source")
    if source is not None and source.get("network") is not None:
        interface.set("type", "network")
        for name in ("dev", "mode"):
            source.attrib.pop(name, None)


def _tidy_graphics(graphics: Element) -> None:
    if graphics.get("autoport") == "yes" or graphics.get("port") == "-1":
        for name in ("port", "tlsPort"):
            graphics.attrib.pop(name, None)
    # libvirt writes the address twice; the attribute is from before there could be several.
    listen = graphics.attrib.pop("listen", None)
    if listen is not None and graphics.find("listen") is None:
        graphics.append(E("listen", type="address", address=listen))


def _tidy_controller(controller: Element) -> None:
    if controller.get("index") is None:
        controller.set("index", "0")


ALIAS = shape("alias", whole=True, computed=True)
ADDRESS = shape("address", whole=True, computed=_in_place, quiet=True)
PLACE = (ALIAS, ADDRESS)
BOOT = shape("boot", Attr("order", field="boot_order"), field=".")

DISK = shape(
    "disk",
    Attr("type"),
    Attr("device", default="disk"),
    shape(
        "driver",
        Attr("name", default="qemu"),
        Attr("type", field="format"),
        Attr("cache", default="default", computed=_cache_of_shared),
        Attr("io"),
        Attr("copy_on_read", default="off"),
        Attr("discard"),
        field=".",
    ),
    shape(
        "source",
        Attr("file"),
        Attr("pool"),
        Attr("volume"),
        Attr("startupPolicy", field="startup_policy"),
        Attr("index", computed=True),
        shape("seclabel", Attr("model"), Attr("relabel"), key="@model", computed=_live),
        shape("encryption", Attr("format"), Attr("engine", computed=True), shape("secret", whole=True)),
        field=".",
    ),
    shape("backingStore", whole=True, computed=_same_source),
    shape("mirror", whole=True, computed=True),
    shape(
        "target",
        Attr("dev", field="target"),
        Attr("bus"),
        Attr("tray", default="closed"),
        Attr("removable", default="off"),
        field=".",
    ),
    shape("readonly", flag=True, field="read_only"),
    shape("shareable", flag=True),
    shape("transient", Attr("shareBacking", default="no"), flag=True),
    shape("serial"),
    BOOT,
    *PLACE,
    key="target/@dev",
    field="disks",
    tidy=_tidy_disk,
)

INTERFACE = shape(
    "interface",
    Attr("type"),
    shape("mac", Attr("address", field="mac", canon=lower), computed=True, field="."),
    shape(
        "source",
        Attr("network"),
        Attr("bridge", computed=_of_network),
        Attr("portgroup", field="port_group"),
        Attr("portid", computed=True),
        field=".",
    ),
    # While it runs, what its port group and network said for it.
    replace(VLAN, computed=_live),
    shape(
        "virtualport",
        Attr("type"),
        shape("parameters", Attr("interfaceid", field="port_id", canon=lower), computed=_live, field="."),
        computed=_live,
        field=".",
    ),
    BANDWIDTH,
    # libvirt names the tap device while the machine runs, vnetN.
    shape("target", Attr("dev", field="tap"), computed=_live, field="."),
    shape("model", Attr("type", field="model"), field="."),
    shape("driver", Attr("queues"), Attr("name", computed=True), field="."),
    shape(
        "filterref",
        Attr("filter"),
        shape("parameter", Attr("name"), Attr("value"), key=("@name", "@value"), field="filter_parameters"),
        field=".",
    ),
    shape("link", Attr("state", field="link", default="up"), field="."),
    shape("mtu", Attr("size", field="mtu"), computed=_live, field="."),  # of the network, while the machine runs
    BOOT,
    shape("rom", Attr("enabled", field="boot_rom", default="yes"), field="."),
    *PLACE,
    key="mac/@address",
    alike=("source/@network|source/@bridge",),
    field="interfaces",
    tidy=_tidy_interface,
)

PORT = (
    Attr("type"),
    Attr("tty", computed=True),
    shape("source", computed=_live, whole=True),
    shape("log", Attr("file", field="log"), Attr("append", default="off"), field="."),
    shape(
        "target",
        Attr("type", computed=True),
        Attr("name"),
        Attr("port", computed=True),
        Attr("state", computed=True),
        shape("model", whole=True, computed=True),
        computed=True,
    ),
    *PLACE,
)

GRAPHICS = shape(
    "graphics",
    Attr("type"),
    Attr("port"),
    Attr("tlsPort", field="tls_port"),
    Attr("autoport", default="no"),
    Attr("keymap"),
    Attr("passwd", field="password", secret=True),
    Attr("passwdValidTo", field="password_valid_to"),
    Attr("connected", field="keep_connections"),
    Attr("sharePolicy", field="share_policy"),
    Attr("defaultMode", field="default_mode", default="any"),
    # Its type is said even where it is the default: the schema that a definition is checked with requires it.
    shape("listen", Attr("type"), Attr("address", field="listen"), field="."),
    shape("channel", Attr("name"), Attr("mode"), key="@name", field="channels"),
    *(
        shape(tag, Attr("compression", field=f"{tag}_compression"), field=".")
        for tag in ("image", "jpeg", "zlib", "playback")
    ),
    shape("streaming", Attr("mode", field="streaming"), field="."),
    shape("filetransfer", Attr("enable", field="file_transfer"), field="."),
    key="@type",
    field="graphics",
    tidy=_tidy_graphics,
)

# What libvirt adds to a model of video card goes with the model.
VIDEO = shape(
    "video",
    shape(
        "model",
        Attr("type", field="."),
        *(Attr(name, computed=_same_type, settles=_rounded) for name in ("ram", "vram", "vram64", "vgamem")),
        *(Attr(name, computed=_same_type) for name in ("heads", "primary", "blob", "edid")),
        field=".",
    ),
    *PLACE,
    key=INDEX,
)

SHAPE: Shape = shape(
    "devices",
    shape("emulator", computed=same_board, quiet=True),
    DISK,
    shape(
        "controller",
        *(Attr(name, computed=True) for name in ("type", "index", "model")),
        *(shape(tag, whole=True, computed=True) for tag in ("model", "target")),
        *PLACE,
        key=("@type", "@index"),
        computed=same_board,
        quiet=True,
        field="controllers",
        tidy=_tidy_controller,
    ),
    INTERFACE,
    shape("serial", *PORT, key=INDEX),
    shape("console", *PORT, key=INDEX, computed=True),
    shape("channel", *PORT, key="target/@name", field="channels"),
    # Every x86 board has a mouse and a keyboard; libvirt lists them.
    shape("input", Attr("type"), Attr("bus"), *PLACE, key=("@type", "@bus"), computed=_always_there, field="inputs"),
    GRAPHICS,
    shape("audio", Attr("id"), Attr("type", computed=True), key="@id", computed=True),
    VIDEO,
    shape(
        "memballoon", Attr("model"), shape("stats", Attr("period", field="_period"), field="."), *PLACE, field="balloon"
    ),
    shape("rng", Attr("model"), shape("backend", Attr("model"), text=True), *PLACE, key=INDEX),
    *hardware.rows(PLACE),
    field=".",
)


# --- reading back ------------------------------------------------------------------------------------------------------


def parse(devices: Element) -> dict[str, Any]:
    """The fields of a `Domain` that its devices give."""
    inputs = {held.get("type") for held in devices.iterfind("input")}
    balloon, serial = devices.find("memballoon"), devices.find("serial")
    channels = {absent(held.find("target"), "name") for held in devices.iterfind("channel")}
    return pruned(
        disks=[_read_disk(held) for held in devices.iterfind("disk")],
        interfaces=[_read_interface(held) for held in devices.iterfind("interface")],
        graphics=[_read_graphics(held) for held in devices.iterfind("graphics")],
        video=absent(devices.find("video/model"), "type"),
        tablet="tablet" in inputs or None,
        serial=None if serial is None else pruned(log=absent(serial.find("log"), "file")),
        rng=devices.find("rng") is not None,
        balloon=balloon is not None and balloon.get("model") != "none",
        balloon_period=None if balloon is None else _number(balloon.find("stats"), "period"),
        agent=AGENT in channels or None,
        **hardware.read_devices(devices),
    )


def _read_disk(disk: Element) -> dict[str, Any]:
    driver, source, target = disk.find("driver"), disk.find("source"), disk.find("target")
    overlays, file = split(absent(source, "file") or "")
    return pruned(
        target=absent(target, "dev"),
        device=disk.get("device"),
        bus=absent(target, "bus"),
        pool=absent(source, "pool"),
        volume=absent(source, "volume"),
        file=file or None,
        overlays=overlays,
        format=absent(driver, "type"),
        cache=absent(driver, "cache"),
        io=absent(driver, "io"),
        discard=absent(driver, "discard"),
        copy_on_read=flag(absent(driver, "copy_on_read")),
        read_only=True if disk.find("readonly") is not None else None,
        transient=True if disk.find("transient") is not None else None,
        shareable=True if disk.find("shareable") is not None else None,
        removable=flag(absent(target, "removable")),
        tray=absent(target, "tray"),
        startup_policy=absent(source, "startupPolicy"),
        encryption=read_encryption(disk.find("source/encryption")),
        relabel=flag(absent(disk.find("source/seclabel"), "relabel")),
        serial=disk.findtext("serial"),
        boot_order=_number(disk.find("boot"), "order"),
    )


def _read_interface(card: Element) -> dict[str, Any]:
    source, filtered = card.find("source"), card.find("filterref")
    network = absent(source, "network")
    return pruned(
        network=network,
        bridge=None if network else absent(source, "bridge"),
        port_group=absent(source, "portgroup"),
        mac=absent(card.find("mac"), "address"),
        tap=absent(card.find("target"), "dev"),
        filter=absent(filtered, "filter"),
        filter_parameters=_by_name(filtered, "parameter", "value"),
        model=absent(card.find("model"), "type"),
        queues=_number(card.find("driver"), "queues"),
        link=absent(card.find("link"), "state"),
        mtu=_number(card.find("mtu"), "size"),
        bandwidth=read_bandwidth(card.find("bandwidth")),
        vlan=read_vlan(card.find("vlan")),
        port_id=absent(card.find("virtualport/parameters"), "interfaceid"),
        boot_order=_number(card.find("boot"), "order"),
        boot_rom=flag(absent(card.find("rom"), "enabled")),
    )


def _read_graphics(console: Element) -> dict[str, Any]:
    password = console.get("passwd", "")
    return pruned(
        type=console.get("type"),
        port=_number(console, "port"),
        tls_port=_number(console, "tlsPort"),
        listen=absent(console.find("listen"), "address"),
        password=password.removeprefix(SECRET) if password.startswith(SECRET) else None,
        password_valid_to=console.get("passwdValidTo"),
        keep_connections=True if console.get("connected") == "keep" else None,
        share_policy=console.get("sharePolicy"),
        keymap=console.get("keymap"),
        default_mode=console.get("defaultMode"),
        channels=_by_name(console, "channel", "mode"),
        image_compression=absent(console.find("image"), "compression"),
        jpeg_compression=absent(console.find("jpeg"), "compression"),
        zlib_compression=absent(console.find("zlib"), "compression"),
        playback_compression=flag(absent(console.find("playback"), "compression")),
        streaming=absent(console.find("streaming"), "mode"),
        file_transfer=flag(absent(console.find("filetransfer"), "enable")),
    )


def _by_name(element: Element | None, tag: str, value: str) -> dict[str, str] | None:
    held = [] if element is None else element.iterfind(tag)
    found: dict[str, str] = {}
    for child in held:
        name, one = child.get("name", ""), child.get(value, "")
        found[name] = f"{found[name]},{one}" if name in found else one
    return found or None


def _number(element: Element | None, name: str) -> int | None:
    value = None if element is None else element.get(name)
    return None if value is None else int(value)
