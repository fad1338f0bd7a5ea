# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance hands to the cloud-init of its machines."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.seed import BUS, Bus
from ..model.types import Name

OLD_EC2 = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
)  # fmt: skip


@declaration
class InstanceSeed:
    """A disc that each machine gets, from which cloud-init or its like sets the guest up at first boot."""

    type: Literal["nocloud", "config_drive"] = option(
        "NoCloud, or a config drive with the trees of OpenStack and EC2.", spec="CFGD-05", default="nocloud"
    )
    format: Literal["iso9660", "vfat"] = option(
        "An optical disc, or a disk with a FAT file system.", spec="CFGD-02", default="iso9660"
    )
    bus: Bus | None = option(BUS, spec="CFGD-12", default=None)
    on_change: Literal["ignore", "next_boot", "rebuild"] = option(
        "What a change of the seed does to a machine that has one: nothing; it lies in the drive when the guest boots next; or that "
        "too, with an instance id of its own, so that the guest takes itself for a new machine and applies all of it.",
        spec="CFGD-01",
        default="next_boot",
    )
    user_data: str | None = option(
        "User data as they are. `${secret:NAME}` becomes the value of a secret on its way to the host.",
        spec="CFGD-10",
        default=None,
        secret=True,
    )
    user_data_base64: str | None = option("User data in base64.", spec="CFGD-10", default=None, secret=True)
    network: Literal["none", "static"] = option(
        "Whether the guest is told its addresses: `static` gives every card with an `ip` that address, others DHCP.",
        spec="CFGD-08",
        default="none",
    )
    network_config: str | None = option(
        "The network configuration itself, as text that cloud-init reads; instead of `network`, and for NoCloud.",
        spec="CFGD-08",
        default=None,
    )
    public_keys: dict[Name, str] | None = option("SSH public keys by name.", spec="CFGD-09", default=None)
    password: Name | None = option(
        "Secret that holds the password of the guest's default user; the guest gets its hash.",
        spec="CFGD-09",
        default=None,
    )
    files: dict[str, str] | None = option(
        "Files of the guest by path, from its root.", spec="CFGD-08", default=None, secret=True
    )
    metadata: dict[str, str] | None = option("Keys and values for the guest.", spec="CFGD-09", default=None)
    ec2_skip: tuple[str, ...] = option(
        "Versions that are left out of the tree of EC2.", spec="CFGD-07", default=OLD_EC2
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.user_data is not None and self.user_data_base64 is not None:
            yield "user_data_base64", "says the same as user_data, write one of them"
        if self.network_config is not None and self.network != "none":
            yield "network_config", "is written instead of network, leave out one of them"
        if self.network_config is not None and self.type != "nocloud":
            yield "network_config", "is for type: nocloud; a config drive has network: static"
        if self.user_data_base64 is not None and self.user is None:
            yield "user_data_base64", "is not base64 of text, write user_data as it is"
        for path in self.files or {}:
            if not path.startswith("/") or ".." in path.split("/"):
                yield f"files.{path}", "is a path of the guest, write it from the root, like /etc/motd"

    @property
    def user(self) -> str | None:
        """The user data, decoded (CFGD-10)."""
        if self.user_data_base64 is None:
            return self.user_data
        try:
            return base64.b64decode(self.user_data_base64, validate=True).decode()
        except (binascii.Error, ValueError):
            return None
