# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools of every type: what is written can be read back, and what libvirt adds to it is no difference."""

from __future__ import annotations

from typing import Any

import pytest

from dosvm.errors import DeclarationError
from dosvm.model.decode import decode
from dosvm.model.pool import Pool
from dosvm.plan.definition import differ
from dosvm.xml.build import E
from dosvm.xml.normalize import normalize
from dosvm.xml.pool import MOUNT, SHAPE, parse, render

SOURCES: dict[str, dict[str, Any]] = {
    "netfs": {"server": "nas", "export": "/e", "format": "nfs", "version": "4.2"},
    "cifs": {"server": "nas", "export": "e", "format": "cifs", "user": "u", "secret": "smb"},
    "iscsi": {"server": "san", "port": 3261, "target": "iqn.a", "user": "u", "secret": "chap"},
    "disk": {"devices": ["/dev/sdb"], "format": "dos"},
    "logical": {"devices": ["/dev/sdb", "/dev/sdc"], "format": "lvm2"},
    "rbd": {"servers": ["m1", "m2"], "port": 6789, "name": "vms", "user": "admin", "secret": "cephx"},
    "zfs": {"name": "tank/vms", "devices": ["/dev/sdd"]},
}


def pool(kind: str, **more: Any) -> Pool:
    """A pool of a type, or of the network file system of that name."""
    type_ = "netfs" if kind == "cifs" else kind
    path = {"path": "/srv/nas"} if type_ == "netfs" else {}
    return decode(Pool, {"name": "p", "type": type_, "source": {**SOURCES[kind], **more}, **path})


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_written_is_read_back(kind: str) -> None:
    declared = pool(kind)
    assert decode(Pool, parse(normalize(render(declared), SHAPE))) == declared


@pytest.mark.parametrize("kind", SOURCES)
def test_what_libvirt_adds_is_no_difference(kind: str) -> None:
    observed = render(pool(kind))
    observed.extend(E(tag, 4096, unit="bytes") for tag in ("capacity", "allocation", "available"))
    for device in observed.iterfind("source/device"):
        device.append(E("freeExtent", start=32256, end=1073741824))
    assert differ(render(pool(kind)), observed, SHAPE).changes == ()


def test_the_port_that_libvirt_notes_when_a_machine_opens_a_lun_is_no_difference() -> None:
    silent = render(pool("iscsi", port=None))
    assert differ(silent, render(pool("iscsi", port=3260)), SHAPE).changes == ()
    (change,) = differ(silent, render(pool("iscsi", port=3261)), SHAPE).changes
    assert change.xpath == "pool/source/host/@port"


@pytest.mark.parametrize(
    ("kind", "more", "path"),
    [
        ("netfs", {"server": "other"}, "pool/source/host"),
        ("netfs", {"version": None}, "pool/source/protocol/@ver"),
        ("cifs", {"user": "v"}, f"pool/{MOUNT}mount_opts/{MOUNT}option"),
        ("iscsi", {"target": "iqn.b"}, "pool/source/device"),
        ("iscsi", {"user": "v"}, "pool/source/auth/@username"),
        ("logical", {"devices": ["/dev/sdb"]}, "pool/source/device"),
        ("disk", {"format": "gpt"}, "pool/source/format/@type"),
    ],
)
def test_what_the_operator_changes_is_one(kind: str, more: dict[str, Any], path: str) -> None:
    changes = differ(render(pool(kind, **more)), render(pool(kind)), SHAPE).changes
    assert {change.xpath for change in changes} == {path}


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind not in ("netfs", "cifs")])
def test_a_path_that_is_fixed_is_not_written(kind: str) -> None:
    with pytest.raises(DeclarationError, match="leave it out"):
        decode(Pool, {"name": "p", "type": kind, "source": SOURCES[kind], "path": "/srv/x"})
