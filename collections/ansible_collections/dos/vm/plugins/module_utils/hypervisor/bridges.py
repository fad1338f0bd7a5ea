# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridges of the kernel and of Open vSwitch: the script that makes one, and how one is that is up.

See ip-link(8), bridge(8), ovs-vsctl(8). A tunnel is one device of the kernel that floods to all peers, or one port of Open
vSwitch for each peer, protected from each other: in a full mesh what came out of a tunnel must not enter another.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HypervisorError
from ..model.bridge import ends
from ..xml.build import E, on_off
from ..xml.common import absent
from . import kept, switch_ports
from .kept import ENVIRONMENT, Keeper, State

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

NET = Path("/sys/class/net")
NOTES = Path("/run/dos-vm/bridges")  # which ports of a bridge are ours, until the host goes down
SHORTEST_DELAY = 2  # seconds: the kernel's, where there is a spanning tree
SHORTEST_OVS_DELAY = 4
FLOOD = "00:00:00:00:00:00"  # where a tunnel sends what it knows no place for

HEAD = """\
#!/bin/sh
# Made by dos.vm for bridge {name}; what is written here is lost.
set -e
there() {{ ip link show dev "$1" >/dev/null 2>&1; }}
# The addresses of an interface, and the routes over it, go to another: nobody answers for an interface that is a port.
move() {{
  addresses=$(ip -o address show dev "$1" scope global | awk '{{ print $4 }}')
  [ -n "$addresses" ] || return 0
  routes=$(ip -4 route show dev "$1" | grep -v 'proto kernel' || true)
  routes6=$(ip -6 route show dev "$1" | grep -v -e 'proto kernel' -e 'proto ra' || true)
  for address in $addresses; do ip address del "$address" dev "$1"; ip address replace "$address" dev "$2"; done
  [ -z "$routes" ] || echo "$routes" | while read -r route; do ip -4 route replace $route dev "$2"; done
  [ -z "$routes6" ] || echo "$routes6" | while read -r route; do ip -6 route replace $route dev "$2"; done
}}
case "$1" in
start)
"""


def script(bridge: Element) -> Mapping[str, str]:
    """The one file beside a definition."""
    lines = _start_switch(bridge) if bridge.get("type") == "openvswitch" else _start_linux(bridge)
    stop = _stop_switch(bridge) if bridge.get("type") == "openvswitch" else _stop_linux(bridge)
    name = bridge.findtext("name") or ""
    start = "\n".join(f"  {line}" for line in lines)
    down = "\n".join(f"  {line}" for line in stop)
    return {"": f"{HEAD.format(name=name)}{start}\n  ;;\nstop)\n{down}\n  ;;\nesac\n"}


def _start_linux(bridge: Element) -> Iterator[str]:
    name, uplink, mtu = _said(bridge)
    spanning, delay = absent(bridge.find("stp"), "state") == "on", _delay(bridge)
    yield f"there {name} || ip link add name {name} type bridge"
    # Centiseconds; with a spanning tree the kernel refuses less than two seconds.
    yield f"ip link set dev {name} type bridge forward_delay {delay * 100} stp_state {int(spanning)}"
    if (multicast := bridge.find("multicast")) is not None:
        yield f"ip link set dev {name} type bridge mcast_snooping {int(multicast.get('snooping') == 'on')}"
    yield f"ip link set dev {name} up"
    wanted = [*([uplink] if uplink else []), *([tunnel] if (tunnel := _tunnel(bridge)) else [])]
    yield from _let_go(name, wanted)
    if mtu:
        yield f"ip link set dev {name} mtu {mtu}"
    yield from _start_tunnel(bridge)
    yield from switch_ports.start(bridge)
    if uplink:
        # It lends the bridge its address, which then stays whoever is plugged in.
        yield f"if [ ! -d /sys/class/net/{name}/brif/{uplink} ]; then"
        yield f'  ip link set dev {name} address "$(cat /sys/class/net/{uplink}/address)"'
        yield f"  ip link set dev {uplink} master {name}"
        yield "fi"
        yield f"ip link set dev {uplink} up"
        yield f"move {uplink} {name}"


def _let_go(name: str, wanted: list[str]) -> Iterator[str]:
    """Ports that are ours by our note and wanted no longer."""
    note = NOTES / f"{name}.ports"
    yield f"mkdir -p {NOTES}"
    yield f"for port in $(cat {note} 2>/dev/null); do"
    yield f'  case " {" ".join(wanted)} " in *" $port "*) ;; *)'
    yield f'    [ ! -d "/sys/class/net/{name}/brif/$port" ] || {{ move {name} "$port"; ip link set dev "$port" nomaster; }}'
    yield '    case "$port" in vx*) ip link del dev "$port" 2>/dev/null || true;; esac'
    yield "  ;; esac"
    yield "done"
    yield f'echo "{" ".join(wanted)}" >{note}'


