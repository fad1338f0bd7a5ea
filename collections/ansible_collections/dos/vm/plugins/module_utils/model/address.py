# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object is called between the layers, and whose it is."""

from __future__ import annotations

import uuid
from typing import Literal, NamedTuple

from .declaration import declaration, option
from .on_boot import OnBoot
from .types import Name, Uuid

KindName = Literal["secret", "pool", "volume", "nwfilter", "bridge", "gateway", "network", "domain"]

NAMESPACE = "urn:dos:vm:1"  # of the mark in <metadata>
_UUIDS = uuid.UUID("6f6d1d4c-9d0f-5c2f-8a1e-0d05d05d05d0")


class Address(NamedTuple):
    """One object of a host: `network lab`, or `volume pool/name`."""

    kind: KindName
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@declaration
class Mark:
    """Whose an object is: written into `<metadata>` where libvirt has it, so that a host can be read without our store."""

    site: Name = option("The site that declares the object.", spec="DOMX-03", default=Name("dos"))
    project: Name | None = option("The project that owns it.", spec="PROJ-01", default=None)
    origin: str | None = option(
        "Where in the inventory it is declared.", default=None, example="dos_instances.web.vms.web-1"
    )
    stop_timeout: int | None = option(
        "Seconds a machine gets to power off, for when its declaration is gone.",
        spec="AMB-32",
        default=None,
        low=0,
        high=3600,
    )
    image: Name | None = option("The image that a machine's first disk is made of.", spec="DOMX-03", default=None)
    created: int | None = option(
        "When a machine was defined first, in seconds since 1970; written by the host, and kept.",
        spec="VM-T1.8",
        default=None,
        low=1,
    )
    epoch: int | None = option(
        "The placement that the definition was made under; a higher one on another host is the newer. Kept when not given.",
        spec="ARCH-10",
        default=None,
        low=1,
    )
    on_boot: OnBoot | None = option(
        "What is declared of a VM for the boot of its host, for operations that turn it on and off.", default=None
    )


def own_uuid(site: str, address: Address) -> Uuid:
    """The UUID that marks an object of ours where libvirt keeps no metadata (pools, filters, secrets).

    A function of site and address alone: a host can tell what is ours though every file about it was lost.
    """
    return Uuid(str(uuid.uuid5(_UUIDS, f"{site}/{address.kind}/{address.name}")))
