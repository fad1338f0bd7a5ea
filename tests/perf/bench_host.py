#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""100 domains, 100 volumes and 10 active networks on this machine's libvirt, made, kept and changed in several ways in one run:
dos.vm (a slice given to its module, and the playbook of a whole site), tasks of community.libvirt in a loop, and libvirt's own
calls with nothing around them.

    .venv/bin/python tests/perf/bench_host.py [--domains 100] [--volumes 100] [--networks 10] [--without-loop] [--json FILE]

Ratios of one run on one machine are what counts; seconds alone mean little. Short measurements are repeated and the fastest
counts, since all that others do to the machine makes a number larger. Everything is named `bench-…`, and removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

import bare
from objects import URI, Bench, Raw
from running import say, seconds, start_libvirt, tell

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice

CACHE = ROOT / ".cache" / "perf"
ANSIBLE = "ansible==12.3.0"  # the package that carries community.libvirt
COMMUNITY = "ansible_collections/community/libvirt/"
STEPS = ("first", "again", "change")
TIMES = 5  # that a short measurement is repeated

Work = Callable[[], object]


# Four ways


class Way:
    """One way to bring a host to `bench`; the plain one is libvirt's own calls. Times are seconds."""

    name = "libvirt calls, nothing else"
    repeat = TIMES

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.changed, self.folder = bench, replace(bench, changed=True), folder
        self.xml, self.changed_xml = bench.xml(), self.changed.xml()

    def first(self) -> Work:
        return lambda: bare.apply(self.xml)

    def again(self) -> Work:
        return bare.read

    def change(self) -> Work:
        return lambda: bare.change(self.changed, self.changed_xml)

    def measure(self) -> Raw:
        """First apply, no-op, one change; the host is as before afterwards."""
        say(self.name)
        bare.clear(self.bench)
        try:
            found = {"first": seconds(self.first()), "again": seconds(self.again(), self.repeat)}
            return {**found, "change": seconds(self.change())}
        finally:
            bare.clear(self.bench)


class DosVm(Way):
    """A way that is given all that there should be, whatever there is."""

    def to(self, bench: Bench, *, changed: bool) -> Work:
        """Bring the host there, which must or must not change something."""
        raise NotImplementedError

    def first(self) -> Work:
        return self.to(self.bench, changed=True)

    def again(self) -> Work:
        return self.to(self.bench, changed=False)

    def change(self) -> Work:
        return self.to(self.changed, changed=True)


class InProcess(DosVm):
    """dos.vm's library, without Ansible around it."""

    name = "dos.vm, the library in process"

    def to(self, bench: Bench, *, changed: bool) -> Work:
        return lambda: expect(library(bench.slice()), changed=changed)


class Module(DosVm):
    """dos.vm's module for a whole host, as one task."""

    name = "dos.vm.host, one task"
    repeat = 3

    def to(self, bench: Bench, *, changed: bool) -> Work:
        task = {"dos.vm.host": {"uri": URI, "slice": bench.slice()}}
        return play(self.folder, [task], changed=changed)


class Site(DosVm):
    """dos.vm as an operator runs it: the declaration of a site, checked, placed, converged and reported."""

    name = "dos.vm.site, the whole playbook"
    repeat = 3

    def to(self, bench: Bench, *, changed: bool) -> Work:
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        tree = {"all": {"children": {"dos_hosts": {"hosts": {"here": here}}}, "vars": bench.site()}}
        inventory = self.folder / f"site-{bench.changed}-{bench.running}.yml"
        inventory.write_text(json.dumps(tree), encoding="utf-8")
        return ansible("-i", str(inventory), "dos.vm.site", changed=changed)


class Loop(Way):
    """community.libvirt, an object at a time. Its no-op reports the domains as unchanged and never looks into the rest."""

    name = "community.libvirt in a loop"
    repeat = 1

    def _play(self, bench: Bench, xml: dict[str, dict[str, str]], changed: bool) -> Work:
        return play(self.folder, bench.loop(xml), changed=changed, ANSIBLE_COLLECTIONS_PATH=str(collections()))

    def first(self) -> Work:
        return self._play(self.bench, self.xml, True)

    def again(self) -> Work:
        return self._play(self.bench, self.xml, False)

    def change(self) -> Work:
        return self._play(self.changed, self.changed_xml, True)


def library(data: Raw) -> Outcome:
    """One call of the library, from plain data, as the module does it."""
    hypervisor = LibvirtHypervisor(URI)
    try:
        return converge(decode(Slice, data), hypervisor, permission=Permission())
    finally:
        hypervisor.close()


def expect(outcome: Outcome, *, changed: bool) -> None:
    """A time counts only if the work was done."""
    if outcome.failures or outcome.changed != changed:
        sys.exit(f"expected changed={changed}, got {outcome.performed} {outcome.failures}")


