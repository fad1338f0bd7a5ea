# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a host is to have, as files: those that have a checksum to be proven by, or a size that counts for a quota."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ..model.image import ImageFile
from ..model.types import Name
from ..site.site import Site


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
