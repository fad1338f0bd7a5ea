# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine reads of the file below its disk is in the disk afterwards, where that is asked for, and else is not."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from guests import wait_for

from dosvm.apply import converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice

pytestmark = pytest.mark.libvirt

MIB = 2**20


@pytest.fixture
def layer() -> Iterator[Path]:
    """A layer with nothing in it, over a file that has a boot sector's mark, where QEMU may read both."""
    folder = Path("/var/tmp") / f"cor-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    base, made = folder / "base.raw", folder / "layer.qcow2"
    base.write_bytes(os.urandom(510) + b"\x55\xaa" + os.urandom(MIB - 512))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", made], check=True)
    yield made
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


def held(layer: Path) -> int:
    """Bytes of data that are in the layer itself."""
    told = subprocess.run(["qemu-img", "map", "--output=json", layer], check=True, capture_output=True).stdout
    return sum(part["length"] for part in json.loads(told) if part["depth"] == 0 and part["data"])


@pytest.mark.parametrize("asked", [True, False])
def test_what_the_firmware_read_is_in_the_layer(
    hypervisor: LibvirtHypervisor, prefix: str, layer: Path, asked: bool
) -> None:
    """DISK-T1.4, DISK-05: it need not come over the network a second time; unasked, a layer has only what was written."""
    disk = {"file": str(layer), "format": "qcow2", "copy_on_read": asked, "bus": "sata"}
    domain = {"name": prefix, "mark": {"site": "test"}, "virt_type": "qemu", "memory": "32 MiB", "machine": "q35"}
    declared = {"site": "test", "domains": [{**domain, "disks": [disk], "stop_timeout": 0}]}
    assert held(layer) == 0
    assert converge(decode(Slice, declared), hypervisor, permission=Permission()).failures == ()
    running = hypervisor._connection.lookupByName(prefix)
    wait_for("a read of the boot sector", lambda: running.blockStats("sda")[1] >= 512)
    running.destroy()
    assert (held(layer) > 0) == asked
