# SPDX-License-Identifier: GPL-3.0-or-later
"""The things that can be done to a hypervisor: plain values, performed in `hypervisor/`, tested without one.

`words` finishes the sentence "network lab will be …", and "network lab has been …"; `verb` begins "start network lab: …",
which is said where it fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..model.address import Address
from ..model.injection import Injection
from ..model.types import ByteSize
from .disruption import Disruption


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do to one object. It is finished when it returns, and doing it again is harmless or refused."""

    verb: ClassVar[str] = "change"
    word: ClassVar[str] = "changed"
    slow: ClassVar[bool] = False  # whether it takes a minute, and nothing is to be seen of it meanwhile
    address: Address
    disruption: Disruption = Disruption.NONE

    @property
    def words(self) -> str:
        return self.word

    def __str__(self) -> str:
        return f"{self.address} has been {self.words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Define(Action):
    """Write the persistent definition; a running object keeps its live one."""

    verb: ClassVar[str] = "define"
    xml: str
    anew: bool = True  # whether there was none before

    @property
    def words(self) -> str:
        return "defined" if self.anew else "redefined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefine(Action):
    """Remove the definition; a domain's NVRAM and TPM state go with it, disks never do."""

    verb: ClassVar[str] = "undefine"
    word: ClassVar[str] = "undefined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build(Action):
    """Make what a pool stands on: its directory, its partition table, its volume group. What is on the devices named in
    `clear` is wiped before; the others must be blank."""

    verb: ClassVar[str] = "build"
    word: ClassVar[str] = "built"
    clear: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return f"built over what is on {', '.join(self.clear)}" if self.clear else self.word


@dataclass(frozen=True, slots=True, kw_only=True)
class Find(Action):
    """Have a pool look again for a volume that others make: a LUN, a partition, or what the host `maker` makes in a shared pool."""

    verb: ClassVar[str] = "find"
    word: ClassVar[str] = "found"
    maker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Action):
    """Start it from its persistent definition."""

    verb: ClassVar[str] = "start"
    word: ClassVar[str] = "started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Action):
    """Stop it: a guest is asked to power off and gets `timeout` seconds, then it is forced (VM-14)."""

    verb: ClassVar[str] = "stop"
    word: ClassVar[str] = "stopped"
    timeout: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Action):
    """Stop and start a network, and plug in again who was plugged in. `before` is what it runs from until then: where the
    network cannot start as it is declared now, that is defined and started again, and the action fails.
    """

    verb: ClassVar[str] = "restart"
    before: str
    cards: int = 0
    disruption: Disruption = Disruption.RESTART

    @property
    def words(self) -> str:
        if not self.cards:
            return "restarted, with nobody plugged in"
        cut = "1 interface" if self.cards == 1 else f"{self.cards} interfaces"
        return f"restarted, which cuts {cut} off until plugged in again"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAutostart(Action):
    """Whether libvirt starts it by itself."""

    verb: ClassVar[str] = "set the autostart of"
    on: bool

    @property
    def words(self) -> str:
        return "set to start by itself" if self.on else "set not to start by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume(Action):
    """Make a volume from its XML, in the pool that its address names (`pool/name`)."""

    verb: ClassVar[str] = "create"
    word: ClassVar[str] = "created"
    xml: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceVolume(Action):
    """Make a volume anew from its XML: beside the old one, which goes when the new one is proven; with `wipe` what is in it is
    written over. Of a volume that is a device there is one at a time: what the new one stands on is proven first."""

    verb: ClassVar[str] = "replace"
    xml: str
    wipe: bool = False
    disruption: Disruption = Disruption.DATA_LOSS

    @property
    def words(self) -> str:
        return "wiped and made anew" if self.wipe else "made anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeVolume(Action):
    """Grow a volume to `capacity` bytes. `domain` names the running domain that has it open as `target`, if any."""

    verb: ClassVar[str] = "grow"
    capacity: int
    domain: str = ""
    target: str = ""

    @property
    def words(self) -> str:
        return "grown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVolume(Action):
    """Remove a volume and what is in it; with `wipe` what is in it is written over first."""

    verb: ClassVar[str] = "delete"
    wipe: bool = False
    disruption: Disruption = Disruption.DATA_LOSS

    @property
    def words(self) -> str:
        return "wiped and deleted" if self.wipe else "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSecretValue(Action):
    """Give a libvirt secret the value that the run brought along under its name."""

    verb: ClassVar[str] = "set the value of"
    word: ClassVar[str] = "given its value"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateNetwork(Action):
    """Change one section of a network, where it runs (`live`) and in its definition (`config`): virNetworkUpdate."""

    verb: ClassVar[str] = "update"
    command: Literal["add-first", "add-last", "delete", "modify"]
    section: Literal[
        "ip-dhcp-host", "ip-dhcp-range", "dns-host", "dns-txt", "dns-srv", "portgroup", "forward-interface"
    ]
    xml: str
    parent_index: int = -1
    live: bool = True
    config: bool = True
    disruption: Disruption = Disruption.LIVE

    @property
    def words(self) -> str:
        verb = {"delete": "relieved of", "modify": "given a changed"}.get(self.command, "given")
        return f"{verb} {self.section}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachDevice(Action):
    """Plug a device into the running guest."""

    verb: ClassVar[str] = "attach a device to"
    xml: str
    device: str
    disruption: Disruption = Disruption.HOTPLUG

    @property
    def words(self) -> str:
        return f"given {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachDevice(Action):
    """Unplug a device from the running guest and wait until the guest let go of it."""

    verb: ClassVar[str] = "detach a device from"
    xml: str
    device: str
    disruption: Disruption = Disruption.HOTPLUG

    @property
    def words(self) -> str:
        return f"relieved of {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSeed(Action):
    """Make the disc that a guest is set up from, at a path of its own, whole or not at all."""

    verb: ClassVar[str] = "write the seed of"
    word: ClassVar[str] = "given a seed"
    path: str
    label: str
    files: dict[str, str] = field(repr=False, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inject(Action):
    """Write into the disk of a machine what it starts from, unless the disk says that this was done."""

    verb: ClassVar[str] = "set up"
    word: ClassVar[str] = "set up on its disk"
    slow: ClassVar[bool] = True
    volume: Address
    format: str
    injection: Injection = field(repr=False, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVcpus(Action):
    """Give the running guest this many virtual CPUs, within its maximum, and wait until it let go of those it loses."""

    verb: ClassVar[str] = "set the vCPUs of"
    count: int
    disruption: Disruption = Disruption.LIVE

    @property
    def words(self) -> str:
        return f"given {self.count} vCPU{'' if self.count == 1 else 's'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMemory(Action):
    """Let the running guest have this much memory, in KiB, within its maximum, and wait a little for its balloon to get there."""

    verb: ClassVar[str] = "set the memory of"
    kib: int
    disruption: Disruption = Disruption.LIVE

    @property
    def words(self) -> str:
        return f"given {ByteSize(self.kib * 1024)} of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replug(Action):
    """Plug the cards of a running guest into their networks again, which were restarted under it."""

    verb: ClassVar[str] = "plug in"
    word: ClassVar[str] = "plugged into its network again"
    disruption: Disruption = Disruption.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateDevice(Action):
    """Change a device of the running guest in place: medium, link, password."""

    verb: ClassVar[str] = "update a device of"
    xml: str
    device: str
    disruption: Disruption = Disruption.LIVE

    @property
    def words(self) -> str:
        return f"given a changed {self.device}"
