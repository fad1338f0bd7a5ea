# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the hosts, as the meter takes it (QUOTA-05)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.store.runs import Running
from ansible_collections.dos.vm.plugins.plugin_utils.site import FACTS


def running(variables: Mapping[str, Any], hosts: Iterable[str]) -> Iterator[Running]:
    """The machines of ours that run, from what each host told."""
    for host in hosts:
        told = variables["hostvars"].get(host, {}).get(FACTS) or {}
        boot = (told.get("facts") or {}).get("boot") or ""
        for held in told.get("domains", ()):
            if held["ours"] and held["active"] and held.get("project"):
                yield Running(
                    vm=held["name"],
                    project=held["project"],
                    host=host,
                    vcpus=int(held.get("vcpus") or 0),
                    memory=int(held.get("memory") or 0),
                    # libvirt's number of a domain changes with every start, and begins anew with every boot.
                    run=f"{boot[:18]}/{held['id']}" if boot and held.get("id") else None,
                )