def _start_tunnel(bridge: Element) -> Iterator[str]:
    held, tunnel, name = bridge.find("vxlan"), _tunnel(bridge), bridge.findtext("name")
    if held is None:
        return
    local = f" local {shlex.quote(str(held.get('local')))}" if held.get("local") else ""
    yield f"there {tunnel} || ip link add name {tunnel} type vxlan id {held.get('id')} dstport {held.get('port')}{local}"
    yield f"ip link set dev {tunnel} master {name} up"
    peers = [str(peer.get("address")) for peer in held.iterfind("peer")]
    yield f"wanted={shlex.quote(' ' + ' '.join(peers) + ' ')}"
    yield f"for peer in $(bridge fdb show dev {tunnel} | awk '/^{FLOOD} .*dst/ {{ for (i = 1; i < NF; i++) if ($i == \"dst\") print $(i + 1) }}'); do"
    yield f'  case "$wanted" in *" $peer "*) ;; *) bridge fdb del {FLOOD} dev {tunnel} dst "$peer" ;; esac'
    yield "done"
    for peer in peers:
        yield f"bridge fdb append {FLOOD} dev {tunnel} dst {shlex.quote(peer)} 2>/dev/null || true"


def _stop_linux(bridge: Element) -> Iterator[str]:
    name, uplink, _ = _said(bridge)
    yield from switch_ports.stop(bridge)
    yield from _back(name, uplink)
    if tunnel := _tunnel(bridge):
        yield f"ip link del dev {tunnel} 2>/dev/null || true"
    yield f"! there {name} || ip link del dev {name}"
    yield f"rm -f {NOTES / f'{name}.ports'}"


def _back(name: str, uplink: str | None) -> Iterator[str]:
    """What moved to the bridge goes back to where it came from, once that is no port any more."""
    if uplink:
        yield f"if there {name} && there {uplink}; then"
        yield f"  [ ! -d /sys/class/net/{name}/brif/{uplink} ] || ip link set dev {uplink} nomaster"
        yield f"  move {name} {uplink}"
        yield "fi"


def _start_switch(bridge: Element) -> Iterator[str]:
    name, uplink, mtu = _said(bridge)
    spanning, delay = absent(bridge.find("stp"), "state") == "on", _delay(bridge)
    settings = [f"datapath_type={bridge.get('datapath')}", f"stp_enable={str(spanning).lower()}"]
    settings += [f"other_config:stp-forward-delay={delay}"] if delay >= SHORTEST_OVS_DELAY else []
    wanted = [*([uplink] if uplink else []), *(port for port, _ in _switch_tunnels(bridge))]
    steps = [f"--may-exist add-br {name}", f"set bridge {name} {' '.join(settings)} external_ids:dos-vm=bridge"]
    for port, peer in _switch_tunnels(bridge):
        held = bridge.find("vxlan")
        assert held is not None
        options = (
            f"options:remote_ip={shlex.quote(peer)} options:key={held.get('id')} options:dst_port={held.get('port')}"
        )
        local = f" options:local_ip={shlex.quote(str(held.get('local')))}" if held.get("local") else ""
        steps.append(f"--may-exist add-port {name} {port}")
        steps.append(f"set interface {port} type=vxlan {options}{local}")
        steps.append(f"set port {port} protected=true external_ids:dos-vm={name}")
    if uplink:
        steps += [f"--may-exist add-port {name} {uplink}", f"set port {uplink} external_ids:dos-vm={name}"]
    if mtu:
        steps.append(f"set interface {name} mtu_request={mtu}")
    yield f"for port in $(ovs-vsctl --bare --columns=name find port external_ids:dos-vm={name}); do"
    yield f'  case " {" ".join(wanted)} " in *" $port "*) ;; *)'
    yield f'    ovs-vsctl --if-exists del-port {name} "$port"; case "$port" in vx*) ;; *) move {name} "$port";; esac'
    yield "  ;; esac"
    yield "done"
    yield "ovs-vsctl --timeout=30 " + " -- ".join(steps)
    yield f"ip link set dev {name} up"
    if uplink:
        yield f"ip link set dev {uplink} up"
        yield f"move {uplink} {name}"


