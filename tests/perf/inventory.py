#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory of a large site, and a file with what its hosts would tell, to ask placement questions without a host.

    .venv/bin/python tests/perf/inventory.py DIR [--hosts 1000] [--vms 20000]
    .venv/bin/ansible-playbook -i DIR dos.vm.capacity -e dos_facts_file=DIR/facts.json -e dos_like=app-0-0

The site is that of `generate.py`, and every machine runs where placement puts it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

from generate import big_site, empty_hosts

from dosvm.compile.site import compile_site
from dosvm.model.decode import encode
from dosvm.model.slice import Slice
from dosvm.site.load import load


def told(facts: Any, held: Slice) -> dict[str, Any]:
    """What `dos.vm.host_info` would answer on a host that holds a slice."""
    return {
        "facts": encode(facts),
        "domains": [
            {
                "name": str(one.name),
                "ours": True,
                "active": one.active,
                "state": "running" if one.active else "shut off",
                "vcpus": one.vcpus,
                "memory": int(one.memory),
            }
            for one in held.domains
        ],
        "volumes": [{"name": f"{volume.pool}/{volume.name}", "ours": True, "active": True} for volume in held.volumes],
        "pools": [],
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="an inventory of a large site, with what its hosts tell")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--vms", type=int, default=20000)
    given = parser.parse_args(arguments)
    variables, names = big_site(given.vms, given.hosts)
    states = empty_hosts(names)
    slices = compile_site(load(variables, hosts=names), states, now=0).slices
    (given.folder / "group_vars" / "all").mkdir(parents=True, exist_ok=True)
    hosts = {"all": {"children": {"dos_hosts": {"hosts": {name: {"ansible_connection": "local"} for name in names}}}}}
    dump = yaml.CSafeDumper if hasattr(yaml, "CSafeDumper") else yaml.SafeDumper
    (given.folder / "hosts.yml").write_text(yaml.dump(hosts, Dumper=dump), encoding="utf-8")
    site = yaml.dump(variables, Dumper=dump, sort_keys=False)
    (given.folder / "group_vars" / "all" / "site.yml").write_text(site, encoding="utf-8")
    facts = {name: told(states[name].facts, slices[name]) for name in names}
    (given.folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
