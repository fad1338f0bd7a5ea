#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts, in a lab: how long they take to come up, what a run that changes nothing costs, how long a machine stands still
when it moves, and how fast an image comes to a host.

    .venv/bin/python tests/perf/bench_lab.py [--hosts 1 3 10] [--moves 3] [--uploads 5] [--mib 512] [--json FILE]

Down-time is told twice: by libvirt of the target, and by a ping twenty times a second from a third host, where the longest gap
between two answers counts; less than 0.05 s it cannot see. Of several moves the median is shown, and of several images sent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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
    started = time.perf_counter()
    told(lab, str(TREE / ".venv" / "bin" / "ansible-playbook"), "-i", str(inventory), "dos.vm.site")
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


SENDS = """- hosts: h1
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "begun {{ now().timestamp() }}"}
    - dos.vm.image: "{{ image }}"
    - ansible.builtin.debug: {msg: "ended {{ now().timestamp() }}"}
"""
THERE = "/var/lib/dos-vm/sent.raw"


def uploads(times: int, mib: int) -> dict[str, list[float]]:
    """Seconds to bring a file of random bytes to a host through ssh, so that it is on its disk and proven to be the same."""
    with lab_of(1) as (lab, _), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, book, hosts = folder / "source.raw", folder / "send.yml", folder / "hosts.yml"
        source.write_bytes(os.urandom(mib * 2**20))
        book.write_text(SENDS)
        hosts.write_text(render(lab, 1))
        checksum = hashlib.sha256(source.read_bytes()).hexdigest()
        image = {"file": THERE, "format": "raw", "source": str(source), "checksum": f"sha256:{checksum}"}
        told(lab, "ssh", "-F", str(lab.ssh_config), "h1", f"mkdir -p {Path(THERE).parent}")

        def by_scp(*, proven: bool) -> float:
            proof = f"; sha256sum {THERE}" if proven else ""
            started = time.perf_counter()
            told(lab, "scp", "-q", "-F", str(lab.ssh_config), str(source), f"h1:{THERE}")
            said = told(lab, "ssh", "-F", str(lab.ssh_config), "h1", f"sync {THERE}{proof}")
            assert not proven or checksum in said
            return time.perf_counter() - started

        def by_module() -> float:
            """The task alone: what Ansible needs to start is the same for whatever it does."""
            program = str(TREE / ".venv" / "bin" / "ansible-playbook")
            said = told(lab, program, "-i", str(hosts), "-e", json.dumps({"image": image}), str(book))
            begun, ended = (float(found) for found in re.findall(r"(?:begun|ended) ([\d.]+)", said))
            return ended - begun

        ways: dict[str, Callable[[], float]] = {
            "scp, then sync": lambda: by_scp(proven=False),
            "scp, then sync and sha256sum": lambda: by_scp(proven=True),
            "dos.vm.image": by_module,
        }
        found: dict[str, list[float]] = {way: [] for way in ways}
        turns = random.Random(mib)
        for _ in range(times):
            for way, send in turns.sample(list(ways.items()), len(ways)):
                found[way].append(send())
                told(lab, "ssh", "-F", str(lab.ssh_config), "h1", f"rm {THERE}; sync")
        return found


def told(lab: Lab, *command: str) -> str:
    """What a command in the lab says when it succeeds."""
    ended = lab.ctl(*command, cwd=TREE, timeout=600)
    if ended.returncode:
        raise SystemExit(ended.stdout + ended.stderr)
    return ended.stdout


def median(held: list[dict[str, Any]], name: str) -> float:
    return statistics.median(float(one[name]) for one in held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="*", default=[1, 3, 10])
    parser.add_argument("--moves", type=int, default=3)
    parser.add_argument("--uploads", type=int, default=5)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    subprocess.run([sys.executable, str(ROOT / "tools" / "guest_image.py")], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = {"hosts": {}, "moves": {}, "uploads": {}}
    if options.hosts:
        print("| hosts | up | first `dos.vm.site` | one that changes nothing | per host |\n|---:|---:|---:|---:|---:|")
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
    if options.uploads:
        found["uploads"] = uploads(options.uploads, options.mib)
        print(f"\n| {options.mib} MiB of random bytes | median | fastest | slowest |\n|---|---:|---:|---:|")
    for name, taken in found["uploads"].items():
        print(f"| {name} | {statistics.median(taken):.2f} s | {min(taken):.2f} s | {max(taken):.2f} s |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
