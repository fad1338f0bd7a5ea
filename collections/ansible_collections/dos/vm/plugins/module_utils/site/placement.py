# SPDX-License-Identifier: GPL-3.0-or-later
"""How hosts are chosen: for the whole site, and what an instance asks of its hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from ..model.declaration import declaration, option
from ..model.types import ByteSize, Name
from .host import LEAST_RESERVE, Overcommit

# What comes with dos.vm, by name: in the order in which hosts are asked, and with the multiplier of each weight.
# `placement/filters.py` and `placement/weighers.py` have what they do; a test keeps the three in step.
FILTERS: tuple[str, ...] = (
    "answers", "active", "maintenance", "retry", "bound", "host_group", "architecture", "board", "cpu", "storage", "network",
    "data", "properties", "memory", "vcpus", "disk", "numa", "hugepages", "devices", "affinity", "anti_affinity",
)  # fmt: skip
WEIGHERS: Mapping[str, float] = {
    "free_memory": 1.0,
    "free_vcpus": 0.5,
    "free_disk": 0.25,
    "load": 0.5,
    "fewest_machines": 0.1,
    "image": 0.1,
    "affinity": 2.0,
    "chance": 0.0,
}
# Without these a machine would be sent where it cannot run, or twice.
INDISPENSABLE = frozenset({"answers", "bound", "storage", "network", "data"})


@declaration
class Affinity:
    """Machines that should run near each other, or apart."""

    to: tuple[Name, ...] = option(
        "Instances or machines it is about; the other machines of the same instance when not given.",
        spec="SCHED-09",
        default=(),
    )
    by: Name = option("Near means on the same `host`, or in the same group of this key.", default=Name("host"))
    strict: bool = option("Whether it is a rule; otherwise it is a wish, which weighs.", default=True)


@declaration
class InstancePlacement:
    """What an instance asks of the hosts of its machines."""

    affinity: tuple[Affinity, ...] = option("Machines they should be near to.", spec="SCHED-09", default=())
    anti_affinity: tuple[Affinity, ...] = option("Machines they should be apart from.", spec="SCHED-09", default=())
    requires: dict[Name, str] | None = option("Labels that a host must have.", spec="SCHED-05", default=None)
    numa: bool = option("Whether memory and processors must fit into one NUMA node of the host.", default=False)
    hugepages: ByteSize | None = option(
        "Size of the huge pages its memory is made of; the host must have enough of them free.",
        default=None,
        low=2**20,
        example="2 MiB",
    )
    devices: dict[str, int] | None = option(
        "PCI devices of the host that each machine takes, how many by vendor and product.",
        default=None,
        example='{"10de:1eb8": 1}',
    )
    weighers: dict[Name, float] | None = option(
        "Multipliers that differ from the site's.", spec="SCHED-06", default=None
    )
    hints: dict[Name, str] | None = option("Anything that filters of your own ask for.", spec="ARCH-19", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        for device, number in (self.devices or {}).items():
            vendor, _, product = device.partition(":")
            if not (_four_digits(vendor) and _four_digits(product)):
                yield f"devices.{device}", "is not vendor and product, write them like 10de:1eb8"
            elif number < 1:
                yield f"devices.{device}", f"{number} is out of range, write 1 or more"


def _four_digits(text: str) -> bool:
    return len(text) == 4 and not set(text) - set("0123456789abcdef")


@declaration
class Rebalance:
    """When machines are proposed to move so that the load is spread evenly."""

    moves: int = option("At most so many moves in one proposal.", default=10, low=1)
    tolerance: float = option(
        "Two hosts whose fullness differs by no more than so many percent are balanced.", default=10.0
    )
    least_gain: float = option(
        "By so many percent of a host the fuller one of two must become emptier by a move.", default=0.5
    )

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("tolerance", "least_gain"):
            value = getattr(self, name)
            if not 0 < value <= 100:
                yield name, f"{value} is out of range, write more than 0 and at most 100"


@declaration
class Placement:
    """How hosts are chosen for machines (`dos_placement`)."""

    filters: tuple[Name, ...] | None = option(
        "Which hosts will do, asked in this order; all that come with dos.vm when not given.",
        spec="SCHED-04",
        default=None,
    )
    weighers: dict[Name, float] | None = option(
        "Multiplier of each weight; those not mentioned keep theirs, 0 switches one off, less than 0 turns it round.",
        spec="SCHED-06",
        default=None,
    )
    strategy: Literal["spread", "pack"] = option(
        "Whether hosts are filled evenly, or one after the other so that others stay free.",
        spec="SCHED-16",
        default="spread",
    )
    subset: int = option(
        "Among how many of the best hosts a machine's own is drawn; the draw depends on the machine's name alone.",
        spec="SCHED-07",
        default=1,
    )
    attempts: int = option(
        "How many hosts may try in one run to bring up a new machine; 1 lets no other host try.",
        spec="SCHED-10",
        default=3,
        low=1,
        high=20,
    )
    homeless: Literal["fail", "wait"] = option(
        "Whether a machine that no host can take fails the run before anything is changed, or waits while the others go on.",
        spec="SCHED-11",
        default="fail",
    )
    reserve: ByteSize = option(
        "Memory kept for each host itself.", spec="HOST-09", default=ByteSize(LEAST_RESERVE), low=LEAST_RESERVE
    )
    overcommit: Overcommit | None = option("How full hosts may become.", spec="SCHED-15", default=None)
    survives: dict[Name, Literal["warn", "error"]] | None = option(
        "What must not leave a machine without a host: the loss of one `host`, or of one group of a key such as rack.",
        default=None,
    )
    rebalance: Rebalance = option("When moves are proposed.", default=Rebalance())
    plugins: tuple[str, ...] = option(
        "Python files on the controller with filters and weighers of your own, from the inventory's directory.",
        spec="ARCH-19",
        default=(),
    )
