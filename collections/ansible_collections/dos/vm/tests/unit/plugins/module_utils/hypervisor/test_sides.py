# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files several hosts see at once, by the file system they are on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dosvm.hypervisor.sides import is_shared

MOUNTS = """22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /srv/shared rw - nfs4 server:/vms rw
31 30 8:2 / /srv/shared/local rw - xfs /dev/sdb rw
32 22 0:41 / /srv/with\\040space rw - ceph mon:/ rw
"""


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/srv/shared/web", True),
        ("/srv/shared/local/web", False),
        ("/srv/sharedish/web", False),
        ("/srv/with space/web", True),
        ("/var/lib/libvirt/images/web", False),
    ],
)
def test_the_innermost_mount_decides(tmp_path: Path, path: str, shared: bool) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert is_shared(path, table) is shared
