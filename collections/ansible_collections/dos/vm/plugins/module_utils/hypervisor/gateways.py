# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways of bridged networks: how they are, and that there is never a second one.

Before a gateway takes its address, nobody may answer for it any more: the host that had it stops in the same run, or has
died, or is cut off only, and then it still answers (GW-02). See RFC 5227 for the question.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HypervisorError
from ..model.decode import decode
from ..model.gateway import Gateway
from ..model.types import Address, Cidr
from ..plan.action import Action, Start
from ..xml.build import parse as parse_xml
from ..xml.gateway import parse
from . import gateway_files as made
from . import stale_leases
from .kept import ENVIRONMENT, Keeper, State
from .links import links

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

NET = Path("/sys/class/net")
ARP = 0x0806
PROBES, PAUSE = 3, 0.4  # how often it is asked who has an address, and seconds to wait for the answer
PATIENCE = 30.0  # seconds for the host that had it to let go
LEARNING = 40.0  # seconds a port may take until it forwards, with the longest delays there are
FORWARDING = "3"


def states(definitions: Mapping[str, Element]) -> Mapping[str, State]:
    """Those that are there with all that belongs to them, and of which at least something `remains`."""
    found: dict[str, State] = {}
    carried = {name: set(held.addresses) for name, held in links().items()}
    tables = _tables()
    for name, definition in definitions.items():
        gateway = decode(Gateway, parse(definition))
        held = Path(made.RUN, f"{name}.xml")
        addresses = all(
            Cidr(address).ip in {one.ip for one in carried.get(link, ())} for link, address in made.carried(gateway)
        )
        if (
            held.exists()
            and made.table(name) in tables
            and (addresses or _readdressed(name, carried))
            and _answers(name)
            and _opened(gateway)
        ):
            found[name] = State(parse_xml(held.read_text()), {})
        elif held.exists() or made.table(name) in tables or Path(made.RUN, f"{name}.addresses").exists():
            found[name] = State(None, {"remains": "yes"})
    return found


def _readdressed(name: str, carried: Mapping[str, set[Address]]) -> bool:
    """Whether it has the addresses that it started with: the definition may have others by now."""
    lines = Path(made.RUN, f"{name}.addresses").read_text().split("\n")
    held = [line.split() for line in lines if line]
    return all(str(Cidr(address).ip) in {str(one) for one in carried.get(link, ())} for link, address in held)


def _answers(name: str) -> bool:
    """Whether its dnsmasq is alive, if it has one."""
    if not Path(made.RUN, f"{name}.conf").exists():
        return True
    try:
        pid = int(Path(made.RUN, f"{name}.pid").read_text())
        return Path(f"/proc/{pid}/comm").read_text().strip() == "dnsmasq"
    except (OSError, ValueError):
        return False


def _opened(gateway: Gateway) -> bool:
    """Whether libvirt's rules let its services through, where those are libvirt's."""
    commands = ([tool, "-w", "-C", *made.passes(gateway)] for tool in made.opens(gateway))
    return all(subprocess.run(command, capture_output=True, env=ENVIRONMENT).returncode == 0 for command in commands)


def _tables() -> set[str]:
    try:
        done = subprocess.run(["nft", "--json", "list", "tables"], capture_output=True, text=True, env=ENVIRONMENT)
        listed = json.loads(done.stdout or "{}").get("nftables", ())
    except FileNotFoundError:
        return set()
    return {held["table"]["name"] for held in listed if "table" in held}


def before(definition: Element, action: Action) -> None:
    """Drops stale leases, and waits until nobody has the addresses that a gateway is about to take.

    Raises `HypervisorError` when somebody stays.
    """
    if not isinstance(action, Start):
        return
    gateway = decode(Gateway, parse(definition))
    _drop_leases(gateway)
    held = links()
    for subnet in () if gateway.only_forwards else gateway.subnets:
        own = gateway.bridge in held and subnet.address.ip in {one.ip for one in held[gateway.bridge].addresses}
        if subnet.address.version == 4 and not own:  # of IPv6 the kernel itself asks
            _wait_until_free(gateway.bridge, str(subnet.address.ip))


def _drop_leases(gateway: Gateway) -> None:
    """Drop the leases that keep reserved addresses from their VMs."""
    running = Path(made.RUN, f"{gateway.name}.xml")
    before = decode(Gateway, parse(parse_xml(running.read_text()))) if running.exists() else None
    stale_leases.drop(
        gateway, before, Path(made.LEASES, f"{gateway.name}.leases"), Path(made.RUN, f"{gateway.name}.pid")
    )


def after(definition: Element, action: Action) -> None:
    """Tells everybody who has the addresses now."""
    if isinstance(action, Start):
        for link, address in made.carried(decode(Gateway, parse(definition))):
            if Cidr(address).version == 4:
                _announce(link, str(Cidr(address).ip))


def _wait_until_free(bridge: str, address: str) -> None:
    _wait_until_forwarding(bridge)
    deadline = time.monotonic() + PATIENCE
    while (owner := _owner(bridge, address)) is not None:
        if time.monotonic() > deadline:
            text = f"{address} is still answered by {owner}: another host is the gateway, or a machine has its address"
            raise HypervisorError(f"take {address} on {bridge}", text)
        time.sleep(PAUSE)


def _wait_until_forwarding(bridge: str) -> None:
    """A port that is new learns first, and lets nothing through."""
    deadline = time.monotonic() + LEARNING
    states = [port / "state" for port in (NET / bridge / "brif").glob("*") if not port.name.startswith("vnet")]
    while any(state.exists() and state.read_text().strip() in "12" for state in states):
        if time.monotonic() > deadline:
            return
        time.sleep(PAUSE)


def _owner(link: str, address: str) -> str | None:
    """The MAC that answers for an address, if one does."""
    mac = bytes.fromhex((NET / link / "address").read_text().strip().replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP)) as wire:
        wire.bind((link, ARP))
        for _ in range(PROBES):
            wire.send(_frame(mac, bytes(4), socket.inet_aton(address), request=True))
            deadline = time.monotonic() + PAUSE
            while (left := deadline - time.monotonic()) > 0:
                wire.settimeout(left)
                try:
                    answer = wire.recv(128)
                except TimeoutError:
                    break
                if answer[20:22] == b"\0\2" and answer[28:32] == socket.inet_aton(address) and answer[22:28] != mac:
                    return answer[22:28].hex(":")
    return None


def _announce(link: str, address: str) -> None:
    mac = bytes.fromhex((NET / link / "address").read_text().strip().replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((link, ARP))
        own = socket.inet_aton(address)
        for request in (True, False):  # some believe the one, some the other
            wire.send(_frame(mac, own, own, request=request))


def _frame(mac: bytes, sender: bytes, target: bytes, *, request: bool) -> bytes:
    head = b"\xff" * 6 + mac + struct.pack("!H", ARP)
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1 if request else 2) + mac + sender + bytes(6) + target


GATEWAYS = Keeper(
    kind="gateway",
    title="Gateway",
    files=made.files,
    states=states,
    at_boot=lambda definition: definition.get("autostart") == "yes",
    after=" dos-vm-bridge@.service",
    readable=(".hosts", ".names", ".conf"),
    before=before,
    done=after,
)