def _stop_switch(bridge: Element) -> Iterator[str]:
    name, uplink, _ = _said(bridge)
    if uplink:
        yield f"ovs-vsctl --if-exists del-port {name} {uplink}"
        yield f"! there {name} || ! there {uplink} || move {name} {uplink}"
    yield f"ovs-vsctl --timeout=30 --if-exists del-br {name}"


def _said(bridge: Element) -> tuple[str, str | None, str | None]:
    return bridge.findtext("name") or "", absent(bridge.find("uplink"), "dev"), absent(bridge.find("mtu"), "size")


def _delay(bridge: Element) -> int:
    held = bridge.find("stp")
    said = int(absent(held, "delay") or 0)
    linux = bridge.get("type") == "linux" and absent(held, "state") == "on"
    return max(said, SHORTEST_DELAY) if linux else said


def _tunnel(bridge: Element) -> str | None:
    held = bridge.find("vxlan")
    return None if held is None else f"vx{held.get('id')}"


def _switch_tunnels(bridge: Element) -> Iterator[tuple[str, str]]:
    """A port name for each peer: short, and the same whoever else is a peer."""
    held = bridge.find("vxlan")
    for peer in () if held is None else held.iterfind("peer"):
        address = str(peer.get("address"))
        told = f"{bridge.findtext('name')}/{absent(held, 'id')}/{address}"
        yield f"vx{hashlib.sha256(told.encode()).hexdigest()[:11]}", address


# How they are


def states(definitions: Mapping[str, Element]) -> Mapping[str, State]:
    """Those of the bridges that are up."""
    found: dict[str, State] = {}
    switched = {
        name for name, held in definitions.items() if held.get("type") == "openvswitch" or held.find("port") is not None
    }
    switches = _switches() if switched else {}
    for name, definition in definitions.items():
        if (NET / name / "bridge").is_dir():
            found[name] = _linux_state(name, definition, switches)
        elif name in switches and (NET / name).is_dir():
            found[name] = _switch_state(name, definition, switches[name])
    return found


def _linux_state(name: str, definition: Element, switches: Mapping[str, dict[str, Any]]) -> State:
    ports = set(os.listdir(NET / name / "brif"))
    uplink, tunnel = absent(definition.find("uplink"), "dev"), _tunnel(definition)
    noted = _noted(name) & ports
    own = next((port for port in sorted(noted) if not port.startswith("vx")), None)
    tunnels = sorted(port for port in noted if port.startswith("vx"))
    spanning, delay = _number(name, "bridge/stp_state") != 0, _number(name, "bridge/forward_delay") // 100
    live = E(
        "bridge",
        E("name", name),
        (held := uplink if uplink in ports else own) and E("uplink", dev=held),
        _linux_tunnel(tunnels[0]) if tunnels else None,
        switch_ports.state(name, switches) if definition.find("port") is not None else None,
        _stp(definition, spanning, delay),
        E("multicast", snooping=on_off(_snoops(name))),
        E("mtu", size=_number(name, "mtu")),
        type="linux",
    )
    return State(live, {"plugged": str(len(ports - {uplink, tunnel, *ends(name)} - noted))})


def _snoops(name: str) -> bool:
    try:
        return _number(name, "bridge/multicast_snooping") != 0
    except FileNotFoundError:  # a kernel that cannot
        return False


def _noted(name: str) -> set[str]:
    """The ports that the script plugged in and wrote down."""
    try:
        return set((NOTES / f"{name}.ports").read_text().split())
    except FileNotFoundError:
        return set()


def _stp(definition: Element, spanning: bool, delay: int) -> Element:
    """Told as declared where that is what the kernel made of it."""
    said = absent(definition.find("stp"), "delay")
    same = spanning == (absent(definition.find("stp"), "state") == "on") and delay == _delay(definition)
    return E("stp", state="on" if spanning else "off", delay=said if same else delay)


def _linux_tunnel(device: str) -> Element:
    (link,) = json.loads(_output("ip", "-details", "-json", "link", "show", "dev", device))
    data = link["linkinfo"]["info_data"]
    entries = json.loads(_output("bridge", "-json", "fdb", "show", "dev", device))
    peers = sorted({entry["dst"] for entry in entries if entry["mac"] == FLOOD and "dst" in entry})
    local = data.get("local") or data.get("local6")
    return E("vxlan", (E("peer", address=peer) for peer in peers), id=data["id"], port=data["port"], local=local)


def _number(name: str, file: str) -> int:
    return int((NET / name / file).read_text())


