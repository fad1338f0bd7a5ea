# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image, or the whole site, says of machines whose instance does not say it."""

from __future__ import annotations

from ..model.declaration import declaration, option
from ..model.device import Bus, Cache, CardModel, ScsiModel


@declaration
class Properties:
    """What holds where an instance is silent. What it says itself comes first, then its image, then the site."""

    nic_model: CardModel | None = option("Model of network cards.", spec="DOMX-07", default=None)
    disk_bus: Bus | None = option(
        "Bus of disks; sata and ide not for disks that forget or are read-only, which cannot be on these.",
        spec="DOMX-06",
        default=None,
    )
    scsi_model: ScsiModel | None = option(
        "Model of the controller that disks on bus scsi are on.", spec="IMG-13", default=None
    )
    disk_cache: Cache | None = option("Cache mode of disks and optical drives.", spec="DOMX-14", default=None)
    cores: int | None = option(
        "Cores of a socket; there are as many sockets as the vCPUs make.", spec="DOMX-09", default=None, low=1, high=255
    )
    threads: int | None = option("Threads of a core.", spec="DOMX-09", default=None, low=1, high=255)


SILENT = Properties()
