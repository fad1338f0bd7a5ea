# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as README declares them, made of an image in a pool, and what becomes of them when files are not where they should be."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from operators import Operator

pytestmark = pytest.mark.libvirt

POOL = Path("/var/lib/dos-vm/kd-missing")
IMAGE, ASIDE = POOL.with_name("kd-missing.qcow2"), POOL.with_name("kd-missing.aside")
DISK, VM = "volume kd-missing/kd-gone-vda", "domain kd-gone"
LOSS = json.dumps({"dos_allow": ["restart", {"data_loss": [DISK]}]})
SITE: dict[str, Any] = {
    "dos_site": "kd-missing",
    "dos_projects": {"p": {}},
    "dos_pools": {"kd-missing": {"path": str(POOL)}},
    "dos_images": {"small": {"file": str(IMAGE), "format": "qcow2"}},
    "dos_instances": {
        "kd": {
            "project": "p",
            "memory": "32 MiB",
            "stop_timeout": 0,
            "disks": [{"image": "small", "pool": "kd-missing"}],
            "vms": {"kd-gone": {}},
        }
    },
}


def virsh(*arguments: str) -> None:
    subprocess.run(["virsh", *arguments], check=True, capture_output=True)


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", IMAGE, "8M"], check=True)
    made = Operator(tmp_path, json.loads(json.dumps(SITE)))
    try:
        made.play("site")
        yield made
    finally:
        made.site["dos_images"]["small"]["file"] = str(IMAGE)
        made.play("destroy", "-e", "dos_confirm=kd-missing", "-e", LOSS)
        IMAGE.unlink()
        ASIDE.unlink(missing_ok=True)
        assert not POOL.exists() or not list(POOL.iterdir())


def test_a_disk_survives_a_pool_that_is_not_active_a_lost_file_and_an_image_that_does_not_exist(
    operator: Operator,
) -> None:
    """VOL-08, IMG-06, VM-13."""
    disk = POOL / "kd-gone-vda"
    assert operator.state("kd-gone") == "running"

    operator.site["dos_images"]["small"]["file"] = f"{IMAGE}x"
    told = operator.play("plan", "-e", LOSS, succeeds=False)
    assert f"dos_images.small.file: {IMAGE}x is not on here, where {DISK} is to be made of it" in told
    assert f"site.yml:{_line(operator, f'{IMAGE}x')}:" in told
    virsh("destroy", "kd-gone")
    before = _data(disk)
    operator.play("site", "-e", LOSS, succeeds=False)
    assert _data(disk) == before
    operator.site["dos_images"]["small"]["file"] = str(IMAGE)

    virsh("pool-destroy", "kd-missing")
    told = operator.play("plan")
    assert f"+ {DISK}" not in told
    aside = disk.rename(ASIDE)  # not in the pool, where it would be a volume
    for _ in range(2):
        told = operator.play("site")
        assert f"~ {DISK}: its file is missing and {VM} is defined with it" in told
        assert f"withheld until allowed (dos_allow: [data_loss: [{DISK} on here]])" in told
        assert f"~ {VM}  (dos_instances.kd.vms.kd-gone): waits for {DISK}" in told
        assert "(1 withheld, 1 blocked)" in next(line for line in told.splitlines() if "Plan: " in line)
        assert not disk.exists()
        assert operator.state("kd-gone") == "shut off"
    aside.rename(disk)
    operator.play("site")
    assert operator.state("kd-gone") == "running"
    assert disk.stat().st_ino == before[0]


def _data(disk: Path) -> tuple[int, int, int]:
    """What differs once a file is replaced or written; reading it changes only when it was read."""
    seen = disk.stat()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns


def _line(operator: Operator, text: str) -> int:
    lines = (operator.folder / "group_vars" / "all" / "site.yml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)
