# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest reads when it boots for the first time: a small disc with files, made on the host."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .device import Bus
from .types import Name

ROOT = "/var/lib/libvirt/dos-vm/seeds"  # where hosts keep them, a directory for each machine
# Stands in a file for what only the host that writes it is told: `${secret:NAME}`, or `${hash:NAME}` for a password's hash.
REFERENCE = re.compile(r"\$\{(secret|hash):([A-Za-z0-9][A-Za-z0-9._-]{0,63})\}")
PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")

BUS = (
    "Bus it is on; sata or ide for an optical disc, virtio for a disk, when not given. An optical disc on virtio is a disk with the "
    "file system of one: kernels of cloud images often know no other bus."
)


@declaration
class Seed:
    """A disc for a guest's cloud-init or its like, with the files that are on it."""

    format: Literal["iso9660", "vfat"] = option(
        "An optical disc, or a disk with a FAT file system.", spec="CFGD-02", default="iso9660"
    )
    bus: Bus | None = option(BUS, spec="CFGD-12", default=None)
    label: str = option("Label by which the guest finds it.", spec="CFGD-03", default="cidata", example="config-2")
    files: dict[str, str] = option(
        "The files by path. `${secret:NAME}` in one becomes the value of that secret, `${hash:NAME}` its hash as a password.",
        spec="CFGD-05",
        secret=True,
    )
    on_change: Literal["ignore", "next_boot"] = option(
        "Whether a machine that has a seed gets another one when this changes; the guest sees it when it boots next.",
        spec="CFGD-01",
        default="next_boot",
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,11}", self.label):
            yield "label", "must be 1 to 11 letters, digits, '-' and '_', such as cidata or config-2"
        if self.format == "vfat" and self.bus in ("sata", "ide"):
            yield "bus", f"is a disk that cannot be read-only on {self.bus}, write bus: virtio, scsi or usb (DISK-T1.9)"
        for path in self.files:
            parts = path.split("/")
            if not all(PART.fullmatch(part) and part not in (".", "..") for part in parts):
                yield (
                    f"files.{path}",
                    "is not a path on a disc, write names with letters, digits, '-', '_' and '.' between '/'",
                )

    @property
    def digest(self) -> str:
        """Tells seeds apart, by all that is on them but the values of secrets."""
        text = json.dumps([self.format, self.label, sorted(self.files.items())], ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, machine: str) -> str:
        """Where the seed of a machine is. Another seed is another file, so that a change shows as a change of medium."""
        return f"{ROOT}/{machine}/{self.digest}.{'iso' if self.format == 'iso9660' else 'img'}"

    def secrets(self) -> list[Name]:
        """The secrets that the files refer to."""
        return sorted({Name(found[1]) for text in self.files.values() for found in REFERENCE.findall(text)})
