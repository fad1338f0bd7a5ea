#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""1,000 volumes in one pool of this machine's libvirt, made, kept and changed; and one image converted and sent, beside the
plain programs that do the same.

    .venv/bin/python tests/perf/bench_storage.py [--volumes 1000] [--mib 512] [--rounds 7] [--json FILE]

Ratios of one run are what counts; short measurements are repeated, and what each way of an image takes is told by its median,
because disks vary more than processors. Everything is named `bench-storage` and removed at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

from running import seconds, start_libvirt, tell

from dosvm.apply import converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.image import convert
from dosvm.image.digest import digest
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


def images(folder: Path, mib: int, zeros: bool, rounds: int) -> dict[str, list[float]]:
    """One image of random bytes, with as many `zeros` or with none, through each way.

    Each makes a file that was not there, on a disk that has nothing else to write: a file that is written over again finds its
    blocks still there, which on some disks is half of the work. The page cache is warm for all of them.
    """
    source, made = folder / "source.raw", folder / "made"
    with source.open("wb") as file:
        for _ in range(mib // 2 if zeros else mib):
            file.write(os.urandom(MIB))
            file.seek(MIB if zeros else 0, os.SEEK_CUR)
        file.truncate(mib * MIB)
    plain = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(source), str(made)]
    ways: dict[str, Callable[[], object]] = {
        "qemu-img convert, then sync": lambda: _synced(plain, made),
        "dos.vm convert, checked and compared": lambda: convert.convert(
            Convert(source=DiskName(str(source)), format="qcow2"), str(source), str(made), silent
        ),
        "cp, then sync": lambda: _synced(["cp", str(source), str(made)], made),
        "dos.vm copy on one machine, hashed and synced": lambda: _copied(source, made),
        "cp and sha256sum, then sync": lambda: _proven(source, made),
        "dos.vm pieces, then sync": lambda: _sent(source, made),
        "sha256 of it": lambda: digest(str(source), "read", silent),
        "sha256sum": lambda: subprocess.run(["sha256sum", source], check=True, capture_output=True),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    turns = random.Random(mib)
    for _ in range(rounds):
        # By lot: whoever comes next may get the blocks that another has just let go of.
        for name, way in turns.sample(list(ways.items()), len(ways)):
            os.sync()
            found[name].append(seconds(way))
            made.unlink(missing_ok=True)
    return found


def _synced(command: list[str], path: Path) -> None:
    subprocess.run(command, check=True)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _copied(source: Path, made: Path) -> None:
    """What `dos.vm.image` does where host and controller are one machine."""
    part = made.with_name("part")
    receive(str(source), str(part), silent)
    convert.settle(str(part), str(made))


def _proven(source: Path, made: Path) -> None:
    """The same by plain programs: nobody knows what `cp` wrote until it is read again."""
    _synced(["cp", "--sparse=always", str(source), str(made)], made)
    subprocess.run(["sha256sum", made], check=True, capture_output=True)


def _sent(source: Path, made: Path) -> None:
    """What `dos.vm.image` does on any other connection, but for the connection: one `dd` for each piece that is not zeros."""
    offset = 0
    with source.open("rb") as file:
        while piece := file.read(PIECE):
            if piece == bytes(len(piece)):
                offset += len(piece)
                continue
            command = f"dd of={made} bs=64k iflag=fullblock oflag=seek_bytes seek={offset} conv=notrunc status=none"
            # In one write, as Ansible's ssh does; `communicate` would send 4 KiB at a time.
            with subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE) as running:
                assert running.stdin is not None
                running.stdin.write(piece)
            assert running.returncode == 0
            offset += len(piece)
    with made.open("rb+") as file:
        os.fsync(file.fileno())


def clean() -> None:
    """Remove what a run made."""
    for command in ("pool-destroy", "pool-undefine"):
        subprocess.run(["virsh", "-q", command, NAME], capture_output=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--volumes", type=int, default=1000)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    start_libvirt()
    clean()
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-", dir="/var/lib") as folder:
        try:
            pool = Path(folder) / "pool"
            held = volumes(pool, asked.volumes) if asked.volumes else {}
        finally:
            clean()
        images_of = {
            "half of it zeros": images(Path(folder), asked.mib, True, asked.rounds),
            "random bytes": images(Path(folder), asked.mib, False, asked.rounds),
        }
    lines = [f"{asked.volumes} volumes"] if held else []
    lines += [f"  {name:46} {taken:6.2f} s" for name, taken in held.items()]
    for title, ways in images_of.items():
        lines += [f"{asked.mib} MiB, {title}; median, fastest and slowest of {asked.rounds}"]
        for name, taken in ways.items():
            lines.append(f"  {name:46} {statistics.median(taken):6.2f} s  {min(taken):6.2f} s  {max(taken):6.2f} s")
    tell({"volumes": held, "images": images_of}, "\n".join(lines), asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
