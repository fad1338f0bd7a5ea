# SPDX-License-Identifier: GPL-3.0-or-later
"""The cable of a bridge of the kernel to a port of Open vSwitch: how the script of `bridges.py` lays it, and how it is.

See veth(4), ovs-vsctl(8), and the tables Port and Interface of ovs-vswitchd.conf.db(5). What libvirt tells Open vSwitch of a
tap that it plugs in itself is told of the port here, so nobody who reads the switch's database sees a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.bridge import ends
from ..xml.build import E
from ..xml.common import absent

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

NET = Path("/sys/class/net")
WAIT = 30  # seconds for the switch: at boot each bridge has a unit of its own, and one may come before the other
UP, PROMISCUOUS = 0x1, 0x100  # netdevice(7)
NATIVE = {"tagged": "native-tagged", "untagged": "native-untagged"}
MODES = {ours: word for word, ours in NATIVE.items()}


def start(bridge: Element) -> Iterator[str]:
    """Lines that lay the cable of a bridge that is there, or mend it."""
    port, name = bridge.find("port"), bridge.findtext("name") or ""
    if port is None:
        return
    here, there = ends(name)
    switch, mtu = str(port.get("switch")), absent(bridge.find("mtu"), "size")
    yield _without_ipv6(name)
    # Its device, since the database has it from before the host went down.
    yield f"waited=0; until there {switch}; do"
    yield f"  [ $waited -lt {WAIT} ] || {{ echo 'there is no Open vSwitch bridge {switch}' >&2; exit 1; }}"
    yield "  sleep 1; waited=$((waited + 1))"
    yield "done"
    yield f"if ! there {here} || ! there {there}; then"
    yield f"  ! there {here} || ip link del dev {here}"
    # A port of that name is from before a crash, and knows a device that is gone.
    yield f"  ovs-vsctl --timeout={WAIT} --if-exists del-port {there}"
    yield f"  ip link add name {here} type veth peer name {there}"
    yield "fi"
    yield f"mtu={mtu or f'$(cat /sys/class/net/{switch}/mtu)'}"
    for device in (there, here):
        yield _without_ipv6(device)
        yield f'ip link set dev {device} mtu "$mtu" promisc on up'
    yield f"ip link set dev {here} master {name}"
    yield f"case $(ovs-vsctl --timeout={WAIT} port-to-br {there} 2>/dev/null) in {switch}|'') ;; *) ovs-vsctl --timeout={WAIT} del-port {there};; esac"
    yield f"ovs-vsctl --timeout={WAIT} " + " -- ".join(_port(name, switch, there, port))
    # Its own process reads frames as they are in memory, where the kernel has not yet worked out the sums of packets.
    yield f'if [ "$(ovs-vsctl --timeout={WAIT} get bridge {switch} datapath_type)" = netdev ]; then'
    yield "  command -v ethtool >/dev/null || { echo 'datapath netdev needs ethtool on this host: install it' >&2; exit 1; }"
    yield f"  ethtool -K {here} tx off >/dev/null"
    yield "fi"


def _without_ipv6(device: str) -> str:
    # The host is no neighbour of the guest there.
    return f"echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/{device}/disable_ipv6 || true"


def _port(bridge: str, switch: str, there: str, port: Element) -> Iterator[str]:
    ids = {
        "iface-id": port.get("id"),
        "iface-status": "active",
        "attached-mac": port.get("mac"),
        "vm-uuid": port.get("machine"),
        "vm-id": port.get("machine"),
    }
    told = " ".join(f'external_ids:{name}=\\"{value}\\"' for name, value in ids.items() if value)
    yield f"--may-exist add-port {switch} {there}"
    yield f"set port {there} external_ids:dos-vm={bridge} {' '.join(_vlans(port.find('vlan')))}"
    yield f"clear interface {there} external_ids"
    yield f"set interface {there} {told}"


def _vlans(vlan: Element | None) -> Iterator[str]:
    tags = [] if vlan is None else list(vlan.iterfind("tag"))
    trunk = vlan is not None and vlan.get("trunk") == "yes"
    native = next((tag for tag in tags if tag.get("nativeMode")), None)
    access = native if trunk else next(iter(tags), None)
    yield f"tag={'[]' if access is None else access.get('id')}"
    yield f"trunks={','.join(str(tag.get('id')) for tag in tags) if trunk else '[]'}"
    yield f"vlan_mode={'[]' if native is None else NATIVE[str(native.get('nativeMode'))]}"


def stop(bridge: Element) -> Iterator[str]:
    """Lines that take the cable away."""
    if bridge.find("port") is not None:
        here, there = ends(bridge.findtext("name") or "")
        yield f"ovs-vsctl --timeout={WAIT} --if-exists del-port {there}"
        yield f"! there {here} || ip link del dev {here}"


def state(bridge: str, switches: Mapping[str, dict[str, Any]]) -> Element | None:
    """The port as it is, in the form of its definition; nothing of one that carries nothing, whatever it lacks."""
    here, there = ends(bridge)
    found = next(((name, held["ports"][there]) for name, held in switches.items() if there in held["ports"]), None)
    if found is None or not (NET / bridge / "brif" / here).exists() or not (_listens(here) and _listens(there)):
        return None
    switch, port = found
    ids = port["ids"]
    vlan, known = _vlan(port)
    if ids.get("iface-status") != "active" or not known:
        return None
    return E(
        "port",
        vlan,
        switch=switch,
        id=ids.get("iface-id"),
        mac=ids.get("attached-mac"),
        machine=ids.get("vm-uuid"),
    )


def _listens(device: str) -> bool:
    try:
        flags = int((NET / device / "flags").read_text(), 16)
    except OSError:
        return False  # there is none
    return flags & UP != 0 and flags & PROMISCUOUS != 0


def _vlan(port: Mapping[str, Any]) -> tuple[Element | None, bool]:
    """The VLANs of a port, and whether there are words for them: it may be in a mode that we never put it in."""
    tag, trunks, mode = port["tag"], port["trunks"], port["mode"]
    if not trunks:
        access = None if tag is None else E("vlan", E("tag", id=tag))
        return access, mode in (None, "access")
    native = MODES.get(mode or "")
    tags = (E("tag", id=held, nativeMode=native if held == tag else None) for held in trunks)
    return E("vlan", tags, trunk=True), (mode in MODES and tag in trunks) or (mode in (None, "trunk") and tag is None)
