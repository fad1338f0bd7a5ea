#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""1,000 volumes in one pool of this machine's libvirt, made, kept and changed; and one image converted and sent, beside the
plain programs that do the same.

    .venv/bin/python tests/perf/bench_storage.py [--volumes 1000] [--mib 512] [--json FILE]

Ratios of one run are what counts; short measurements are repeated and the fastest counts. Everything is named `bench-storage`
and removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

from running import seconds, start_libvirt

from dosvm.apply import converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.image import convert
from dosvm.image.file import _digest
from dosvm.image.receive import receive
from dosvm.model.address import Address
from dosvm.model.decode import decode
from dosvm.model.image import Convert, DiskName
from dosvm.model.slice import Permission, Slice

NAME = "bench-storage"
MIB = 2**20
PIECE = 32 * MIB


def silent(step: str, percent: float) -> None:
    """A report that nobody reads."""


def volumes(folder: Path, count: int) -> dict[str, float]:
    """A pool full of volumes, by the library in process."""

    def slice_(size: str) -> Slice:
        held = [{"pool": NAME, "name": f"v{at}", "capacity": size if at == 0 else "16 MiB"} for at in range(count)]
        pool = {"name": NAME, "path": str(folder), "autostart": False}
        return decode(Slice, {"site": NAME, "pools": [pool], "volumes": held})

    found: dict[str, float] = {}
    with closing(LibvirtHypervisor()) as hypervisor:

        def run(size: str) -> object:
            outcome = converge(slice_(size), hypervisor, permission=Permission())
            assert not outcome.failures
            return outcome

        found["first apply"] = seconds(lambda: run("16 MiB"))
        found["no-op"] = seconds(lambda: run("16 MiB"), 3)
        found["one change"] = seconds(lambda: run("64 MiB"))
        found["refresh by libvirt"] = seconds(lambda: hypervisor.refresh(Address("pool", NAME)), 3)
        found["libvirt's bare reads"] = seconds(lambda: _read(hypervisor), 3)
    return found


def _read(hypervisor: LibvirtHypervisor) -> list[str]:
    pool = hypervisor._connection.storagePoolLookupByName(NAME)
    return [volume.XMLDesc() for volume in pool.listAllVolumes()]


def images(folder: Path, mib: int, zeros: bool) -> dict[str, float]:
    """One image of random bytes, with as many `zeros` or with none, through each way; the page cache is warm for all of them."""
    source, copied, ours = folder / "source.raw", folder / "copied", folder / "ours"
    with source.open("wb") as file:
        for _ in range(mib // 2 if zeros else mib):
            file.write(os.urandom(MIB))
            file.seek(MIB if zeros else 0, os.SEEK_CUR)
        file.truncate(mib * MIB)
    asked = Convert(source=DiskName(str(source)), format="qcow2")
    plain = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(source), str(copied)]
    found: dict[str, float] = {}

    def ourselves(check: bool) -> None:
        verify = convert.verify
        convert.verify = verify if check else lambda *how, **more: None
        try:
            convert.convert(asked, str(source), str(ours), silent)
        finally:
            convert.verify = verify

    subprocess.run(plain, check=True)
    found["qemu-img convert, then sync"] = seconds(lambda: _synced(plain, copied), 3)
    found["dos.vm convert, not compared"] = seconds(lambda: ourselves(False), 3)
    found["dos.vm convert, checked and compared"] = seconds(lambda: ourselves(True), 3)
    found["cp, then sync"] = seconds(lambda: _synced(["cp", str(source), str(copied)], copied), 3)
    found["dos.vm copy on one machine, hashed and synced"] = seconds(lambda: _copied(source, ours), 3)
    found["cp and sha256sum, then sync"] = seconds(lambda: _proven(source, copied), 3)
    found["dos.vm pieces, then sync"] = seconds(lambda: _sent(source, ours), 3)
    found["sha256 of it"] = seconds(lambda: _digest(str(source), silent), 2)
    found["sha256sum"] = seconds(lambda: subprocess.run(["sha256sum", source], check=True, capture_output=True), 2)
    return found


def _synced(command: list[str], path: Path) -> None:
    subprocess.run(command, check=True)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _copied(source: Path, ours: Path) -> None:
    """What `dos.vm.image` does where host and controller are one machine."""
    part = ours.with_name("part")
    receive(str(source), str(part), silent)
    convert.settle(str(part), str(ours))


def _proven(source: Path, copied: Path) -> None:
    """The same by plain programs: nobody knows what `cp` wrote until it is read again."""
    _synced(["cp", "--sparse=always", str(source), str(copied)], copied)
    subprocess.run(["sha256sum", copied], check=True, capture_output=True)


def _sent(source: Path, part: Path) -> None:
    """What `dos.vm.image` does on any other connection, but for the connection: one `dd` for each piece that is not zeros."""
    part.unlink(missing_ok=True)
    offset = 0
    with source.open("rb") as file:
        while piece := file.read(PIECE):
            if piece == bytes(len(piece)):
                offset += len(piece)
                continue
            command = f"dd of={part} bs=1M iflag=fullblock oflag=seek_bytes seek={offset} conv=notrunc status=none"
            subprocess.run(["/bin/sh", "-c", command], input=piece, check=True)
            offset += len(piece)
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def clean() -> None:
    """Remove what a run made."""
    for command in ("pool-destroy", "pool-undefine"):
        subprocess.run(["virsh", "-q", command, NAME], capture_output=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--volumes", type=int, default=1000)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    start_libvirt()
    clean()
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-", dir="/var/lib") as folder:
        try:
            pool = Path(folder) / "pool"
            found = {"volumes": volumes(pool, asked.volumes)} if asked.volumes else {}
        finally:
            clean()
        found["images"] = images(Path(folder), asked.mib, zeros=True)
        found["images without zeros"] = images(Path(folder), asked.mib, zeros=False)
    for title, rows in found.items():
        print(f"{title} ({asked.volumes if title == 'volumes' else f'{asked.mib} MiB'})")
        for name, taken in rows.items():
            print(f"  {name:40} {taken:8.2f} s")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
