# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the overlay of a disk that forgets lies, when that is not beside its image.

libvirt makes such an overlay beside the file that a definition names, and calls it `FILE.TRANSIENT-MACHINE`. So the definition
names a link of the machine's own in the declared directory, and its path says all of it:
`DIRECTORY/dosvm-overlays/MACHINE/TARGET/path/of/the/image`. Pure; the links are made in `hypervisor/overlays.py`.

The layers of external checkpoints are named likewise: `DIRECTORY/dosvm-checkpoints/MACHINE/MOMENT/TARGET/path/of/the/disk` has what
was written to a disk since a moment. They are made in `hypervisor/external.py`.
"""

from __future__ import annotations

from typing import NamedTuple

FOLDER = "dosvm-overlays"
CHECKPOINTS = "dosvm-checkpoints"
SUFFIX = ".TRANSIENT-"  # libvirt's, before the machine's name


def link(directory: str, machine: str, target: str, file: str) -> str:
    """The link that stands for an image in the definition of a machine."""
    return f"{directory.rstrip('/')}/{FOLDER}/{machine}/{target}{file}"


def split(path: str) -> tuple[str | None, str]:
    """The directory of the overlays, `None` for beside the image, and the image, of the path in a definition."""
    directory, found, rest = path.partition(f"/{FOLDER}/")
    parts = rest.split("/", 2)
    if not found or len(parts) < 3 or not directory:
        return None, path
    return directory, f"/{parts[2]}"


def image_of(path: str) -> str:
    """The file that a path in a definition stands for."""
    layer = layered(path)
    return split(path)[1] if layer is None else layer.file


def overlay_of(path: str, machine: str) -> str:
    """The file that libvirt writes to while the machine runs."""
    return f"{path}{SUFFIX}{machine}"


class Layer(NamedTuple):
    """What has been written to a disk since a checkpoint. `moment` is the checkpoint's name, and after a dot how often it was
    rolled back to; `file` is the disk as it is declared, a file or a block device."""

    directory: str
    machine: str
    moment: str
    target: str
    file: str

    @property
    def folder(self) -> str:
        """Where everything is that checkpoints of the machine keep."""
        return f"{self.directory}/{CHECKPOINTS}/{self.machine}"

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.moment}/{self.target}{self.file}"


def layered(path: str) -> Layer | None:
    """What the path of a layer says; `None` for another file's."""
    directory, found, rest = path.partition(f"/{CHECKPOINTS}/")
    parts = rest.split("/", 3)
    if not found or not directory or len(parts) < 4:
        return None
    machine, moment, target, file = parts
    return Layer(directory, machine, moment, target, f"/{file}")