# Ansible


def play(folder: Path, tasks: list[Raw], *, changed: bool, **environment: str) -> Work:
    """One `ansible-playbook` with these tasks for this machine."""
    file = folder / f"play-{len(list(folder.glob('play-*')))}.yml"
    file.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    interpreter = f"ansible_python_interpreter={sys.executable}"
    return ansible("-i", "localhost,", "-c", "local", "-e", interpreter, str(file), changed=changed, **environment)


def ansible(*arguments: str, changed: bool, **environment: str) -> Work:
    """A run of `ansible-playbook` that must succeed and, or must not, change something."""
    command = [str(ROOT / ".venv/bin/ansible-playbook"), *arguments]

    def work() -> None:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.returncode or ("changed=0" not in done.stdout) != changed:
            sys.exit(f"expected changed={changed}: {done.stdout[-3000:]}{done.stderr[-2000:]}")

    return work


def collections() -> Path:
    """Where community.libvirt is, fetched once from PyPI's `ansible` package."""
    target = CACHE / "collections"
    if not (target / COMMUNITY).is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(CACHE), ANSIBLE], check=True
        )
        with zipfile.ZipFile(next(CACHE.glob("ansible-*.whl"))) as wheel:
            wheel.extractall(target, [name for name in wheel.namelist() if name.startswith(COMMUNITY)])
    return target


# The run


def measure(bench: Bench, *, loop: bool = True) -> Raw:
    """The seconds of every way, and the ratios that there are targets for."""
    ways: dict[str, type[Way]] = {"bare": Way, "library": InProcess, "module": Module, "site": Site}
    if loop:
        collections()
        ways["loop"] = Loop
    bare.clear(bench)
    with tempfile.TemporaryDirectory() as folder:
        found = {key: {"name": way.name, **way(bench, Path(folder)).measure()} for key, way in ways.items()}
    return {"objects": _objects(bench), "seconds": found, "ratios": _ratios(found)}


def _objects(bench: Bench) -> Raw:
    return {"domains": bench.domains, "volumes": bench.volumes, "networks": bench.networks}


def _ratios(found: dict[str, Raw]) -> dict[str, float]:
    ratios = {
        "library_noop_to_bare_reads": found["library"]["again"] / found["bare"]["again"],
        "library_noop_beyond_twice_bare_reads": found["library"]["again"] - 2 * found["bare"]["again"],
    }
    if "loop" in found:
        for way in ("module", "site"):
            for step in STEPS:
                ratios[f"loop_to_{way}_{step}"] = found["loop"][step] / found[way][step]
            ratios[f"loop_at_its_fastest_to_{way}_again"] = _fastest(found["loop"]) / found[way]["again"]
    return ratios


def _fastest(loop: Raw) -> float:
    """Too long to repeat; but its three passes have the same items, and differ by the load of others more than by the work."""
    return min(loop[step] for step in STEPS)


def table(result: Raw) -> str:
    """The result as Markdown."""
    loop = result["seconds"].get("loop")
    lines = [
        "| way | first apply | no-op | one change | loop at its fastest ÷ no-op |",
        "|---|---:|---:|---:|---:|",
    ]
    for held in result["seconds"].values():
        cells = [f"{held[step]:.2f} s" for step in STEPS]
        ratio = f"{_fastest(loop) / held['again']:.0f}×" if loop else "–"
        lines.append(f"| {held['name']} | {' | '.join(cells)} | {ratio} |")
    ratios = result["ratios"]
    spare = 0.3 - ratios["library_noop_beyond_twice_bare_reads"]
    lines.append("")
    lines.append(
        f"In process, the no-op is {ratios['library_noop_to_bare_reads']:.1f} × libvirt's bare reads; "
        f"to the target of 2 × + 0.3 s {spare:.2f} s are left."
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> Raw:
    parser = argparse.ArgumentParser(description="dos.vm beside community.libvirt and bare libvirt, on real libvirt")
    parser.add_argument("--domains", type=int, default=100)
    parser.add_argument("--volumes", type=int, default=100)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--prefix", default="bench", help="of every name")
    parser.add_argument("--octet", type=int, default=213, help="of the networks, 10.OCTET.n.0/24")
    parser.add_argument("--without-loop", action="store_true", help="leave out community.libvirt, which takes minutes")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    held = parser.parse_args(arguments)
    start_libvirt()
    bench = Bench(
        domains=held.domains, volumes=held.volumes, networks=held.networks, prefix=held.prefix, octet=held.octet
    )
    result = measure(bench, loop=not held.without_loop)
    return tell(result, table(result), held.json)


if __name__ == "__main__":
    main()
