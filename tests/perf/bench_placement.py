#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast machines find their hosts: beside Nova's own filters and weighers, and on a site of 1,000 hosts and 20,000 machines.

    .venv/bin/python tests/perf/bench_placement.py [--hosts 1000] [--vms 20000] [--nova-vms 100] [--without-nova] [--json FILE]

Nova is installed by pip into an environment of its own, `.cache/nova-34`, where it stays. Both get the same hosts and the same
machines, one after the other, and count what they placed in a second: Nova its six filters and four weighers, dos.vm the six
that ask the same, and then all that it has. Nova places fewer of them, since each takes it as long as the first. Seconds are
those of the processor: nothing here waits for anything, and what else the machine does would count otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

from generate import big_site, empty_hosts, full_hosts
from running import tell

from dosvm.compile.placing import explain_vm, situation
from dosvm.compile.site import compile_situation
from dosvm.placement.capacity import capacity
from dosvm.placement.filters import TABLE as FILTERS
from dosvm.placement.fleet import Fleet
from dosvm.placement.moves import drain
from dosvm.placement.place import place
from dosvm.placement.policy import Policy
from dosvm.placement.proof import losses
from dosvm.placement.rebalance import rebalance
from dosvm.placement.request import Near, Needs, Request
from dosvm.placement.room import Room
from dosvm.placement.weighers import TABLE as WEIGHERS
from dosvm.site.load import load

NOVA = ROOT / ".cache" / "nova-34"
VERSION = "nova>=34,<35"
MIB, GIB = 2**20, 2**30
HOST = {"memory": 512 * 1024, "vcpus": 256, "disk": 4000}  # MiB, virtual CPUs, GiB
# What asks the same as Nova's ComputeFilter, ImageProperties, ComputeCapabilities, ServerGroupAntiAffinity,
# ServerGroupAffinity and NumInstances; and as its weighers of RAM, CPU, disk, and I/O operations.
SAME_FILTERS = ("answers", "architecture", "properties", "anti_affinity", "affinity", "vcpus")
SAME_WEIGHERS = ("free_memory", "free_vcpus", "free_disk", "fewest_machines")

Raw = dict[str, Any]


def machines(number: int) -> list[Raw]:
    """Machines of a few sizes; of every ten, five are in a group of five that must be apart."""
    dice = random.Random(34)
    return [
        {
            "uuid": str(uuid.UUID(int=dice.getrandbits(128))),
            "memory": dice.choice([1024, 2048, 4096, 8192]),
            "vcpus": dice.choice([1, 2, 2, 4]),
            "disk": 20,
            "group": f"group-{at // 10}" if at % 2 else None,
        }
        for at in range(number)
    ]


def requests(vms: list[Raw]) -> list[Request]:
    """The same, in our words. Needs that are equal are one object, as they are when a site is compiled."""
    known: dict[tuple[object, ...], Needs] = {}
    found = []
    for vm in vms:
        key = (vm["memory"], vm["vcpus"], vm["group"])
        if key not in known:
            tags = (vm["group"],) if vm["group"] else ()
            known[key] = Needs(
                memory=vm["memory"] * MIB,
                vcpus=vm["vcpus"],
                disk=(("local", vm["disk"] * GIB),),
                tags=tags,
                apart=tuple(Near(tag, "host") for tag in tags),
            )
        found.append(Request(vm=vm["uuid"], needs=known[key]))
    return found


def fleet(hosts: int, policy: Policy) -> Fleet:
    rooms = (
        Room(
            host=f"host-{number:04}",
            memory=HOST["memory"] * MIB,
            cpus=64,
            vcpus=HOST["vcpus"],
            disk={"local": HOST["disk"] * GIB},
        )
        for number in range(hosts)
    )
    return Fleet(rooms, policy)


def ours(hosts: int, vms: list[Raw], policy: Policy) -> Raw:
    """One machine after the other, as they come."""
    wanted, held = requests(vms), fleet(hosts, policy)
    started = time.process_time()
    placed = sum(place([request], held)[request.vm].host is not None for request in wanted)
    return {"placed": placed, "seconds": time.process_time() - started}


