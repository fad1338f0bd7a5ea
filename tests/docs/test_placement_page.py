# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of `docs/placement.md` are read as a site, its filters of one's own are asked, and its large site answers."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dosvm.compile.placing import situation
from dosvm.compile.states import HostState
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.model.types import ByteSize
from dosvm.placement.plugins import own_filters, own_weighers
from dosvm.placement.policy import policy
from dosvm.site.load import load

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "placement.md").read_text(encoding="utf-8")
HOSTS = ("node1", "node2", "node3", "node4")
ANSIBLE = [str(Path(sys.executable).parent / "ansible-playbook")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def site() -> dict[str, Any]:
    """All YAML of the page as one site, with what its instance needs besides."""
    found: dict[str, Any] = {}
    for block in blocks("yaml"):
        found.update(yaml.safe_load(block))
    found["dos_projects"] = {"shop": {}}
    found["dos_instances"]["web"] |= {"project": "shop", "memory": "1 GiB", "count": 1}
    for other in ("db", "cache"):
        found["dos_instances"][other] = {"project": "shop", "memory": "1 GiB", "count": 1}
    return found


def test_the_examples_are_a_site_with_filters_of_its_own() -> None:
    (source,) = blocks("python")
    defined: dict[str, Any] = {}
    exec(compile(source, "docs/placement.md", "exec"), defined)
    variables = site()
    variables["dos_host_settings"]["node1"]["labels"]["zone"] = "office"
    variables["dos_instances"]["db"] |= {"host_group": "fast", "placement": {"hints": {"quiet": "yes"}}}
    declared = load(variables, hosts=HOSTS)
    how = policy(declared.placement, own_filters(defined, "own.py"), own_weighers(defined, "own.py"))
    facts = replace(FakeHypervisor().facts(), memory=ByteSize("256 GiB"))
    states = {host: HostState(facts=facts) for host in HOSTS}
    made = situation(declared, states, now=0.0, how=how).decisions["db-1"]
    assert made.refusals["node1"] == "is in the office, and the machine is to run quietly"
    assert "takes no more machines" in made.refusals["node3"]


def test_a_large_site_answers_without_a_host(tmp_path: Path) -> None:
    large = tmp_path / "large"
    script = ROOT / "tests" / "perf" / "inventory.py"
    subprocess.run([sys.executable, str(script), str(large), "--hosts", "20", "--vms", "200"], check=True)
    asked = {
        "explain": ("-e", "dos_vm=app-0-0-0"),
        "capacity": ("-e", "dos_like=app-0-0"),
        "rebalance": (),
        "whatif": ("-e", '{"dos_whatif": {"remove_hosts": ["host-0007"]}}'),
    }
    expected = {
        "explain": "app-0-0-0 → host-00",
        "capacity": "more machines like those of app-0-0 fit",
        "rebalance": "the fullest host",
        "whatif": "machines would be elsewhere",
    }
    facts = ("-i", str(large / "hosts.yml"), "-e", f"dos_facts_file={large / 'facts.json'}")
    for playbook, arguments in asked.items():
        done = subprocess.run(
            [*ANSIBLE, *facts, f"dos.vm.{playbook}", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert expected[playbook] in done.stdout, done.stdout
        assert done.returncode == 0, done.stdout
