# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the overlays of read-only images lie: the host's word, the site's, or beside the image (AMB-21)."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.compile.site import compile_site
from dosvm.compile.states import HostState
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.load import load

IMAGES = {
    "base": {"file": "/srv/base.qcow2", "format": "qcow2"},
    "own": {"file": "/srv/own.raw", "format": "raw", "read_only": False},
}


def overlays(**more: Any) -> list[str | None]:
    """Of the disks of one machine: a read-only image that is written, one that is not, and an image that is not read-only."""
    disks = [{"image": "base"}, {"image": "base", "read_only": True}, {"image": "own"}]
    site = {"dos_projects": {"p": {}}, "dos_images": IMAGES, **more}
    site["dos_instances"] = {"i": {"project": "p", "memory": "64 MiB", "disks": disks, "vms": {"m": {}}}}
    compiled = compile_site(load(site, hosts=("h1",)), {"h1": HostState(facts=FakeHypervisor().facts())}, now=0.0)
    return [disk.overlays for disk in compiled.slices["h1"].domains[0].disks]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, None),
        ({"dos_storage": {"overlays": "/var/site"}}, "/var/site"),
        ({"dos_host_settings": {"h1": {"overlays": "/var/host"}}}, "/var/host"),
        ({"dos_storage": {"overlays": "/a"}, "dos_host_settings": {"h1": {"overlays": "/var/host"}}}, "/var/host"),
    ],
)
def test_a_host_speaks_before_the_site(declared: dict[str, Any], expected: str | None) -> None:
    assert overlays(**declared) == [expected, None, None]
