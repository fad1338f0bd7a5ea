# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets in a guest's name, and who answers them.

Nobody but QEMU can send through a guest's own card. So a card is lent to the guest beside its own: a port of the same bridge,
under the same filter with the same variables, which libvirt lays on it (`virNWFilterBindingCreateXML`). It sends with the
guest's MAC and address, teaches the bridge nothing, and nothing is delivered to it. So answers go where they always do, to the
guest, and they are read as they leave by its card; a guest that is told of a connection it never began resets it.
"""

from __future__ import annotations

import secrets
import select
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import HypervisorError
from ..model.probe import Probe, Probing
from ..model.types import Address, Mac, Name
from ..xml.build import E, parse, to_text
from ..xml.common import is_of
from . import frames
from .connection import saying
from .kept import ENVIRONMENT
from .libvirt import LibvirtHypervisor

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

NET = Path("/sys/class/net")
ALL_FRAMES = 3  # ETH_P_ALL
LEAVING = 4  # PACKET_OUTGOING: what the kernel gives to the guest
AGAIN = 1.0  # seconds until an unanswered packet is sent once more
LEARNING = 40.0  # seconds a port may take until it forwards, with the longest delays there are
FORWARDING = "3"
VARIABLES = {4: "IP", 6: "IPV6"}  # what filters call a card's own addresses


@dataclass(frozen=True, slots=True)
class Seen:
    """Whether the target was reached; None where that cannot be told. `why` is the end of a sentence about it."""

    yes: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Card:
    """A running guest's card, as its live definition has it."""

    domain: Element
    element: Element

    @property
    def device(self) -> str:
        return self._of("target", "dev")

    @property
    def bridge(self) -> str:
        return self._of("source", "bridge")

    def _of(self, tag: str, name: str) -> str:
        found = self.element.find(tag)
        return (None if found is None else found.get(name)) or ""

    def is_of(self, site: str) -> bool:
        return is_of(site, self.domain)

    def refusal(self) -> str:
        """Why nothing can be sent in its name, as the end of a sentence; empty when it can."""
        if not (NET / self.bridge / "bridge").is_dir() or not self.bridge:
            where = f"Open vSwitch bridge {self.bridge}" if self.bridge else self.element.get("type")
            return f"has its card on {where}, where nobody else can send in its name: ask from inside the guest"
        return ""


Cards = Mapping[Mac, list[Card]]


@dataclass(slots=True)
class _Question:
    """A probe under way."""

    place: int
    asked: Probe
    packet: frames.Packet
    arrived: bool = False
    watched: bool = False  # whether the target's own card is on this host, so that we see what gets there
    seen: Seen | None = None


def probe(asked: Probing, hypervisor: LibvirtHypervisor) -> list[Seen]:
    """An answer for each question, in their order. Changes nothing that stays. Raises `HypervisorError`."""
    with saying("look for the cards of machines"):
        cards = _cards(hypervisor._connection)
    found: dict[int, Seen] = {}
    by_card: dict[tuple[Name, Mac], tuple[Card, list[tuple[int, Probe]]]] = {}
    for place, one in enumerate(asked.probes):
        card = next((held for held in cards.get(one.mac, ()) if held.domain.findtext("name") == one.vm), None)
        if card is None or not card.is_of(asked.site):
            found[place] = Seen(None, f"{one.vm} of site {asked.site} does not run here with a card {one.mac}")
        elif refusal := card.refusal():
            found[place] = Seen(None, f"{one.vm} {refusal}")
        else:
            by_card.setdefault((one.vm, one.mac), (card, []))[1].append((place, one))
    for (_, mac), (card, questions) in by_card.items():
        try:
            found |= _of_card(card, mac, questions, cards, hypervisor, asked.seconds)
        except OSError as gone:
            why = f"{questions[0][1].vm} cannot be heard: {gone.strerror}"
            found |= {place: Seen(None, why) for place, _ in questions}
    return [found[place] for place in range(len(asked.probes))]


