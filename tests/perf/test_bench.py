# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks run and say what they found. How fast anything is depends on the machine, so no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def run(script: str, tmp_path: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The document that a benchmark writes, and the table that it prints."""
    file = tmp_path / "result.json"
    command = [sys.executable, str(HERE / script), *arguments, "--json", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(file.read_text(encoding="utf-8")), done.stdout


@pytest.mark.perf
def test_a_site_is_measured_step_by_step_and_size_by_size(tmp_path: Path) -> None:
    found, table = run("bench_site.py", tmp_path, "--vms", "50", "100", "--times", "1")
    assert [held["vms"] for held in found["sizes"]] == [50, 100]
    assert all(held["whole"] > 0 and held["peak"] > 0 for held in found["sizes"])
    assert found["ratios"].keys() == {"cost_per_vm", "cost_per_vm_unchanged"}
    assert "| 100 | 5 |" in table


@pytest.mark.perf
def test_placement_is_measured_without_nova(tmp_path: Path) -> None:
    found, table = run("bench_placement.py", tmp_path, "--hosts", "10", "--vms", "100", "--without-nova")
    assert found["site"]["vms"] == 100
    assert all(seconds > 0 for seconds in found["site"]["seconds"].values())
    assert "| explain |" in table


@pytest.mark.perf
@pytest.mark.libvirt
def test_a_host_is_measured_in_every_way_and_left_as_it_was(tmp_path: Path) -> None:
    tiny = ("--domains", "3", "--volumes", "3", "--networks", "1", "--prefix", "bench-smoke", "--octet", "214")
    found, table = run("bench_host.py", tmp_path, *tiny, "--without-loop")
    assert found["seconds"].keys() == {"bare", "library", "module", "site"}
    assert all(held[step] > 0 for held in found["seconds"].values() for step in ("first", "again", "change"))
    assert found["ratios"]["library_noop_to_bare_reads"] > 0
    assert "dos.vm.site" in table
    assert not Path("/var/lib/dos-vm/bench-smoke").exists()


@pytest.mark.perf
@pytest.mark.libvirt
def test_the_life_of_machines_is_measured_in_every_way_and_nothing_is_left(tmp_path: Path) -> None:
    tiny = ("--domains", "3", "--running", "1", "--prefix", "bench-vm-smoke", "--octet", "219")
    found, table = run("bench_vms.py", tmp_path, *tiny)
    assert found["seconds"].keys() == {"bare", "virsh", "library", "module", "site"}
    assert all(ratio > 0 for held in found["ratios"].values() for ratio in held.values())
    assert "start of 1" in table
    assert not Path("/var/lib/dos-vm/bench-vm-smoke").exists()


@pytest.mark.perf
@pytest.mark.libvirt
def test_networks_and_rules_are_measured_beside_libvirts_own_calls(tmp_path: Path) -> None:
    tiny = ("--networks", "2", "--rules", "12", "--prefix", "bench-net-smoke", "--octet", "216")
    found, table = run("bench_network.py", tmp_path, *tiny)
    assert found["objects"] == {"network": 2, "nwfilter": 2, "domain": 2}
    assert all(held[step] > 0 for held in (found["bare"], found["library"]) for step in ("first", "again", "change"))
    assert "12 rules" in table
    left = subprocess.run(
        ["virsh", "net-list", "--all", "--name"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert "bench-net-smoke" not in left
