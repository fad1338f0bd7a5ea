# SPDX-License-Identifier: GPL-3.0-or-later
"""Where hosts keep what belongs to no pool, for the whole site."""

from __future__ import annotations

from ..model.declaration import declaration, option
from ..model.types import AbsolutePath


@declaration
class Storage:
    """Where hosts keep what belongs to no pool (`dos_storage`)."""

    overlays: AbsolutePath | None = option(
        "Directory of the temporary overlays of read-only images, on every host; beside the image when not given. It must "
        "outlast a restart of the host.",
        spec="SYS-T1.9",
        default=None,
        example="/var/lib/libvirt/overlays",
    )
