# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a disk is: its own capacity, else that of what it is layered over. `None` is a size that nothing declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..model.types import Name
from .image import Image
from .instance import Instance, InstanceDisk
from .site import Site
from .volume import Volume

Observed = Mapping[tuple[str, int], int]  # bytes by VM and number of its disk, or by declared volume and 0


class Sizes:
    """The logical sizes of a site. `observed` are those that hosts have, which count where none is declared."""

    def __init__(self, site: Site, observed: Observed | None = None) -> None:
        self._site, self._observed = site, observed or {}

    def of_volume(self, name: str) -> int | None:
        """A declared volume; of a chain the first that says it, from the top. A LUN has the size that its target gives it."""
        return self._declared(name) or self._observed.get((name, 0))

    def _declared(self, name: str) -> int | None:
        seen: set[str] = set()
        volume: Volume | None = self._site.volumes.get(Name(name))
        while volume is not None and name not in seen:
            seen.add(name)
            if volume.capacity is not None:
                return volume.capacity
            if volume.image is not None:
                return self.of_image(volume.image)
            name = str(volume.base)
            volume = self._site.volumes.get(Name(name)) if volume.base else None
        return None

    def of_disk(self, disk: InstanceDisk, vm: str, number: int) -> int | None:
        """A disk that each VM of an instance has for itself."""
        size = self.of_own(disk)
        return size if size is not None else self._observed.get((vm, number))

    def of_own(self, disk: InstanceDisk) -> int | None:
        """The same, as far as it is declared."""
        return disk.capacity if disk.capacity is not None else self.of_image(disk.image) if disk.image else None

    def of_image(self, name: Name) -> int | None:
        """The virtual size of an image: what its disks need, or of a raw one the size of its file."""
        image: Image | None = self._site.images.get(name)
        if image is None:
            return None
        return image.min_disk or (image.size if image.format == "raw" else None)


def own_disks(instance: Instance) -> Iterator[tuple[int, InstanceDisk]]:
    """The disks of which each VM has one for itself, with their numbers."""
    return ((number, disk) for number, disk in enumerate(instance.disks) if disk.pool and not disk.volume)


def remedy(image: str | None) -> str:
    """What to write where a size is not known, as part of a sentence."""
    return f"set capacity here, or min_disk of image {image}" if image else "set capacity"
