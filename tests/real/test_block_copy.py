# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk goes to another pool while its guest writes to it and checks what it wrote."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.block_copy import block_copy
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice

ROOT = Path(__file__).resolve().parents[2]
# Writes a block with its own number everywhere in turn, reads back a block that was written before, and counts both.
WRITER = """
n=0; bad=0
while [ ! -e /run/stop ]; do
    n=$((n+1)); at=$((n % 4096))
    printf '%-512s' "block $n" | dd of=/dev/vda bs=512 seek=$at conv=notrunc,fsync 2>/dev/null
    old=$((n / 2 + 1)); [ $((n - old)) -lt 4096 ] || old=$n
    got=$(dd if=/dev/vda bs=512 skip=$((old % 4096)) count=1 iflag=direct 2>/dev/null)
    case "$got" in "block $old "*) ;; *) bad=$((bad+1)) ;; esac
    [ $((n % 20)) = 0 ] && echo "=$n bad=$bad="
done
echo "=end $n bad=$bad="
"""


class Console:
    """The serial line of the guest."""

    def __init__(self, path: Path) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(str(path))
        self._line.settimeout(120)
        self.said = ""

    def close(self) -> None:
        self._line.close()

    def wait(self, text: str) -> str:
        while text not in self.said:
            piece = self._line.recv(4096).decode(errors="replace")
            assert piece, self.said
            self.said += piece
        before, _, self.said = self.said.partition(text)
        return before

    def type(self, text: str) -> None:
        for line in text.strip().splitlines():
            self._line.sendall(f"{line}\n".encode())


@pytest.fixture
def folder() -> Iterator[Path]:
    subprocess.run([sys.executable, ROOT / "tools" / "guest_image.py"], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(prefix="dosvm-copy-", dir="/var/lib") as name:
        path = Path(name)
        path.chmod(0o777)
        for file in ("vmlinuz", "initrd"):
            shutil.copy(ROOT / ".cache" / "guest" / file, path)
        yield path


def test_a_disk_moves_under_a_guest_that_writes(hypervisor: LibvirtHypervisor, prefix: str, folder: Path) -> None:
    old, new = f"{prefix}-old", f"{prefix}-new"
    serial = f"<devices><serial type='unix'><source mode='bind' path='{folder}/line'/></serial></devices>"

    def run(*volumes: str, disk: str) -> Outcome:
        slice_ = {
            "site": "test",
            "pools": [{"name": name, "path": str(folder / name)} for name in (old, new)],
            "volumes": [{"pool": pool, "name": "data", "capacity": "16 MiB"} for pool in volumes],
            "domains": [
                {
                    "name": prefix, "memory": "96 MiB", "kernel": str(folder / "vmlinuz"), "stop_timeout": 0,
                    "initrd": str(folder / "initrd"), "cmdline": "console=ttyS0 quiet mitigations=off nokaslr",
                    "disks": [{"pool": disk, "volume": "data", "format": "qcow2", "target": "vda"}],
                    "mark": {"site": "test"}, "xml": [serial],
                }
            ],
        }  # fmt: skip
        outcome = converge(decode(Slice, slice_), hypervisor, permission=Permission())
        assert outcome.failures == ()
        return outcome

    run(old, new, disk=old)
    with closing(Console(folder / "line")) as console:
        _check(console, hypervisor, prefix, folder, run)


def _check(
    console: Console, hypervisor: LibvirtHypervisor, prefix: str, folder: Path, run: Callable[..., Outcome]
) -> None:
    old, new = f"{prefix}-old", f"{prefix}-new"
    console.wait("# ")
    console.type("cat > /run/writer <<'EOF'\n" + WRITER.strip() + "\nEOF\nsh /run/writer & \n")
    console.wait("=20 bad=0=")
    domain = hypervisor._find(Address("domain", prefix))
    path = str(folder / new / "data")
    deadline = time.monotonic() + 120
    while not block_copy(domain, "vda", new, "data", path, "qcow2", 2).done:
        assert time.monotonic() < deadline
    console.said = ""
    console.wait("0 bad=0=")  # it goes on writing, to the copy now
    console.type("touch /run/stop")
    console.wait("=end ")
    assert console.wait("\n").strip().endswith("bad=0=")
    assert not run(old, new, disk=new).changed, "the declaration that names the new volume is already true"
    before = (folder / old / "data").stat().st_mtime_ns
    console.type("dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync; echo written-$((1+1))")
    console.wait("written-2")
    assert (folder / old / "data").stat().st_mtime_ns == before
