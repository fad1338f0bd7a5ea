# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance hands to the cloud-init of its machines."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Literal

from ..model.declaration import declaration, option
from ..model.device import Bus
from ..model.injection import PARTITION, refusal
from ..model.seed import BUS
from ..model.types import Name

OLD_EC2 = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
)  # fmt: skip
OF_A_DRIVE = ("user_data", "user_data_base64", "network_config", "bus")


@declaration
class InstanceSeed:
    """A disc that each machine gets, from which cloud-init or its like sets the guest up at first boot."""

    type: Literal["nocloud", "config_drive", "injected"] = option(
        "NoCloud, or a config drive with the trees of OpenStack and EC2; or no drive: `injected` writes keys, network, metadata, root's "
        "password and files into each machine's own disk before its first start, for guests that read no drive.",
        spec="CFGD-05",
        default="nocloud",
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
    append: dict[str, str] | None = option(
        "Texts by path that are written at the ends of files, with `injected`.",
        spec="INJ-07",
        default=None,
        secret=True,
    )
    partition: int | None = option(f"With `injected`: {PARTITION}", spec="INJ-02", default=None, low=0, high=128)
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
        for name in ("files", "append"):
            for path in getattr(self, name) or {}:
                if (wrong := refusal(path)) is not None:
                    yield f"{name}.{path}", wrong
        yield from self._check_injected() if self.type == "injected" else self._check_drive()

    def _check_injected(self) -> Iterator[tuple[str, str]]:
        for name in OF_A_DRIVE:
            if getattr(self, name) is not None:
                yield name, "is read from a drive, write it to a file under files, or use type: nocloud (INJ-01)"
        if self.format != "iso9660" or self.on_change != "next_boot":
            yield "type", "injected has no drive, leave out format and on_change"
        for path in sorted({*(self.files or {})} & {*(self.append or {})}):
            yield f"append.{path}", "is written whole by files already, leave out one of them"

    def _check_drive(self) -> Iterator[tuple[str, str]]:
        for name in ("append", "partition"):
            if getattr(self, name) is not None:
                yield name, "is for type: injected"

    @property
    def user(self) -> str | None:
        """The user data, decoded (CFGD-10)."""
        if self.user_data_base64 is None:
            return self.user_data
        try:
            return base64.b64decode(self.user_data_base64, validate=True).decode()
        except (binascii.Error, ValueError):
            return None
