# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers, as far as the controller acts on it: decoded as the inventory is, because a broken host can answer anything.

Text that only names something may be any text: a guest chooses the name that it asks for an address with, and must not
make its host unreachable with it. Whoever shows such text makes it printable.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from .declaration import declaration, option
from .host import LAST_SERIAL, HostFacts
from .types import LARGEST, Address, Uuid

Power = Literal["on", "off"]


class Text(str):
    """Any text that can be written to a file and to the store."""

    __slots__ = ()

    def __new__(cls, text: str | int) -> Text:
        if not isinstance(text, str):
            raise ValueError(f"{text} where text is expected")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("is no text: it has half of a character") from None
        return super().__new__(cls, text)


class Count(int):
    """A number of things or of bytes, also as the digits that libvirt writes; no digits are none."""

    def __new__(cls, text: str | int) -> Count:
        digits = str(text).strip() or "0"
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= LARGEST):
            raise ValueError("is no number from 0 to 2^63-1")
        return super().__new__(cls, digits)


class Answered:
    """A part of an answer. A module answers more than the controller acts on: such keys are left out."""

    __slots__ = ()
    ANY_KEYS: ClassVar[bool] = True


class Serial(Count):
    """A number that only grows: an epoch, or the number of an override. So small that the store can count on from it."""

    def __new__(cls, text: str | int) -> Serial:
        if Count(text) > LAST_SERIAL:
            raise ValueError("is above 2^53, which no site reaches by counting")
        return super().__new__(cls, text)  # type: ignore[return-value]  # `super().__new__` makes the subclass it was given


@declaration
class Listed(Answered):
    """One object of a list."""

    name: Text = option("Its name.")
    ours: bool = option("Whether it belongs to the site.")
    active: bool = option("Whether it is active.")


@declaration
class SeenVolume(Listed):
    capacity: Count | None = option("Bytes that fit into it.", default=None)
    backing: Text | None = option("The file that it is layered over.", default=None)


@declaration
class SeenPool(Listed):
    capacity: Count | None = option("Bytes that fit into it.", default=None)
    available: Count | None = option("Bytes that are free.", default=None)


@declaration
class Reserved(Answered):
    ip: Address | None = option("The address; a lease may have none.", default=None)
    mac: Text | None = option("Whose it is.", default=None)
    name: Text | None = option("The name beside it.", default=None)
    hostname: Text | None = option("The name that the guest gave.", default=None)
    expires: Count | None = option("When the lease ends, in seconds since 1970.", default=None)


@declaration
class SeenNetwork(Listed):
    leases: tuple[Reserved, ...] = option("Addresses that were handed out.", default=())
    reservations: tuple[Reserved, ...] = option("Addresses that are reserved.", default=())


@declaration
class SeenTunnel(Answered):
    id: Count = option("Number of the VXLAN.")
    port: Count = option("UDP port.")
    local: Address | None = option("Address of this end.", default=None)
    peers: tuple[Address, ...] = option("Addresses of the other ends.")


@declaration
class SeenOverride(Answered):
    power: Power = option("What it asks for.")
    number: Serial = option("Which of the VM's overrides it is.")
    until: float | None = option("When it ends, in seconds since 1970.", low=0, high=2**53, default=None)
    against: Power | None = option("What was declared then.", default=None)


@declaration
class SeenOrders(Answered):
    number: Serial = option("Number of the newest override.", default=Serial(0))
    power: Power | None = option("What the newest override asks for.", default=None)
    overrides: tuple[SeenOverride, ...] = option("Every override.", default=())


@declaration
class SeenInterface(Answered):
    mac: Text = option("Its MAC address.", default=Text(""))
    network: Text | None = option("The network that it is on.", default=None)
    bridge: Text | None = option("The bridge that it is on.", default=None)
    filter: Text | None = option("Its filter.", default=None)
    ips: tuple[Text, ...] = option("The addresses that its filter allows.", default=())


@declaration
class SeenDisk(Answered):
    name: Text = option("The volume, or the path.")
    pool: Text | None = option("The pool of the volume.", default=None)
    protocol: Text | None = option("How it is reached over the network.", default=None)
    servers: tuple[Text, ...] = option("Where it is reached.", default=())
    shareable: bool = option("Whether several VMs may write it.", default=False)
    path: Text | None = option("The path without links.", default=None)
    marks: tuple[Text, ...] = option("What tells whether two paths lead to one thing.", default=())


