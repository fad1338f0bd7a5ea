# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains that a declaration may describe, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from dosvm.errors import DeclarationError
from dosvm.model.address import Mark
from dosvm.model.device import HostDevice, Share, Smbios, Watchdog
from dosvm.model.domain import Disk, Domain, Interface, Serial
from dosvm.model.graphics import Graphics
from dosvm.model.network import Bandwidth, Rate
from dosvm.model.processor import Cpu
from dosvm.model.types import AbsolutePath, Address, ByteSize, CpuSet, DeviceName, Mac, Name, PciAddress, UsbId, Uuid

names = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}", fullmatch=True).map(Name)
filters = st.from_regex(r"[a-zA-Z][a-zA-Z0-9._-]{0,20}", fullmatch=True).map(Name)
values = st.lists(st.from_regex(r"[a-zA-Z0-9_.:]{1,12}", fullmatch=True), min_size=1, max_size=3, unique=True).map(
    ",".join
)
taps = st.from_regex(r"tap[a-z0-9]{1,8}", fullmatch=True).map(DeviceName)
paths = st.from_regex(r"(/[a-zA-Z0-9_][a-zA-Z0-9_. +&<'-]{0,10}[a-z]){1,3}", fullmatch=True).map(AbsolutePath)
# One line, no control characters, no white space at its ends: what XML and libvirt carry unchanged.
texts = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
macs = st.integers(0, 2**40 - 1).map(
    lambda number: Mac(":".join(["52", *(f"{number >> shift & 255:02x}" for shift in range(32, -8, -8))]))
)

pcis = st.tuples(st.integers(0, 255), st.integers(0, 31), st.integers(0, 7)).map(
    lambda place: PciAddress("{:02x}:{:02x}.{}".format(*place))
)
usbs = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda held: UsbId("{:04x}:{:04x}".format(*held)))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


flags = st.booleans()


