# SPDX-License-Identifier: GPL-3.0-or-later
"""A new qcow2 file keeps a record of what changes in it, which incremental backups need; one that is there keeps its level."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.apply import converge
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice


def slice_(**volume: Any) -> Slice:
    volumes = [{"pool": "fast", "name": "data", "capacity": "64 MiB", **volume}]
    return decode(Slice, {"pools": [{"name": "fast", "path": "/srv/fast"}], "volumes": volumes})


@pytest.mark.parametrize(
    ("declared", "level"),
    [({}, "1.1"), ({"compat": "0.10"}, "0.10"), ({"format": "raw"}, None), ({"format": "qed"}, None)],
)
def test_a_new_volume_has_the_level_that_is_declared_or_the_newest(declared: dict[str, str], level: str | None) -> None:
    host = FakeHypervisor()
    converge(slice_(**declared), host, permission=Permission())
    assert host.files["/srv/fast/data"].findtext("target/compat") == level


@pytest.mark.parametrize("level", ["0.10", None])
def test_one_that_is_there_keeps_its_level(level: str | None) -> None:
    host = FakeHypervisor()
    converge(slice_(), host, permission=Permission())
    found = host.files["/srv/fast/data"].find("target/compat")
    assert found is not None
    if level is None:
        found.getparent().remove(found)  # type: ignore[union-attr]  # it was found there
    else:
        found.text = level
    assert not converge(slice_(), host, permission=Permission()).changed
