# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's networks: a control namespace with a management bridge and a data bridge, and two cables to each host.

Nothing leads out of a lab: no cable to the machine's own network, no route, no name server. So any number of labs may use
the same addresses, and what runs in a host cannot reach anything that does not belong to the lab.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

NETNS = Path("/run/netns")
#: The bridge in the control namespace, and the name of the host's end of the cable to it.
MANAGEMENT, DATA = ("mgmt", "eth0"), ("data", "eth1")
NETWORKS = {"mgmt": MANAGEMENT, "data": DATA}


def subnet(index: int) -> str:
    return f"10.77.{index}"


def address(index: int, number: int) -> str:
    """The management address of host `number`, from 1; 0 is the control namespace, where Ansible runs."""
    return f"{subnet(index)}.{10 + number if number else 1}"


def mac(index: int, number: int, cable: int) -> str:
    """Locally administered, and the same after every boot: neighbours remember it."""
    return f"52:77:{index:02x}:{cable:02x}:00:{number:02x}"


def port(host: str, network: str) -> str:
    """The control namespace's end of a cable."""
    return f"{host}-{network}"


def batch(namespace: str, lines: Iterable[str]) -> None:
    """One `ip` process for many commands; raises RuntimeError with the first that failed."""
    text = "\n".join(lines) + "\n"
    done = subprocess.run(
        ["ip", "-n", namespace, "-batch", "-"], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ip in {namespace}: {done.stderr.strip()}")


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def create_control(namespace: str, index: int) -> None:
    ip("netns", "add", namespace)
    lines = ["link set lo up"]
    for cable, (bridge, _) in enumerate(NETWORKS.values()):
        # An address of its own: a bridge without takes that of a cable, and changes it when that host dies.
        lines += [f"link add {bridge} address {mac(index, 0, cable)} type bridge", f"link set {bridge} up"]
    batch(namespace, [*lines, f"addr add {address(index, 0)}/24 dev {MANAGEMENT[0]}"])


def create_host(namespace: str, control: str, index: int, number: int, host: str) -> None:
    ip("netns", "add", namespace)
    lines, inside = [], ["link set lo up", f"addr add {address(index, number)}/24 dev {MANAGEMENT[1]}"]
    for cable, (bridge, end) in enumerate(NETWORKS.values()):
        name = port(host, bridge)
        lines.append(f"link add {name} type veth peer name {end} address {mac(index, number, cable)} netns {namespace}")
        lines.append(f"link set {name} master {bridge} up")
        inside.append(f"link set {end} up")
    batch(control, lines)
    batch(namespace, inside)


def delete_host(namespace: str, control: str, host: str) -> None:
    """The host's bridges, rules and addresses go with its namespace; its cables at once, not when the kernel finds time."""
    for bridge in NETWORKS:
        with contextlib.suppress(RuntimeError):
            batch(control, [f"link del {port(host, bridge)}"])
    delete(namespace)


def delete(namespace: str) -> None:
    if (NETNS / namespace).exists():
        ip("netns", "del", namespace)


def processes(namespace: str) -> list[int]:
    """Processes in it, ssh's masters above all; not we ourselves, nor who called us."""
    if not (NETNS / namespace).exists():
        return []
    wanted, own = (NETNS / namespace).stat().st_ino, _ancestors(os.getpid())
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _network(path) == wanted]
    return [pid for pid in found if pid not in own]


def _network(process: Path) -> int | None:
    with contextlib.suppress(OSError):
        return (process / "ns" / "net").stat().st_ino
    return None


def _ancestors(pid: int) -> set[int]:
    found = set()
    while pid:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def forget_netns() -> None:
    """Undoes what the first `ip netns add` mounts on a machine, once no namespace is left there, whoever's it would be."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    if str(NETNS) in mounted and not any(NETNS.iterdir()):
        subprocess.run(["umount", str(NETNS)], capture_output=True, check=False)


def plug(control: str, host: str, networks: Iterable[str], connected: bool) -> None:
    state = "up" if connected else "down"
    batch(control, [f"link set {port(host, network)} {state}" for network in networks])


def unplugged(control: str) -> set[str]:
    """The control namespace's ends of the cables that were cut."""
    links = json.loads(ip("-n", control, "-json", "link", "show", "type", "veth") or "[]")
    return {link["ifname"] for link in links if "UP" not in link["flags"]}
