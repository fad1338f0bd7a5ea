# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the overlay of a disk that forgets lies, when that is not beside its image.

libvirt makes such an overlay beside the file that a definition names, and calls it `FILE.TRANSIENT-MACHINE`. So the definition
names a link of the machine's own in the declared directory, and its path says all of it:
`DIRECTORY/dosvm-overlays/MACHINE/TARGET/path/of/the/image`. Pure; the links are made in `hypervisor/overlays.py`.
"""

from __future__ import annotations

FOLDER = "dosvm-overlays"
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
    return split(path)[1]


def overlay_of(path: str, machine: str) -> str:
    """The file that libvirt writes to while the machine runs."""
    return f"{path}{SUFFIX}{machine}"