def nova(hosts: int, vms: list[Raw]) -> Raw:
    """Nova's chain over the same."""
    python = NOVA / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import nova"], stderr=subprocess.DEVNULL).returncode:
        subprocess.run([sys.executable, "-m", "venv", str(NOVA)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", VERSION], check=True)
    script = Path(__file__).with_name("nova_chain.py")
    asked = json.dumps({"hosts": hosts, **HOST, "vms": vms})
    done = subprocess.run(
        [python, "-W", "ignore", str(script)], input=asked, stdout=subprocess.PIPE, text=True, check=True
    )
    held: Raw = json.loads(done.stdout)
    return held


def beside_nova(hosts: int, vms: int, nova_vms: int) -> Raw:
    same = Policy(
        filters=tuple(row for row in FILTERS if row.name in SAME_FILTERS),
        weighers=tuple(row for row in WEIGHERS if row.name in SAME_WEIGHERS),
    )
    found = {
        "nova": nova(hosts, machines(nova_vms)),
        "same": ours(hosts, machines(vms), same),
        "all": ours(hosts, machines(vms), Policy()),
    }
    for held in found.values():
        held["per_second"] = held["placed"] / held["seconds"]
    found["ratios"] = {name: found[name]["per_second"] / found["nova"]["per_second"] for name in ("same", "all")}
    return found


def timed(work: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """The fastest of so many, and what the last one found."""
    best, found = float("inf"), None
    for _ in range(times):
        started = time.process_time()
        found = work()
        best = min(best, time.process_time() - started)
    return best, found


def whole_site(hosts: int, vms: int) -> Raw:
    """Seconds of everything that is asked of placement, on the site that `generate.py` makes."""
    variables, names = big_site(vms, hosts)
    site = load(variables, hosts=names)
    empty = empty_hosts(names)
    seconds: Raw = {}
    seconds["full placement"], first = timed(lambda: situation(site, empty, now=0), 2)
    full = full_hosts(names, compile_situation(first).slices)
    seconds["nothing to do"], held = timed(lambda: situation(site, full, now=0), 2)
    assert {vm: made.host for vm, made in held.decisions.items()} == {
        vm: made.host for vm, made in first.decisions.items()
    }
    one = Request(vm="one more", needs=Needs(vcpus=2, memory=4 * GIB))
    seconds["one more machine"], _ = timed(lambda: place([one], held.fleet))
    held.fleet.give_back(one)
    vm = next(iter(held.requests))
    seconds["explain"], _ = timed(lambda: explain_vm(held, vm), 3)
    seconds["loss of each host"], _ = timed(lambda: losses(held.fleet, held.requests, ["host"]))
    many = replace(one, needs=Needs(vcpus=4, memory=8 * GIB))
    seconds["capacity"], fits = timed(lambda: capacity(many, held.fleet))
    seconds["rebalance"], balanced = timed(lambda: rebalance(held.fleet, held.requests))
    seconds["drain a host"], drained = timed(lambda: drain(held.fleet, held.requests, [names[0]]))
    return {
        "seconds": seconds,
        "vms": len(held.requests),
        "fits": fits.fits,
        "moves": len(balanced.moves),
        "drained": len(drained.moves),
    }


def table(result: Raw) -> str:
    lines = []
    if "nova" in result:
        held = result["nova"]
        lines += ["| chain | machines | seconds | machines a second | × Nova |", "|---|---:|---:|---:|---:|"]
        rows = {"nova": "Nova 34, 6 filters, 4 weighers", "same": "dos.vm, the same", "all": "dos.vm, all 21 and 8"}
        for name, title in rows.items():
            one, ratio = held[name], held["ratios"].get(name, 1)
            lines.append(
                f"| {title} | {one['placed']:,} | {one['seconds']:.2f} | {one['per_second']:,.1f} | {ratio:,.0f} |"
            )
        lines.append("")
    lines += ["| what | seconds |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.4f} |" for name, seconds in result["site"]["seconds"].items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> Raw:
    parser = argparse.ArgumentParser(description="placement, beside Nova's filters and weighers")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--vms", type=int, default=20000)
    parser.add_argument("--nova-vms", type=int, default=100)
    parser.add_argument("--without-nova", action="store_true")
    parser.add_argument("--json", type=Path, help="write the result to this file as well")
    held = parser.parse_args(arguments)
    result: Raw = {"hosts": held.hosts, "site": whole_site(held.hosts, held.vms)}
    if not held.without_nova:
        result["nova"] = beside_nova(held.hosts, held.vms, held.nova_vms)
    return tell(result, table(result), held.json)


if __name__ == "__main__":
    main()
