# SPDX-License-Identifier: GPL-3.0-or-later
"""What a front end is told besides the objects themselves, written down like every other declaration."""

from __future__ import annotations

from typing import Literal

from .declaration import declaration, option
from .types import AbsolutePath, Name

URI = "qemu:///system"


@declaration
class Allow:
    """What a run may do beyond what disturbs nobody."""

    restart: bool = option("Running machines and networks may be stopped and started.", default=False)
    recreate: bool = option("Objects without data may be removed and made anew.", default=False)
    migrate: bool = option("Machines may move to another host.", default=False)
    data_loss: tuple[str, ...] = option(
        "Objects, each by kind and name, whose data may go.", default=(), example=["volume default/web-1"]
    )
    wipe: bool = option(
        "What is deleted because of O(allow.data_loss) is written over with zeros first. Storage that copies on write, and "
        "SSDs, may keep the old blocks all the same.",
        default=False,
    )
    uplink: tuple[str, ...] = option(
        "Interfaces that a bridge may take though they carry addresses of the host, which move to the bridge.",
        spec="NET-12",
        default=(),
        example=["eth0"],
    )


@declaration
class Connection:
    """Which hypervisor, and whose objects on it."""

    uri: str = option("Where libvirt is reached from the managed host.", spec="LVD-01", default=URI)
    site: Name = option(
        "The site that the objects belong to; objects of others are never touched.", spec="DOMX-03", default=Name("dos")
    )


@declaration
class Looking(Connection):
    """What the `host_info` module takes."""

    health: bool = option(
        "Whether the guests are looked at as well: the agents of those that run are asked, for a second at most, and why "
        "one stands still or went off is told.",
        default=False,
    )


@declaration
class Existence:
    """Whether the object exists, and what may be done to bring that about."""

    state: Literal["present", "absent"] = option(
        "Whether the object exists. V(absent) stops it first where it runs; a volume's data goes with it and so must be "
        "named in O(allow.data_loss).",
        spec="IAC-01",
        default="present",
    )
    allow: Allow | None = option("What may be interrupted or lost; nothing when not given.", default=None)
    adopt: bool = option("Take over an object of that name that is not marked as ours.", default=False)


@declaration
class SecretValue:
    """What only the `secret` module takes."""

    value: str | None = option(
        "The value; it is written only where it differs from the one last given. Required for a new secret.",
        spec="SECO-01",
        default=None,
        secret=True,
    )


@declaration
class SecretValues:
    """Values that a definition refers to by name."""

    secrets: dict[str, str] | None = option(
        "Values of the secrets that are referred to by name.", spec="SECO-08", default=None, secret=True
    )


@declaration
class HostRun:
    """What the `host` module takes: everything one host should hold, in one call."""

    slice: dict[str, object] | None = option(
        "What the host should hold: lists named C(secrets), C(pools), C(volumes), C(nwfilters), C(bridges), C(gateways), C(networks) and "
        "C(domains), with entries as the modules of those kinds take them, and the name of the C(site). When not given "
        "the host is only looked at, and the answer is that of M(dos.vm.host_info).",
        spec="IAC-01",
        default=None,
    )
    site: Name = option(
        "The site whose objects are told from others when the host is only looked at.", default=Name("dos")
    )
    files: tuple[AbsolutePath, ...] = option(
        "Files to look for when the host is only looked at; those that are not there are in C(missing_files).",
        spec="IMG-06",
        default=(),
    )
    uri: str = option("Where libvirt is reached from the managed host.", spec="LVD-01", default=URI)
    allow: Allow | None = option("What may be interrupted or lost; nothing when not given.", default=None)
    prune: bool = option("Remove objects of the site that are no longer declared.", default=False)
    adopt: bool = option("Take over objects that are not marked as ours and differ.", default=False)
    seconds: float | None = option(
        "How long one call may work before it reports back with RV(remaining); calling again goes on. No limit when "
        "not given.",
        default=None,
    )


@declaration
class Query:
    """Which objects an information module lists."""

    name: str | None = option("Only objects whose name contains this text.", spec="IAC-07", default=None)
    ours: bool | None = option(
        "Only objects that belong to O(site), or only those that do not.", spec="IAC-07", default=None
    )