def _cards(connection: Any) -> Cards:
    """The cards of all running machines; of several sites two may have one MAC."""
    found: defaultdict[Mac, list[Card]] = defaultdict(list)
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        with suppress(libvirt.libvirtError):  # it may end meanwhile
            held = parse(domain.XMLDesc())
            for card in held.iterfind("devices/interface"):
                mac = card.find("mac")
                if mac is not None:
                    found[Mac(str(mac.get("address")))].append(Card(held, card))
    return found


def _of_card(
    card: Card,
    mac: Mac,
    asked: Iterable[tuple[int, Probe]],
    cards: Cards,
    hypervisor: LibvirtHypervisor,
    seconds: float,
) -> dict[int, Seen]:
    """All questions of one card at once: those without an answer cost the time of one."""
    questions = [_question(place, one) for place, one in asked]
    own = bytes.fromhex(mac.replace(":", ""))
    with lent(card, mac, {one.asked.source for one in questions}, hypervisor) as out, ExitStack() as held:
        ear = held.enter_context(_ear(card.device))
        neighbours = _neighbours(out, ear, own, questions, seconds)
        ears: dict[socket.socket, bytes] = {}
        for one in questions:
            to = neighbours.get(one.asked.via or one.asked.target)
            if to is None:
                what = f"router {one.asked.via}" if one.asked.via else str(one.asked.target)
                one.seen = Seen(False, f"nobody answers for the address of {what}")
                continue
            here = (other for other in cards.get(Mac(to.hex(":")), ()) if other.bridge == card.bridge)
            other = None if one.asked.via else next(here, None)
            with suppress(OSError):  # it ended meanwhile, and then it is heard of by its answers alone
                if other is not None and to not in ears.values():
                    ears[held.enter_context(_ear(other.device))] = to
            one.watched = to in ears.values()
        _ask(out, ear, list(ears), own, questions, neighbours, seconds)
    return {one.place: one.seen or _unanswered(one, seconds) for one in questions}


def _question(place: int, asked: Probe) -> _Question:
    packet = frames.Packet(
        source=asked.source,
        target=asked.target,
        protocol=asked.protocol,
        port=asked.port,
        number=32768 + secrets.randbelow(28000),
    )
    return _Question(place, asked, packet)


def _unanswered(one: _Question, seconds: float) -> Seen:
    if one.arrived:
        return Seen(True, "arrived at the machine, which did not answer")
    if one.asked.protocol == "udp" and not one.watched:
        return Seen(None, f"no answer within {seconds:.0f} s, which udp need not give")
    return Seen(False, f"no answer within {seconds:.0f} s")


def _neighbours(
    out: socket.socket, ear: socket.socket, own: bytes, questions: Iterable[_Question], seconds: float
) -> dict[Address, bytes]:
    """The MAC of every next hop that answers."""
    wanted = {one.asked.via or one.asked.target: one.asked.source for one in questions}
    found: dict[Address, bytes] = {}

    def send() -> None:
        for address, source in wanted.items():
            if address not in found:
                out.send(frames.question(own, source, address))

    for _, frame in _heard(send, [ear], seconds):
        found |= {address: mac for address in wanted if (mac := frames.neighbour(frame, address))}
        if len(found) == len(wanted):
            break
    return found


def _ask(
    out: socket.socket,
    ear: socket.socket,
    others: list[socket.socket],
    own: bytes,
    questions: Iterable[_Question],
    neighbours: Mapping[Address, bytes],
    seconds: float,
) -> None:
    """Send each packet until somebody answers it or the time is over."""
    open_ = [one for one in questions if one.seen is None]

    def send() -> None:
        for one in open_:
            if one.seen is None:
                out.send(frames.first(one.packet, own, neighbours[one.asked.via or one.asked.target]))

    for where, frame in _heard(send, [ear, *others], seconds) if open_ else ():
        for one in open_:
            if where is ear and (said := frames.answered(frame, one.packet)):
                one.seen = Seen(True, said)
            elif where is not ear and frames.is_the(frame, one.packet):
                one.arrived = True
        if all(one.seen for one in open_):
            return


