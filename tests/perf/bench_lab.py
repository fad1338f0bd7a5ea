#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts, in a lab: how long they take to come up, what a run that changes nothing costs, how long a machine stands still
when it moves.

    .venv/bin/python tests/perf/bench_lab.py [--hosts 1 3 10] [--moves 3] [--json FILE]

Down-time is told twice: by libvirt of the target, and by a ping twenty times a second from a third host, where the longest gap
between two answers counts; less than 0.05 s it cannot see. Of several moves the median is shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "lab")]

import certificates
from movers import ADDRESSES, WATCHER, Movers, Ping, moving, wired
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

GUEST = ROOT / ".cache" / "guest" / "busybox.qcow2"
SITE = """dos_site: bench
dos_projects: {bench: {}}
dos_pools: {bench: {path: /var/lib/dos-vm/bench}}
dos_networks: {bench: {type: isolated, bridge: virbr-bench}}
dos_instances:
"""
MACHINE = """  {vm}:
    project: bench
    memory: 64 MiB
    disks: [{{pool: bench, capacity: 64 MiB}}]
    interfaces: [{{network: bench}}]
    vms: {{{vm}: {{host: {host}, power: "off"}}}}
"""
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "shared storage, ssh (tunnel)": ("m-seen", {}),
    "shared storage, ssh, plain data": ("m-seen", {"data": "plain"}),
    "shared storage, TLS": ("m-seen", {"transport": "tls"}),
    "copied disk, ssh, plain data": ("m-own", {"storage": "copied", "data": "plain"}),
    "copied disk, TLS": ("m-own", {"storage": "copied", "transport": "tls"}),
}


@contextmanager
def lab_of(count: int) -> Iterator[tuple[Lab, float]]:
    """A lab, and how many seconds it took."""
    lab = Lab("bench")
    started = time.perf_counter()
    try:
        lab.up(count, [GUEST])
        yield lab, time.perf_counter() - started
    finally:
        lab.down()


def play(lab: Lab, inventory: Path) -> float:
    """Seconds of one `dos.vm.site`."""
    command = [str(TREE / ".venv" / "bin" / "ansible-playbook"), "-i", str(inventory), "dos.vm.site"]
    started = time.perf_counter()
    ended = lab.ctl(*command, cwd=TREE, timeout=600)
    if ended.returncode:
        raise SystemExit(ended.stdout + ended.stderr)
    return time.perf_counter() - started


def nothing_to_do(lab: Lab, count: int, folder: Path) -> tuple[float, float]:
    """Seconds of the first `dos.vm.site` and of one that changes nothing: a pool, a network, and two machines that are off on each."""
    variables = folder / "group_vars" / "all"
    variables.mkdir(parents=True)
    (folder / "hosts.yml").write_text(render(lab, count))
    machines = [MACHINE.format(vm=f"b{n}-{k}", host=f"h{n}") for n in range(1, count + 1) for k in (1, 2)]
    (variables / "site.yml").write_text(SITE + "".join(machines))
    return play(lab, folder), min(play(lab, folder) for _ in range(2))


def one_move(movers: Movers, vm: str, options: dict[str, str]) -> dict[str, Any]:
    ping = Ping(movers.hosts[WATCHER], ADDRESSES[vm])
    started = time.perf_counter()
    answer = movers.move(vm, **options)
    seconds = time.perf_counter() - started
    movers.counts_on(vm, 0)
    sent, lost = ping.end()
    return {"task": seconds, "lost": len(lost), "sent": sent, "gap": ping.longest, **answer["figures"]}


def moves(times: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    with lab_of(3) as (lab, _), tempfile.TemporaryDirectory() as folder, wired(lab):
        pki = Path(folder, "pki")
        pki.mkdir()
        certificates.authority(pki)
        for host in lab.hosts():
            certificates.install(pki, host)
        with moving(lab, Path(folder, "inventory")) as movers:
            for name, (vm, options) in WAYS.items():
                found[name] = [one_move(movers, vm, dict(options)) for _ in range(times)]
    return found


def median(held: list[dict[str, Any]], name: str) -> float:
    return statistics.median(float(one[name]) for one in held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="*", default=[1, 3, 10])
    parser.add_argument("--moves", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    subprocess.run([sys.executable, str(ROOT / "tools" / "guest_image.py")], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = {"hosts": {}, "moves": {}}
    print(
        "| hosts | up | first `dos.vm.site` | one that changes nothing | per host |\n|---:|---:|---:|---:|---:|",
        flush=True,
    )
    for count in options.hosts:
        with lab_of(count) as (lab, up), tempfile.TemporaryDirectory() as folder:
            first, again = nothing_to_do(lab, count, Path(folder))
        found["hosts"][count] = {"up": up, "first": first, "again": again}
        print(f"| {count} | {up:.1f} s | {first:.1f} s | {again:.1f} s | {again / count:.2f} s |", flush=True)
    if options.moves:
        found["moves"] = moves(options.moves)
        print(
            "\n| move | libvirt: all | libvirt: down | ping: longest gap | pings lost | the task |\n|---|---:|---:|---:|---:|---:|"
        )
    for name, held in found["moves"].items():
        total, down, gap = (median(held, key) for key in ("total_ms", "downtime_ms", "gap"))
        lost, task = median(held, "lost"), median(held, "task")
        print(f"| {name} | {total / 1000:.1f} s | {down:.0f} ms | {gap * 1000:.0f} ms | {lost:.0f} | {task:.1f} s |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
