# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a host is to have, as files: those that are brought or proven, and those that must be there already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ..model.image import ImageFile
from ..model.overlay import image_of
from ..model.slice import Slice
from ..model.types import AbsolutePath, Name
from ..site.index import Finding
from ..site.site import Site
from .states import HostState


def images_by_host(site: Site) -> Mapping[Name, tuple[ImageFile, ...]]:
    """By host. Of the hosts that share a file the first by name has it brought there, and it is there for all (IMG-12)."""
    found: defaultdict[Name, list[ImageFile]] = defaultdict(list)
    for image in site.images.values():
        if image.checksum is None and (image.project is None or image.size is None):
            continue
        hosts = sorted(site.hosts_of(image) or site.hosts)
        file = ImageFile(
            file=image.file,
            format=image.format,
            checksum=image.checksum,
            source=image.source,
            at_most=image.size if image.project else None,
        )
        for host in hosts[:1] if image.shared else hosts:
            found[host].append(file)
    return {host: tuple(files) for host, files in found.items()}


def files_to_find(site: Site) -> list[AbsolutePath]:
    """The files of images that dos.vm does not bring: they must be on a host before a volume or a VM there needs them."""
    return sorted({image.file for image in site.images.values() if image.source is None})


def missing_images(site: Site, slices: Mapping[str, Slice], states: Mapping[str, HostState]) -> Iterator[Finding]:
    """IMG-06: every image whose file is not on a host where something is to be made of it, once."""
    named = {str(image.file): name for name, image in site.images.items() if image.source is None}
    for host, state in states.items():
        for what, path in _needed(slices[host], state) if state.missing_files else ():
            if path in state.missing_files and path in named:
                text = f"{path} is not on {host}, where {what} is to be made of it: put the file there, or set source and checksum"
                yield Finding(("dos_images", named.pop(path), "file"), text)


def _needed(held: Slice, state: HostState) -> Iterator[tuple[str, str]]:
    """What a host is to make, and the file that it is to be made of. What is there already on that very file is made."""
    for volume in held.volumes:
        name, path = f"{volume.pool}/{volume.name}", volume.backing.path if volume.backing else None
        if path is not None and (name not in state.volumes or state.backings.get(name, path) != path):
            yield f"volume {name}", path
    for domain in held.domains:
        files = {image_of(disk.file) for disk in domain.disks if disk.file}
        yield from ((f"VM {domain.name}", path) for path in files - state.disks.get(domain.name, frozenset()))