@declaration
class SeenDomain(Listed):
    state: Text = option("Its state in words.")
    uuid: Uuid | None = option("Its UUID.", default=None)
    id: Count | None = option("libvirt's number of it while it runs.", default=None)
    vcpus: Count | None = option("Virtual CPUs.", default=None)
    memory: Count | None = option("Bytes of memory.", default=None)
    project: Text | None = option("Its project.", default=None)
    origin: Text | None = option("Where it is declared.", default=None)
    epoch: Serial | None = option("The epoch that it was defined under.", default=None)
    macs: tuple[Text, ...] = option("Its MAC addresses.", default=())
    console: Text | None = option("Where its console listens.", default=None)
    disks: tuple[Text, ...] = option("The files and volumes that it names.", default=())
    orders: SeenOrders | None = option("What was asked of it.", default=None)
    interfaces: tuple[SeenInterface, ...] = option("Its interfaces.", default=())
    writes: tuple[SeenDisk, ...] = option("The disks that it may write to.", default=())


@declaration
class SeenGuest(Answered):
    reason: Text | None = option("Why it is in its state.", default=None)
    agent: Text | None = option("What its agent does.", default=None)
    addresses: tuple[Text, ...] = option("The addresses that its agent names.", default=())


@declaration
class Looked(Answered):
    """What a host has and can do."""

    facts: HostFacts = option("The host itself.")
    ours: tuple[Text, ...] = option("What belongs to the site.", default=())
    unmanaged: tuple[Text, ...] = option("What does not.", default=())
    domains: tuple[SeenDomain, ...] = option("The domains.")
    health: dict[Text, SeenGuest] | None = option("How the guests are.", default=None)
    pools: tuple[SeenPool, ...] = option("The pools.")
    networks: tuple[SeenNetwork, ...] = option("The networks.", default=())
    tunnels: tuple[SeenTunnel, ...] = option("The tunnels.", default=())
    gateways: tuple[SeenNetwork, ...] = option("The gateways.", default=())
    volumes: tuple[SeenVolume, ...] = option("The volumes.")
    missing_files: tuple[Text, ...] = option("The files that were looked for and are not there.", default=())


Verdict = Literal["create", "keep", "change", "remove", "left", "unmanaged", "conflict"]


@declaration
class SeenChange(Answered):
    path: Text = option("What changes.")
    disruption: Text = option("What the change interrupts.")


@declaration
class SeenPlan(Answered):
    kind: Text = option("Kind of the object.")
    name: Text = option("Name of the object.")
    verdict: Verdict = option("What becomes of it.")
    disruption: Text = option("What the plan interrupts.")
    origin: Text | None = option("Where it is declared.", default=None)
    changes: tuple[SeenChange, ...] = option("What changes.")
    pending: tuple[SeenChange, ...] = option("What changes with the next start.")
    actions: tuple[Text, ...] = option("What is done.")
    withheld: tuple[Text, ...] = option("What is not done.")
    needs: Text | None = option("The permission that is missing.", default=None)
    blocked_by: tuple[Text, ...] = option("What it waits for.")
    reason: Text | None = option("Why.", default=None)
    problem: Text | None = option("What is wrong.", default=None)
    notes: tuple[Text, ...] = option("What else is to be known.")


@declaration
class SeenFailure(Answered):
    object: Text = option("What failed.")
    reason: Text = option("Why.")


@declaration
class Applied(Answered):
    """What a host did for its slice. An answer that failed may lack everything but its message."""

    msg: Text | None = option("Why it failed.", default=None)
    plans: tuple[SeenPlan, ...] | None = option("The plan of each object.", default=None)
    kept: Count | None = option("Objects that are as declared.", default=None)
    performed: tuple[Text, ...] | None = option("What was done.", default=None)
    failures: tuple[SeenFailure, ...] | None = option("What failed.", default=None)
    unanswered: tuple[SeenFailure, ...] | None = option("The guests that have not answered.", default=None)
    remaining: Count | None = option("Actions that are left.", default=None)
    upcoming: Text | None = option("What is done next.", default=None)
