# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration is told: which machine goes where, by which way, and how much it may cost the guest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .front import URI
from .types import Name

# How a host's libvirt is reached from another's; the port is what tells early that nobody listens there.
TRANSPORTS = {"ssh": ("qemu+ssh://root@{address}/system?no_tty=1", 22), "tls": ("qemu+tls://{address}/system", 16514)}


@declaration
class Ways:
    """How machines are moved; the variable `dos_migration` says it for a whole site."""

    transport: Literal["ssh", "tls"] = option(
        "How the libvirt of one host reaches that of the other: as root over ssh, or with certificates.",
        spec="LVD-02",
        default="ssh",
    )
    data: Literal["tls", "tunnel", "plain"] | None = option(
        "How memory and disks travel: encrypted by QEMU, inside libvirt's own connection, or readable to whoever listens. "
        "When not given, V(tls) with O(transport=tls) and V(tunnel) with O(transport=ssh). A tunnel carries memory only; "
        "a machine that is off needs none of them.",
        spec="LVD-03",
        default=None,
    )
    storage: Literal["shared", "copied"] = option(
        "Whether disks are where both hosts see them, or those that are not are copied: while the machine runs, or, "
        "of one that is off, through libvirt's own connection.",
        spec="MIG-11",
        default="shared",
    )
    keep_source: bool = option(
        "Leave the copied disks on the host that was left. They are out of date from then on.", default=False
    )
    unsafe: bool = option(
        "Take what is at the same path for the same file though its file system is not known to be shared, and the caching "
        "of a disk for harmless. Wrong, it destroys the disk.",
        spec="MIG-11",
        default=False,
    )
    bandwidth: int | None = option("MiB per second at most.", default=None, low=1, example=100)
    auto_converge: bool = option(
        "Slow a guest down that writes memory faster than it can be sent.", spec="MIG-01", default=True
    )
    compression: Literal["none", "xbzrle", "mt"] = option(
        "How memory is compressed: not, by differences, or by several threads.", default="none"
    )
    parallel: int | None = option("Connections to send memory over; one when not given.", default=None, low=2, high=16)
    post_copy: bool = option(
        "Let the guest go on at the target when O(limit) has passed, and send the rest of its memory after it. From then "
        "on it needs both hosts. Where QEMU may not do so, the answer says why and O(at_limit) holds.",
        default=False,
    )
    limit: int | None = option(
        "Seconds that a migration may take; no limit when not given.", default=600, low=1, high=604800
    )
    at_limit: Literal["abort", "suspend"] = option(
        "What happens at O(limit): the machine stays where it is, or it stands still until the rest is sent.",
        spec="MIG-08",
        default="abort",
    )
    downtime: int = option(
        "Milliseconds that the guest may stand still at the end; less makes a migration longer.",
        default=300,
        low=1,
        high=60000,
    )
    stall: int = option("Seconds without a byte sent until the migration is given up.", default=60, low=5, high=86400)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.parallel and self.way == "tunnel":
            yield "parallel", "one tunnel is one connection, write data: tls or plain"
        if self.parallel and self.compression != "none":
            yield "compression", "goes with one connection only, leave parallel out"
        if self.post_copy and self.way == "tunnel":
            yield "post_copy", "needs a connection of its own, write data: tls or plain"
        if self.post_copy and self.storage == "copied":
            yield "post_copy", "goes with shared storage only: a disk cannot follow a guest that already runs"

    @property
    def way(self) -> Literal["tls", "tunnel", "plain"]:
        """How data travels when nobody said it."""
        return self.data or ("tls" if self.transport == "tls" else "tunnel")

    @property
    def port(self) -> int:
        return TRANSPORTS[self.transport][1]


@declaration
class Migration(Ways):
    """One machine to another host. It is asked of the host that has it."""

    ways: dict[str, object] | None = option(
        "More options of this module, as C(dos_migration) says them for the site; what is written beside it counts more.",
        default=None,
    )
    domain: Name = option("The machine.", spec="MIG-01")
    source: Name = option("What the host is called that has it, for messages.")
    target: Name = option("What the host is called that it goes to, for messages.")
    address: str = option(
        "Where the host that has it reaches the other: an address, or a name that both know.", spec="DMN-T1.1"
    )
    prepared: tuple[str, ...] = option(
        "Objects that the target will have when it comes to it, though it has them not yet: V(network web).", default=()
    )
    replace_copies: tuple[str, ...] = option(
        "Volumes at the target that may be written over: V(volume local/web-1-vda).", default=()
    )
    uri: str = option("Where libvirt is reached from the managed host.", spec="LVD-01", default=URI)
    seconds: float | None = option(
        "How long one call may watch before it reports back with RV(remaining); the migration goes on, and calling again "
        "watches on. No limit when not given.",
        default=None,
    )
    watch: bool = option("Begin nothing: watch what an earlier call began, or tell how it ended.", default=False)
    awake: bool = option(
        "Whether the machine ran when its migration began, as RV(awake) told; for O(watch).", default=False
    )
    saved: bool = option(
        "Whether its memory was saved when its migration began, as RV(saved) told; for O(watch).",
        spec="VM-26",
        default=False,
    )
    abort: bool = option("End the migration of this machine that is under way; it stays where it is.", default=False)

    @property
    def uri_of_target(self) -> str:
        """The other host's libvirt, as this host reaches it."""
        return TRANSPORTS[self.transport][0].format(
            address=f"[{self.address}]" if ":" in self.address else self.address
        )