def numbers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def valid(kind: type, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Declarations of a kind; combinations that its own check refuses are thrown away."""

    def build(values: dict[str, Any]) -> Any:
        try:
            return kind(**values)
        except DeclarationError:
            return None

    return st.fixed_dictionaries(fields).map(build).filter(lambda made: made is not None)


sources = st.one_of(
    st.fixed_dictionaries({"pool": names, "volume": names}), st.fixed_dictionaries({"file": paths})
).flatmap(lambda source: st.sampled_from(["qcow2", "raw"]).map(lambda form: {**source, "format": form}))


@st.composite
def disks(draw: st.DrawFn, **fixed: Any) -> Disk:
    """A disk with a source, or a drive with or without a medium."""
    if draw(st.integers(0, 3)) == 0:
        medium = draw(st.sampled_from([{}, {"file": AbsolutePath("/srv/a.iso"), "format": "raw"}]))
        return Disk(
            device="cdrom",
            bus=draw(st.sampled_from([None, "sata", "scsi", "usb"])),
            tray=draw(st.sampled_from(["open", "closed"])),
            **medium,
            **fixed,
        )
    bus = draw(st.sampled_from([None, "virtio", "sata", "scsi", "usb"]))
    source = draw(sources)
    ways: list[dict[str, bool]] = [{}]
    ways += [{"read_only": True}] if bus != "sata" else []
    ways += (
        [{"transient": True}, {"transient": True, "overlays": "/var/overlays"}]
        if "file" in source and bus != "sata"
        else []
    )
    ways += [{"shareable": True}] if source["format"] == "raw" else []
    writable = draw(st.sampled_from(ways))
    return Disk(
        bus=bus,
        cache=draw(st.sampled_from([None, "default", "none", "unsafe", "writeback", "writethrough"])),
        discard=draw(st.sampled_from([None, "unmap", "ignore"])),
        removable=bus == "usb" and draw(flags),
        startup_policy=draw(maybe(st.sampled_from(["mandatory", "optional"]))),
        relabel=draw(maybe(flags)),
        serial=draw(maybe(st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True))),
        copy_on_read=not writable and draw(flags),
        **source,
        **writable,
        **fixed,
    )


rates = st.builds(Rate, average=numbers(1, 10**6), peak=maybe(numbers(1, 10**6)), burst=maybe(numbers(1, 10**6)))
bandwidths = valid(Bandwidth, inbound=maybe(rates), outbound=maybe(rates)).filter(
    lambda limits: limits.inbound or limits.outbound
)


@st.composite
def interfaces(draw: st.DrawFn, **fixed: Any) -> Interface:
    """A card on a network or a bridge."""
    plug = draw(st.sampled_from(["network", "bridge"]))
    filtered = draw(maybe(filters))
    return Interface(
        network=draw(names) if plug == "network" else None,
        bridge=draw(taps) if plug == "bridge" else None,
        port_group=draw(maybe(names)) if plug == "network" else None,
        tap=draw(maybe(taps)),
        filter=filtered,
        filter_parameters=draw(maybe(st.dictionaries(st.sampled_from(["IP", "MAC", "PORT"]), values)))
        if filtered
        else None,
        model=draw(st.sampled_from([None, "virtio", "e1000", "e1000e", "rtl8139"])),
        link=draw(st.sampled_from(["up", "down"])),
        mtu=draw(maybe(numbers(68, 9000))),
        bandwidth=draw(maybe(bandwidths)),
        boot_rom=draw(flags),
        **fixed,
    )


vnc = valid(
    Graphics,
    type=st.just("vnc"),
    port=maybe(numbers(5900, 65535)),
    listen=st.sampled_from(["0.0.0.0", "127.0.0.1", "::1"]).map(Address),
    # With its `secret:` it must fit into the eight characters that libvirt allows.
    password=maybe(st.just(Name("p"))),
    password_valid_to=maybe(st.just("2030-01-01T00:00:00")),
    keep_connections=flags,
    share_policy=maybe(st.sampled_from(["allow-exclusive", "force-shared", "ignore"])),
    keymap=maybe(st.sampled_from(["en-us", "de"])),
)
spice = valid(
    Graphics,
    type=st.just("spice"),
    port=maybe(numbers(5900, 65535)),
    default_mode=st.sampled_from(["any", "insecure"]),
    channels=maybe(st.dictionaries(st.sampled_from(["main", "display"]), st.sampled_from(["any", "insecure"]))),
    image_compression=maybe(st.sampled_from(["auto_glz", "off"])),
    jpeg_compression=maybe(st.sampled_from(["auto", "never"])),
    zlib_compression=maybe(st.sampled_from(["auto", "never"])),
    playback_compression=maybe(flags),
    streaming=maybe(st.sampled_from(["filter", "all", "off"])),
    file_transfer=maybe(flags),
)
consoles = (
    st.tuples(st.none() | vnc, st.none() | spice)
    .map(lambda pair: tuple(filter(None, pair)))
    .filter(lambda pair: len(pair) < 2 or pair[0].port is None or pair[0].port != pair[1].port)
)


@st.composite
def cpus(draw: st.DrawFn, vcpus: int) -> Cpu | None:
    """A processor whose topology multiplies to `vcpus`."""
    mode = draw(st.sampled_from([None, "host-model", "host-passthrough", "maximum", "custom"]))
    if mode is None:
        return None
    topology = {"sockets": vcpus, "cores": 1, "threads": 1} if draw(flags) else {}
    features = draw(st.sampled_from([None, {}, {"aes": "require"}])) if mode == "custom" else None
    return Cpu(mode=mode, model="qemu64" if mode == "custom" else None, features=features, **topology)


@st.composite
def domains(draw: st.DrawFn, virt_type: str | None = None) -> Domain:
    """A whole machine on the q35 board."""
    order, vcpus = iter(range(1, 11)), draw(numbers(1, 8))
    by_device, balloon = draw(flags), draw(flags)
    most, memory = draw(maybe(numbers(vcpus, 8))), ByteSize(draw(numbers(2**20, 2**33)))

    def fixed() -> dict[str, Any]:
        return {"boot_order": next(order)} if by_device and draw(flags) else {}

    firmware, graphics = draw(st.sampled_from(["bios", "uefi"])), draw(consoles)
    spice_only = any(console.type == "spice" for console in graphics)
    panic = draw(flags)
    kernel, menu = draw(maybe(paths)), draw(flags)
    addresses = draw(st.lists(macs, unique=True, max_size=3))
    given: list[dict[str, Any]] = [{"pci": place} for place in draw(st.lists(pcis, unique=True, max_size=2))]
    given += [{"usb": held} for held in draw(st.lists(usbs, max_size=1))]
    return Domain(
        name=draw(names),
        uuid=draw(maybe(st.uuids().map(lambda held: Uuid(str(held))))),
        title=draw(maybe(texts)),
        description=draw(maybe(texts)),
        virt_type=virt_type or draw(st.sampled_from(["kvm", "qemu"])),  # type: ignore[arg-type]  # hypothesis says str
        vcpus=vcpus,
        vcpus_max=most,
        memory=memory,
        memory_max=ByteSize(memory + draw(numbers(0, 2**33))) if balloon and draw(flags) else None,
        cpu=draw(cpus(most or vcpus)),
        firmware=firmware,
        secure_boot=draw(maybe(flags)) if firmware == "uefi" else None,
        guest=draw(st.sampled_from(["linux", "windows"])),
        hyperv=draw(maybe(flags)) if virt_type == "kvm" else None,
        cpuset=draw(st.sampled_from([None, CpuSet("0"), CpuSet("0-1")])),
        memory_locked=draw(flags),
        panic=panic,
        on_crash=draw(st.sampled_from(["destroy", "restart", "preserve"])) if panic else "destroy",
        on_reboot=draw(st.sampled_from(["restart", "destroy"])),
        watchdog=draw(maybe(st.builds(Watchdog, action=st.sampled_from(["reset", "poweroff", "none"])))),
        sound=draw(st.sampled_from([None, "ich9"])),
        smbios=draw(maybe(st.builds(Smbios, manufacturer=texts, serial=texts, family=maybe(texts)))),
        shares=tuple(draw(st.sampled_from([[], [Share(path=AbsolutePath("/srv"), tag="data")]]))),
        spice_agent=spice_only and draw(flags),
        host_devices=tuple(HostDevice(**held, **fixed()) for held in given),
        usb_redirection=draw(numbers(0, 2)) if spice_only else 0,
        boot=() if by_device else tuple(draw(st.lists(st.sampled_from(["hd", "cdrom", "network"]), unique=True))),
        boot_menu=menu,
        boot_menu_timeout=draw(maybe(numbers(1, 65535))) if menu else None,
        bios_serial=draw(flags),
        reboot_timeout=draw(st.just(-1) | numbers(1, 32767)),
        kernel=kernel,
        initrd=draw(maybe(paths)) if kernel else None,
        cmdline=draw(maybe(texts)) if kernel else None,
        clock=draw(st.sampled_from([None, "utc", "localtime"])),
        disks=tuple(draw(disks(**fixed())) for _ in range(draw(numbers(0, 4)))),
        interfaces=tuple(draw(interfaces(mac=mac if draw(flags) else None, **fixed())) for mac in addresses),
        graphics=graphics,
        video=draw(maybe(st.sampled_from(["virtio", "vga", "qxl", "none"]))),
        scsi_model=draw(st.sampled_from([None, "virtio-scsi", "lsilogic"])),
        tablet=draw(maybe(flags)),
        serial=draw(maybe(st.builds(Serial, log=maybe(paths)))),
        rng=draw(flags),
        balloon=balloon,
        balloon_period=draw(maybe(numbers(1, 60))) if balloon else None,
        agent=draw(flags),
        mark=draw(maybe(st.builds(Mark, site=names, project=maybe(names), origin=maybe(texts)))),
    )
