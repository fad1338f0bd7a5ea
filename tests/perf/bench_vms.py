#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""200 machines, defined and off, of which 20 are then started: by dos.vm in its three ways, by `virsh`, and by libvirt's own calls.

    .venv/bin/python tests/perf/bench_vms.py [--domains 200] [--running 20] [--json FILE]

What runs is emulated firmware with an empty disk: it comes to nothing, so that a guest's own boot is not measured with its
start. All ways in one run; ratios are what counts. Everything is named `bench-vms-…` and removed at the end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "src"), str(Path(__file__).parent)]

import bare
from bench_host import DosVm, InProcess, Module, Site, Way, Work
from objects import URI, Bench, Raw
from running import say, seconds, start_libvirt, tell

STEPS = {
    "first": "first define",
    "again": "no-op",
    "change": "one change",
    "start": "start",
    "running": "no-op, these running",
}


class Calls(Way):
    """libvirt's own calls in one process."""

    def start(self, bench: Bench) -> Work:
        return lambda: bare.start(bench)


class Virsh(Calls):
    """What a script of the shell does: a process for every command. Its no-op reads every definition."""

    name = "virsh, a process for each command"
    repeat = 1

    def first(self) -> Work:
        def work() -> None:
            for name, text in self.xml["pool"].items():
                self._defined("pool-define", text)
                virsh("pool-build", name)
                virsh("pool-start", name)
                for volume in self.xml["volume"].values():
                    virsh("vol-create", name, self._file(volume))
            for name, text in self.xml["network"].items():
                self._defined("net-define", text)
                virsh("net-start", name)
            for text in self.xml["domain"].values():
                self._defined("define", text)

        return work

    def again(self) -> Work:
        return lambda: each(("dumpxml", "--inactive", name) for name in self.xml["domain"])

    def change(self) -> Work:
        name = self.bench.name(self.bench.domains - 1)
        size = self.changed.memory(self.bench.domains - 1).replace(" ", "")
        network, entry = self.changed.reservation()
        return lambda: each([
            ("setmaxmem", name, size, "--config"),
            ("setmem", name, size, "--config"),
            ("net-update", network, "modify", "ip-dhcp-host", entry, "--live", "--config"),
        ])  # fmt: skip

    def start(self, bench: Bench) -> Work:
        return lambda: each(("start", bench.name(number)) for number in range(bench.running))

    def _defined(self, command: str, text: str) -> None:
        virsh(command, self._file(text))

    def _file(self, text: str) -> str:
        path = self.folder / "object.xml"
        path.write_text(text, encoding="utf-8")
        return str(path)


def virsh(*arguments: str) -> None:
    subprocess.run(["virsh", "-q", "-c", URI, *arguments], check=True, stdout=subprocess.DEVNULL)


def each(commands: Iterable[tuple[str, ...]]) -> None:
    for command in commands:
        virsh(*command)


def measured(way: Way, running: int) -> Raw:
    """The seconds of every step; nothing is left afterwards."""
    say(way.name)
    started = replace(way.changed, running=running)
    bare.clear(way.bench)
    try:
        found = {"first": seconds(way.first()), "again": seconds(way.again(), way.repeat)}
        found["change"] = seconds(way.change())
        found["start"] = seconds(start(way)(started))
        found["running"] = seconds(unchanged(way)(started), way.repeat)
        return found
    finally:
        bare.clear(way.bench)


def start(way: Way) -> Callable[[Bench], Work]:
    """How a way starts the machines that run."""
    if isinstance(way, DosVm):
        return lambda bench: way.to(bench, changed=True)
    assert isinstance(way, Calls)
    return way.start


def unchanged(way: Way) -> Callable[[Bench], Work]:
    """How a way looks again at what it made."""
    return (lambda bench: way.to(bench, changed=False)) if isinstance(way, DosVm) else lambda bench: way.again()


def measure(bench: Bench, running: int) -> Raw:
    """The seconds of every way, and how many times those of libvirt's own calls they are."""
    ways: dict[str, type[Way]] = {
        "bare": Calls, "virsh": Virsh, "library": InProcess, "module": Module, "site": Site,
    }  # fmt: skip
    bare.clear(bench)
    with tempfile.TemporaryDirectory() as folder:
        found = {key: {"name": way.name, **measured(way(bench, Path(folder)), running)} for key, way in ways.items()}
    ratios = {key: {step: held[step] / found["bare"][step] for step in STEPS} for key, held in found.items()}
    return {"domains": bench.domains, "running": running, "seconds": found, "ratios": ratios}


def table(result: Raw) -> str:
    """The result as Markdown: seconds, and in brackets the ratio to libvirt's own calls."""
    titles = {**STEPS, "start": f"start of {result['running']}"}
    lines = [f"| way | {' | '.join(titles.values())} |", f"|---|{'---:|' * len(titles)}"]
    for key, held in result["seconds"].items():
        cells = [f"{held[step]:.2f} s ({result['ratios'][key][step]:.1f}×)" for step in STEPS]
        lines.append(f"| {held['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> Raw:
    parser = argparse.ArgumentParser(description="the life of many machines, beside virsh and libvirt's own calls")
    parser.add_argument("--domains", type=int, default=200)
    parser.add_argument("--running", type=int, default=20)
    parser.add_argument("--prefix", default="bench-vms", help="of every name")
    parser.add_argument("--octet", type=int, default=221, help="of the network, 10.OCTET.n.0/24")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    held = parser.parse_args(arguments)
    start_libvirt()
    bench = Bench(domains=held.domains, volumes=held.domains, networks=2, prefix=held.prefix, octet=held.octet)
    result = measure(bench, held.running)
    return tell(result, table(result), held.json)


if __name__ == "__main__":
    main()
