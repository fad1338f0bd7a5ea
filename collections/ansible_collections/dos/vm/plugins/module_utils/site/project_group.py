# SPDX-License-Identifier: GPL-3.0-or-later
"""A project group: projects that share a directory of files, and see each other's images."""

from __future__ import annotations

from ..model.declaration import declaration, option
from ..model.types import AbsolutePath


@declaration
class ProjectGroup:
    """Projects that belong together. A site without any has one group, of all its projects."""

    directory: AbsolutePath = option(
        "Directory of the files of its projects, the same on every host; best on a cluster file system.",
        spec="PGRP-T1.2",
        example="/srv/shared/shop",
    )
    label: str | None = option("Label in any script.", spec="PGRP-T1.1", default=None)
    description: str | None = option("Free text.", spec="PGRP-T1.3", default=None)
