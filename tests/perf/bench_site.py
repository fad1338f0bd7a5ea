#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site of 1,000 hosts and 20,000 machines, and smaller ones of the same making, from variables to slices: how long each step
takes, and how much memory all of it.

    .venv/bin/python tests/perf/bench_site.py [--vms 2000 5000 10000 20000] [--times 2] [--json FILE]

There is a host to twenty machines. Each size has a process of its own, so that its peak of memory is its own; of repeated runs
the fastest of each step counts, since all that others do to the machine makes a number larger.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

from generate import big_site, empty_hosts, full_hosts
from running import tell

import dosvm.compile.placing as placing
import dosvm.compile.site as compiler
import dosvm.site.load as loader
from dosvm.model.decode import encode
from dosvm.model.domain import Domain
from dosvm.model.slice import Slice

VMS_PER_HOST = 20
MIB = 2**20

Raw = dict[str, Any]
# What happens between a site's variables and the slices, in its order. The whole is their sum.
STEPS = ("guard, merge", "decode", "rules", "placement", "compile", "encode")


class Watch:
    """Seconds by step. A step that is inside another is counted once, as itself."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        outer, self._inner = self._inner, 0.0
        started = time.perf_counter()
        try:
            yield
        finally:
            whole = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - self._inner
            self._inner = outer + whole

    @contextmanager
    def around(self, module: object, function: str, name: str) -> Iterator[None]:
        """Count the calls of a function that a module uses as a step."""
        real: Callable[..., Any] = getattr(module, function)

        def timed(*given: Any, **named: Any) -> Any:
            # What is computed while it is read belongs to the one who computes it.
            ready = [list(held) if isinstance(held, Iterator) else held for held in given]
            with self.step(name):
                found = real(*ready, **named)
                return list(found) if isinstance(found, Iterator) else found

        with mock.patch.object(module, function, timed):
            yield


def run(vms: int) -> Raw:
    """From variables to slices, and again when the hosts are already so."""
    hosts = max(1, vms // VMS_PER_HOST)
    variables, names = big_site(vms, hosts)
    watch, again = Watch(), Watch()
    with (
        watch.around(loader, "guard", "guard, merge"),
        watch.around(loader, "merge", "guard, merge"),
        watch.around(loader, "findings", "rules"),
        watch.around(placing, "place", "placement"),
    ):
        with watch.step("decode"):
            site = loader.load(variables, hosts=names)
        states = empty_hosts(names)
        with watch.step("compile"):
            compiled = compiler.compile_site(site, states, now=0)
    with watch.step("encode"):
        for held in compiled.slices.values():
            encode(held)
    states = full_hosts(names, compiled.slices)
    with again.around(placing, "place", "placement"), again.step("compile"):
        unchanged = compiler.compile_site(site, states, now=0)
    if settled(unchanged.slices) != settled(compiled.slices):
        sys.exit("what was placed moved without a reason")
    return {
        "hosts": hosts,
        "vms": sum(len(held.domains) for held in compiled.slices.values()),
        "volumes": sum(len(held.volumes) for held in compiled.slices.values()),
        "seconds": watch.seconds,
        "unchanged": again.seconds,
    }


def settled(slices: Mapping[str, Slice]) -> dict[str, Slice]:
    """Without the epochs, which only a definition made now is given."""

    def old(domain: Domain) -> Domain:
        return replace(domain, mark=domain.mark and replace(domain.mark, epoch=None))

    return {host: replace(held, domains=tuple(map(old, held.domains))) for host, held in slices.items()}


def repeated(vms: int, times: int) -> Raw:
    """The fastest of each step, with the peak of memory of this process."""
    runs = [run(vms) for _ in range(times)]
    found = runs[0]
    for key in ("seconds", "unchanged"):
        found[key] = {step: min(held[key][step] for held in runs) for step in found[key]}
    return {**found, "whole": sum(found["seconds"].values()), "peak": _peak()}


def _peak() -> int:
    """Of this program alone: `ru_maxrss` would begin with that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def measure(sizes: list[int], times: int) -> Raw:
    """Every size, and how much more than its share the largest costs when compared with the smallest: 1 is linear."""
    found = [_in_a_process_of_its_own(vms, times) for vms in sizes]
    first, last = found[0], found[-1]
    growth = (last["whole"] / last["vms"]) / (first["whole"] / first["vms"])
    unchanged = (sum(last["unchanged"].values()) / last["vms"]) / (sum(first["unchanged"].values()) / first["vms"])
    return {"sizes": found, "ratios": {"cost_per_vm": growth, "cost_per_vm_unchanged": unchanged}}


def _in_a_process_of_its_own(vms: int, times: int) -> Raw:
    print(f"… {vms} machines", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--one", str(vms), "--times", str(times)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    held: Raw = json.loads(done.stdout)
    return held


def table(result: Raw) -> str:
    """The result as Markdown."""
    head = ["VMs", "hosts", *STEPS, "**whole**", "peak", "compile, unchanged", "placement, unchanged"]
    lines = [f"| {' | '.join(head)} |", "|" + "---:|" * len(head)]
    for held in result["sizes"]:
        cells = [f"{held['vms']:,}", f"{held['hosts']:,}", *(f"{held['seconds'][step]:.2f} s" for step in STEPS)]
        cells += [f"**{held['whole']:.2f} s**", f"{held['peak'] / MIB:.0f} MiB"]
        cells += [f"{held['unchanged'][step]:.2f} s" for step in ("compile", "placement")]
        lines.append(f"| {' | '.join(cells)} |")
    ratios = result["ratios"]
    lines.append("")
    lines.append(
        f"A machine of the largest site costs {ratios['cost_per_vm']:.2f} × one of the smallest "
        f"({ratios['cost_per_vm_unchanged']:.2f} × when nothing changed); 1 is linear."
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> Raw:
    parser = argparse.ArgumentParser(description="variables to slices, by the size of the site")
    parser.add_argument("--vms", type=int, nargs="+", default=[2000, 5000, 10000, 20000])
    parser.add_argument("--times", type=int, default=2, help="runs of each size")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    held = parser.parse_args(arguments)
    if held.one:
        found = repeated(held.one, held.times)
        print(json.dumps(found))
        return found
    result = measure(held.vms, held.times)
    return tell(result, table(result), held.json)


if __name__ == "__main__":
    main()
