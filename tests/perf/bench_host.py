#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""100 domains, 100 volumes and 10 networks on this machine's libvirt, three ways in one run: dos.vm, tasks of
community.libvirt in a loop, and libvirt's own calls with nothing around them.

    .venv/bin/python tests/perf/bench_host.py [--domains 100] [--volumes 100] [--networks 10] [--without-loop]

What is compared are ratios of one run on one machine; seconds alone mean little. community.libvirt comes from PyPI's
`ansible` package, unpacked into the cache. Everything is named `bench-…`, and removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from dosvm.apply import converge  # noqa: E402 -- the library is found by the line above
from dosvm.hypervisor.libvirt import LibvirtHypervisor  # noqa: E402
from dosvm.model.decode import decode  # noqa: E402
from dosvm.model.slice import Permission, Slice  # noqa: E402

URI = "qemu:///system"
SITE = "bench"
POOL_PATH = Path("/var/lib/dos-vm/bench")
ANSIBLE = "ansible==12.3.0"  # the package that carries community.libvirt


def slice_of(domains: int, volumes: int, networks: int, memory: str = "16 MiB") -> dict[str, Any]:
    """What every way makes: a pool, volumes, active networks on a bridge each, and machines that are off."""
    return {
        "site": SITE,
        "pools": [{"name": "bench-pool", "path": str(POOL_PATH)}],
        "volumes": [{"name": f"bench-{n}.qcow2", "pool": "bench-pool", "capacity": "64 MiB"} for n in range(volumes)],
        "networks": [
            {
                "name": f"bench-{n}",
                "bridge": f"benchbr{n}",
                "forward": "none",
                "subnets": [{"address": f"10.213.{n}.1/24"}],
                "mark": {"site": SITE},
            }
            for n in range(networks)
        ],
        "domains": [domain_of(n, volumes, networks, memory) for n in range(domains)],
    }


def domain_of(n: int, volumes: int, networks: int, memory: str) -> dict[str, Any]:
    """A machine with a disk and a card, which nobody starts."""
    return {
        "name": f"bench-{n}",
        "memory": memory,
        "active": False,
        "disks": [{"pool": "bench-pool", "volume": f"bench-{n % volumes}.qcow2", "format": "qcow2"}],
        "interfaces": [{"network": f"bench-{n % networks}", "mac": f"52:54:00:d0:{n // 256:02x}:{n % 256:02x}"}],
        "mark": {"site": SITE},
    }


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_process(data: dict[str, Any]) -> Callable[[], object]:
    """One call of the library, from plain data, as the module does it."""

    def work() -> object:
        hypervisor = LibvirtHypervisor(URI)
        try:
            return converge(decode(Slice, data), hypervisor, permission=Permission())
        finally:
            hypervisor.close()

    return work


def play(folder: Path, tasks: list[dict[str, Any]], **environment: str) -> Callable[[], object]:
    """One `ansible-playbook` of these tasks on this machine."""
    file = folder / f"play-{len(list(folder.glob('play-*')))}.yml"
    file.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    command = [ROOT / ".venv/bin/ansible-playbook", "-i", "localhost,", "-c", "local", file]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]

    def work() -> object:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{file}: {done.stdout[-3000:]}{done.stderr[-2000:]}")
        return done

    return work


def loop_tasks(xml: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The same objects as tasks of community.libvirt, one item each."""
    pool = {"name": "bench-pool", "uri": URI}
    return [
        {"community.libvirt.virt_pool": {**pool, "command": "define", "xml": xml["pool"][0]}},
        {"community.libvirt.virt_pool": {**pool, "state": "active"}},
        {
            "community.libvirt.virt_volume": {"pool": "bench-pool", "command": "create", "xml": "{{ item }}", "uri": URI},
            "loop": xml["volume"],
            "loop_control": {"label": "volume"},
        },
        {
            "community.libvirt.virt_net": {"name": "bench-{{ n }}", "command": "define", "xml": "{{ item }}", "uri": URI},
            "loop": xml["network"],
            "loop_control": {"label": "network", "index_var": "n"},
        },
        {
            "community.libvirt.virt_net": {"name": "bench-{{ item }}", "state": "active", "uri": URI},
            "loop": list(range(len(xml["network"]))),
        },
        {
            "community.libvirt.virt": {"command": "define", "xml": "{{ item }}", "uri": URI},
            "loop": xml["domain"],
            "loop_control": {"label": "domain"},
        },
    ]
