# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of a domain: how they are written, read back, and compared; see https://libvirt.org/formatdomain.html#devices.

Names and buses that a declaration leaves open are settled before anything is written here: see `xml/domain.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..model.domain import Disk, Domain, Interface
from ..model.graphics import Graphics
from ..model.overlay import layered, link, split
from . import hardware
from .build import E, maybe, on_off
from .common import BOOT, absent, boot, flag, lower, number, pruned
from .device_habits import (
    PLACES,
    always_there,
    cache_of_shared,
    in_place,
    live,
    of_network,
    rounded,
    same_board,
    same_source,
    same_type,
    tidy_controller,
    tidy_disk,
    tidy_graphics,
    tidy_interface,
)
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
        domain.scsi_model and E("controller", type="scsi", index=0, model=domain.scsi_model),
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
        boot(disk.boot_order),
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
        boot(card.boot_order),
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


ALIAS = shape("alias", whole=True, computed=True)
ADDRESS = shape("address", whole=True, computed=in_place, quiet=True)
PLACE = (ALIAS, ADDRESS)

DISK = shape(
    "disk",
    Attr("type"),
    Attr("device", default="disk"),
    shape(
        "driver",
        Attr("name", default="qemu"),
        Attr("type", field="format"),
        Attr("cache", default="default", computed=cache_of_shared),
        Attr("io"),
        Attr("copy_on_read", default="off"),
        Attr("discard"),
        field=".",
    ),
    shape(
        "source",
        *(Attr(name) for name in PLACES),
        shape("host", whole=True, key=INDEX),
        shape("auth", whole=True),
        Attr("startupPolicy", field="startup_policy"),
        Attr("index", computed=True),
        shape("seclabel", Attr("model"), Attr("relabel"), key="@model", computed=live),
        shape("encryption", Attr("format"), Attr("engine", computed=True), shape("secret", whole=True)),
        field=".",
    ),
    shape("backingStore", whole=True, computed=same_source),
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
    tidy=tidy_disk,
)

INTERFACE = shape(
    "interface",
    Attr("type"),
    shape("mac", Attr("address", field="mac", canon=lower), computed=True, field="."),
    shape(
        "source",
        Attr("network"),
        Attr("bridge", computed=of_network),
        Attr("portgroup", field="port_group"),
        Attr("portid", computed=True),
        field=".",
    ),
    # While it runs, what its port group and network said for it.
    replace(VLAN, computed=live),
    shape(
        "virtualport",
        Attr("type"),
        shape("parameters", Attr("interfaceid", field="port_id", canon=lower), computed=live, field="."),
        computed=live,
        field=".",
    ),
    BANDWIDTH,
    # libvirt names the tap device while the machine runs, vnetN.
    shape("target", Attr("dev", field="tap"), computed=live, field="."),
    shape("model", Attr("type", field="model"), field="."),
    shape("driver", Attr("queues"), Attr("name", computed=True), field="."),
    shape(
        "filterref",
        Attr("filter"),
        shape("parameter", Attr("name"), Attr("value"), key=("@name", "@value"), field="filter_parameters"),
        field=".",
    ),
    shape("link", Attr("state", field="link", default="up"), field="."),
    shape("mtu", Attr("size", field="mtu"), computed=live, field="."),  # of the network, while the machine runs
    BOOT,
    shape("rom", Attr("enabled", field="boot_rom", default="yes"), field="."),
    *PLACE,
    key="mac/@address",
    alike=("source/@network|source/@bridge",),
    field="interfaces",
    tidy=tidy_interface,
)

PORT = (
    Attr("type"),
    Attr("tty", computed=True),
    shape("source", computed=live, whole=True),
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
    tidy=tidy_graphics,
)

# What libvirt adds to a model of video card goes with the model.
VIDEO = shape(
    "video",
    shape(
        "model",
        Attr("type", field="."),
        *(Attr(name, computed=same_type, settles=rounded) for name in ("ram", "vram", "vram64", "vgamem")),
        *(Attr(name, computed=same_type) for name in ("heads", "primary", "blob", "edid")),
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
        tidy=tidy_controller,
    ),
    INTERFACE,
    shape("serial", *PORT, key=INDEX),
    shape("console", *PORT, key=INDEX, computed=True),
    shape("channel", *PORT, key="target/@name", field="channels"),
    # Every x86 board has a mouse and a keyboard; libvirt lists them.
    shape("input", Attr("type"), Attr("bus"), *PLACE, key=("@type", "@bus"), computed=always_there, field="inputs"),
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
        scsi_model=absent(devices.find("controller[@type='scsi'][@index='0']"), "model"),
        interfaces=[_read_interface(held) for held in devices.iterfind("interface")],
        graphics=[_read_graphics(held) for held in devices.iterfind("graphics")],
        video=absent(devices.find("video/model"), "type"),
        tablet="tablet" in inputs or None,
        serial=None if serial is None else pruned(log=absent(serial.find("log"), "file")),
        rng=devices.find("rng") is not None,
        balloon=balloon is not None and balloon.get("model") != "none",
        balloon_period=None if balloon is None else number(balloon.find("stats"), "period"),
        agent=AGENT in channels or None,
        **hardware.read_devices(devices),
    )


def _read_disk(disk: Element) -> dict[str, Any]:
    driver, source, target = disk.find("driver"), disk.find("source"), disk.find("target")
    named = absent(source, "file") or ""
    overlays, file = split(named if (layer := layered(named)) is None else layer.file)
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
        boot_order=number(disk.find("boot"), "order"),
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
        queues=number(card.find("driver"), "queues"),
        link=absent(card.find("link"), "state"),
        mtu=number(card.find("mtu"), "size"),
        bandwidth=read_bandwidth(card.find("bandwidth")),
        vlan=read_vlan(card.find("vlan")),
        port_id=absent(card.find("virtualport/parameters"), "interfaceid"),
        boot_order=number(card.find("boot"), "order"),
        boot_rom=flag(absent(card.find("rom"), "enabled")),
    )


def _read_graphics(console: Element) -> dict[str, Any]:
    password = console.get("passwd", "")
    return pruned(
        type=console.get("type"),
        port=number(console, "port"),
        tls_port=number(console, "tlsPort"),
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