def _switch_state(name: str, definition: Element, switch: dict[str, Any]) -> State:
    own = {port: held for port, held in switch["ports"].items() if held["mark"] == name}
    uplink = next((port for port in sorted(own) if own[port]["type"] != "vxlan"), None)
    delay = int(switch["config"].get("stp-forward-delay", absent(definition.find("stp"), "delay") or 0))
    others = set(switch["ports"]) - set(own) - {name}
    live = E(
        "bridge",
        E("name", name),
        uplink and E("uplink", dev=uplink),
        _switch_tunnel([held["options"] for held in own.values() if held["type"] == "vxlan"]),
        E("stp", state="on" if switch["stp"] else "off", delay=delay),
        E("mtu", size=_number(name, "mtu")),
        type="openvswitch",
        datapath=switch["datapath"] or "system",
    )
    return State(live, {"plugged": str(len(others))})


def _switch_tunnel(tunnels: list[dict[str, str]]) -> Element | None:
    if not tunnels:
        return None
    peers = sorted(held["remote_ip"] for held in tunnels)
    first = tunnels[0]
    return E(
        "vxlan",
        (E("peer", address=peer) for peer in peers),
        id=first["key"],
        port=first["dst_port"],
        local=first.get("local_ip"),
    )


def _switches() -> dict[str, dict[str, Any]]:
    """Every bridge of Open vSwitch with its ports; none when it does not run."""
    try:
        told = [
            _rows(text)
            for text in _output(
                "ovs-vsctl", "--timeout=5", "--format=json",
                "--", "--columns=name,ports,stp_enable,datapath_type,other_config", "list", "bridge",
                "--", "--columns=_uuid,name,interfaces,external_ids,tag,trunks,vlan_mode", "list", "port",
                "--", "--columns=_uuid,type,options,external_ids", "list", "interface",
            ).splitlines()
        ]  # fmt: skip
    except (HypervisorError, FileNotFoundError):
        return {}
    bridges, ports, interfaces = told
    kinds = {held["_uuid"]: held for held in interfaces}
    by_id = {
        held["_uuid"]: (
            held["name"],
            {
                "mark": dict(held["external_ids"]).get("dos-vm", ""),
                "tag": next(iter(_set(held["tag"])), None),
                "trunks": _set(held["trunks"]),
                "mode": next(iter(_set(held["vlan_mode"])), None),
                **_first(kinds, held["interfaces"]),
            },
        )
        for held in ports
    }
    return {
        held["name"]: {
            "ports": dict(by_id[port] for port in _set(held["ports"]) if port in by_id),
            "stp": held["stp_enable"],
            "datapath": held["datapath_type"],
            "config": dict(held["other_config"]),
        }
        for held in bridges
    }


def _first(interfaces: Mapping[str, dict[str, Any]], listed: Any) -> dict[str, Any]:
    held = next((interfaces[one] for one in _set(listed) if one in interfaces), {})
    return {
        "type": held.get("type", ""),
        "options": dict(held.get("options", ())),
        "ids": dict(held.get("external_ids", ())),
    }


def _rows(text: str) -> list[dict[str, Any]]:
    table = json.loads(text)
    return [dict(zip(table["headings"], map(_value, row), strict=True)) for row in table["data"]]


def _value(held: Any) -> Any:
    """OVSDB's notation (RFC 7047): `["uuid", X]`, `["map", [[K, V], …]]`, `["set", […]]`."""
    match held:
        case ["uuid", one]:
            return one
        case ["map", pairs]:
            return pairs
        case ["set", members]:
            return [_value(member) for member in members]
    return held


def _set(held: Any) -> list[Any]:
    """A set of one is written as that one."""
    return held if isinstance(held, list) else [held]


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if done.returncode:
        raise HypervisorError(f"ask {command[0]}", done.stderr.strip())
    return done.stdout


BRIDGES = Keeper(kind="bridge", title="Bridge", files=script, states=states)


def release(domain: Element) -> list[str]:
    """Take away the bridges that stood in front of the ports of a machine that has gone elsewhere; their names."""
    sources = domain.iterfind("devices/interface/source[@bridge]")
    kept_here = kept.names(BRIDGES) & {source.get("bridge", "") for source in sources}
    held = {name: kept.definition_of(BRIDGES, name) for name in sorted(kept_here)}
    held = {name: definition for name, definition in held.items() if definition.find("port") is not None}
    used = {name for name, state in states(held).items() if state.info["plugged"] != "0"}
    gone = [name for name in held if name not in used]
    for name in gone:
        kept.run(BRIDGES, name, "stop")
        kept.undefine(BRIDGES, name)
    return gone