def _heard(send: Any, ears: list[socket.socket], seconds: float) -> Iterator[tuple[socket.socket, bytes]]:
    """Frames that leave by the cards, until the time is over. `send` is called at once, and again every second."""
    deadline, again = time.monotonic() + seconds, 0.0
    while (now := time.monotonic()) < deadline:
        if now >= again:
            send()
            again = now + AGAIN
        for ear in select.select(ears, [], [], max(0.0, min(again, deadline) - now))[0]:
            frame, where = ear.recvfrom(65535)
            if where[2] == LEAVING:
                yield ear, frame


def _ear(device: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES))
    try:
        wire.bind((device, ALL_FRAMES))
    except OSError:
        wire.close()
        raise
    return wire


@contextmanager
def lent(card: Card, mac: Mac, addresses: Iterable[Address], hypervisor: LibvirtHypervisor) -> Iterator[socket.socket]:
    """A card beside that of a guest, for as long as it is needed: what is sent to it goes as the guest's would."""
    name = secrets.token_hex(5)
    port, end = f"dp{name}", f"de{name}"
    alone = "on" if _number(card.device, "brport/isolated") == "1" else "off"
    steps = (
        f"ip link add name {port} type veth peer name {end}",
        # Neither end is anybody's: no addresses of its own, and no answers to ARP.
        f"ip link set dev {port} addrgenmode none",
        f"ip link set dev {end} arp off addrgenmode none",
        f"ip link set dev {port} mtu {_number(card.device, 'mtu') or 1500} master {card.bridge}",
        f"bridge link set dev {port} learning off flood off mcast_flood off bcast_flood off isolated {alone}",
        f"ip link set dev {end} up",
        f"ip link set dev {port} up",
    )
    filter_ = card.element.find("filterref")
    try:
        for step in steps:
            _run(step)
        with _filtered(port, card, mac, addresses, hypervisor) if filter_ is not None else ExitStack():
            _wait_until_forwarding(port)
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
                out.bind((end, 0))
                yield out
    finally:
        subprocess.run(["ip", "link", "del", port], capture_output=True, env=ENVIRONMENT, check=False)


@contextmanager
def _filtered(
    port: str, card: Card, mac: Mac, addresses: Iterable[Address], hypervisor: LibvirtHypervisor
) -> Iterator[None]:
    """With the guest's filter on the port. An address that libvirt would have to learn is told instead."""
    called = card.element.find("filterref")
    assert called is not None
    held = {str(one.get("name")): str(one.get("value")) for one in called.iterfind("parameter")}
    told = {VARIABLES[address.version]: str(address) for address in addresses}
    xml = E(
        "filterbinding",
        E("owner", E("name", card.domain.findtext("name")), E("uuid", card.domain.findtext("uuid"))),
        E("portdev", name=port),
        E("mac", address=mac),
        E(
            "filterref",
            (E("parameter", name=name, value=value) for name, value in {**told, **held}.items()),
            filter=called.get("filter"),
        ),
    )
    with saying(f"lay filter {called.get('filter')} on a card lent to {card.domain.findtext('name')}"):
        binding = hypervisor._connection.nwfilterBindingCreateXML(to_text(xml))
    try:
        yield
    finally:
        with suppress(libvirt.libvirtError):  # the one who takes the interface away may be faster
            binding.delete()


def _wait_until_forwarding(port: str) -> None:
    deadline = time.monotonic() + LEARNING
    while _number(port, "brport/state") != FORWARDING:
        if time.monotonic() > deadline:
            raise HypervisorError(
                "send in a guest's name", f"the bridge did not let the card in within {LEARNING:.0f} s"
            )
        time.sleep(0.05)


def _number(device: str, file: str) -> str:
    try:
        return (NET / device / file).read_text().strip()
    except OSError:
        return ""


def _run(step: str) -> None:
    done = subprocess.run(step.split(), capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if done.returncode:
        raise HypervisorError("lend a card to a guest", f"{step}: {done.stderr.strip()}")
